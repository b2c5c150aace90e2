// A fake of both inference runtimes, onnxruntime and librknnrt, in one shared library: a model with one input and one
// output that says what it is told to. Its tensors' sizes are the two numbers that the "model" is made of.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <gaitd/backends/ort_api.hpp>
#include <gaitd/backends/rknn_api.hpp>

#include "fake_runtime.hpp"

namespace {

std::atomic<Order> order{Order::Works};
std::atomic<unsigned long> runs{0};

/// action[i] = observation[0] + 0.01 i, and whatever is ordered; false: an error.
bool compute(const float* observation, float* action, std::size_t actions) {
    runs.fetch_add(1);
    while (order.load() == Order::Hangs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const Order now = order.load();
    for (std::size_t i = 0; i < actions; ++i) {
        action[i] = observation[0] + 0.01F * static_cast<float>(i);
        if (now == Order::Repeats) action[i] = 0.01F * static_cast<float>(i);
        if (now == Order::Far) action[i] = 100.0F;
    }
    if (now == Order::Nan) action[actions - 1] = std::nanf("");
    return now != Order::Fails;
}

struct Model {
    std::size_t observation = 0;
    std::size_t action = 0;

    static Model of(const void* data, std::size_t size) {
        const std::string text(static_cast<const char*>(data), size);
        const std::size_t blank = text.find(' ');
        return {std::stoul(text.substr(0, blank)), std::stoul(text.substr(blank + 1))};
    }
};

}  // namespace

extern "C" void fake_order(Order what) { order.store(what); }
extern "C" unsigned long fake_runs() { return runs.load(); }

// ---- onnxruntime ----

namespace gaitd::backends::ort {

struct Status {};
struct Env {};
struct Options {};
struct MemoryInfo {};
struct Allocator {};
struct Session {
    Model model;
};
struct Value {
    float* data;
    std::size_t size;
};
struct ShapeInfo {
    std::int64_t size;
};
struct TypeInfo {
    ShapeInfo shape;
};

namespace {

Status failure;
Env env;
Options options;
MemoryInfo memory;
Allocator allocator;

const char* getErrorMessage(const Status*) { return "told to fail"; }
Status* createEnv(int, const char*, Env** out) { return *out = &env, nullptr; }
Status* createSessionFromArray(const Env*, const void* data, std::size_t size, const Options*, Session** out) {
    *out = new Session{Model::of(data, size)};
    return nullptr;
}
Status* run(Session* session, const void*, const char* const*, const Value* const* inputs, std::size_t, const char* const*,
            std::size_t, Value** outputs) {
    return compute(inputs[0]->data, outputs[0]->data, session->model.action) ? nullptr : &failure;
}
Status* createSessionOptions(Options** out) { return *out = &options, nullptr; }
Status* setNumber(Options*, int) { return nullptr; }
Status* one(const Session*, std::size_t* out) { return *out = 1, nullptr; }
Status* inputType(const Session* session, std::size_t, TypeInfo** out) {
    *out = new TypeInfo{{static_cast<std::int64_t>(session->model.observation)}};
    return nullptr;
}
Status* outputType(const Session* session, std::size_t, TypeInfo** out) {
    *out = new TypeInfo{{static_cast<std::int64_t>(session->model.action)}};
    return nullptr;
}
Status* inputName(const Session*, std::size_t, Allocator*, char** out) { return *out = strdup("obs"), nullptr; }
Status* outputName(const Session*, std::size_t, Allocator*, char** out) { return *out = strdup("action"), nullptr; }
Status* createTensor(const MemoryInfo*, void* data, std::size_t bytes, const std::int64_t*, std::size_t, int, Value** out) {
    *out = new Value{static_cast<float*>(data), bytes / sizeof(float)};
    return nullptr;
}
Status* castType(const TypeInfo* type, const ShapeInfo** out) { return *out = &type->shape, nullptr; }
Status* elementType(const ShapeInfo*, int* out) { return *out = kFloat, nullptr; }
Status* dimensionsCount(const ShapeInfo*, std::size_t* out) { return *out = 2, nullptr; }
Status* dimensions(const ShapeInfo* shape, std::int64_t* out, std::size_t) {
    out[0] = -1;
    out[1] = shape->size;
    return nullptr;
}
Status* createMemoryInfo(int, int, MemoryInfo** out) { return *out = &memory, nullptr; }
Status* allocatorFree(Allocator*, void* data) { return free(data), nullptr; }
Status* getAllocator(Allocator** out) { return *out = &allocator, nullptr; }
Status* addEntry(Options*, const char*, const char*) { return nullptr; }
template <class T>
void nothing(T*) {}
template <class T>
void release(T* what) {
    delete what;
}

std::vector<const void*> table() {
    std::vector<const void*> functions(160, nullptr);
    const auto put = [&](std::size_t place, auto function) { functions[place] = reinterpret_cast<const void*>(function); };
    put(2, getErrorMessage);
    put(3, createEnv);
    put(8, createSessionFromArray);
    put(9, run);
    put(10, createSessionOptions);
    for (const std::size_t place : {13U, 22U, 24U, 25U}) put(place, setNumber);
    put(30, one);
    put(31, one);
    put(33, inputType);
    put(34, outputType);
    put(36, inputName);
    put(37, outputName);
    put(49, createTensor);
    put(55, castType);
    put(60, elementType);
    put(61, dimensionsCount);
    put(62, dimensions);
    put(69, createMemoryInfo);
    put(76, allocatorFree);
    put(78, getAllocator);
    put(92, nothing<Env>);
    put(93, nothing<Status>);
    put(94, nothing<MemoryInfo>);
    put(95, release<Session>);
    put(96, release<Value>);
    put(98, release<TypeInfo>);
    put(100, nothing<Options>);
    put(130, addEntry);
    return functions;
}

const void* const* getApi(std::uint32_t version) {
    static const std::vector<const void*> functions = table();
    return version <= 10 ? functions.data() : nullptr;
}
const char* getVersionString() { return "1.0.0-fake"; }

}  // namespace
}  // namespace gaitd::backends::ort

extern "C" const gaitd::backends::ort::ApiBase* OrtGetApiBase() {
    using namespace gaitd::backends::ort;
    static const ApiBase base{getApi, getVersionString};
    return &base;
}

// ---- librknnrt ----

namespace {

namespace rknn = gaitd::backends::rknn;

struct Npu {
    Model model;
    std::vector<float> input;
    std::vector<float> output;
};

Npu* npu(rknn::Context context) { return reinterpret_cast<Npu*>(context); }

}  // namespace

extern "C" {

int rknn_init(rknn::Context* context, void* data, std::uint32_t size, std::uint32_t, void*) {
    const Model model = Model::of(data, size);
    *context = reinterpret_cast<rknn::Context>(
        new Npu{model, std::vector<float>(model.observation), std::vector<float>(model.action)});
    return 0;
}

int rknn_destroy(rknn::Context context) {
    delete npu(context);
    return 0;
}

int rknn_set_core_mask(rknn::Context, int) { return 0; }

int rknn_query(rknn::Context context, int what, void* answer, std::uint32_t) {
    if (what == rknn::kTensorCount) {
        *static_cast<rknn::TensorCount*>(answer) = {1, 1};
    } else if (what == rknn::kSdkVersion) {
        std::strcpy(static_cast<rknn::SdkVersion*>(answer)->runtime, "2.3.2-fake");
        std::strcpy(static_cast<rknn::SdkVersion*>(answer)->driver, "0.9.8-fake");
    } else if (what == rknn::kMemorySize) {
        static_cast<rknn::MemorySize*>(answer)->weights = 4096;
    } else {
        auto* const attribute = static_cast<rknn::TensorAttribute*>(answer);
        if (attribute->index > 0) return -5;
        const bool input = what == rknn::kInputAttribute;
        std::strcpy(attribute->name, input ? "obs" : "action");
        attribute->elements = static_cast<std::uint32_t>(input ? npu(context)->model.observation : npu(context)->model.action);
    }
    return 0;
}

int rknn_inputs_set(rknn::Context context, std::uint32_t, rknn::Input* inputs) {
    std::memcpy(npu(context)->input.data(), inputs[0].buffer, inputs[0].size);
    return 0;
}

int rknn_run(rknn::Context context, void*) {
    Npu& self = *npu(context);
    return compute(self.input.data(), self.output.data(), self.output.size()) ? 0 : -2;
}

int rknn_outputs_get(rknn::Context context, std::uint32_t, rknn::Output* outputs, void*) {
    std::memcpy(outputs[0].buffer, npu(context)->output.data(), outputs[0].size);
    return 0;
}

int rknn_outputs_release(rknn::Context, std::uint32_t, rknn::Output*) { return 0; }
}
