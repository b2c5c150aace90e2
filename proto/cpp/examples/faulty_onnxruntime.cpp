// An onnxruntime that fails when it is told to, for demonstrations and tests of what comes of it: a shared library in its
// place, which hands every call on to the real one (GAITD_RUNTIME). From SIGUSR2 on each run hangs, reports an error, or
// answers what is not a number, as GAITD_FAULT says: hang, error or nan.
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include <dlfcn.h>

#include <gaitd/backends/ort_api.hpp>

namespace {

namespace ort = gaitd::backends::ort;

constexpr std::size_t kRun = 9;
constexpr std::size_t kCreateStatus = 0;
constexpr std::size_t kGetTensorMutableData = 51;
constexpr std::size_t kEntries = 150;  // Of API version 5.
constexpr int kFail = 1;

std::atomic<bool> faulty{false};
const void* const* real = nullptr;

template <class Function>
Function entry(std::size_t place) {
    return reinterpret_cast<Function>(const_cast<void*>(real[place]));
}

bool isFault(const char* name) {
    const char* const fault = std::getenv("GAITD_FAULT");
    return fault != nullptr && std::strcmp(fault, name) == 0;
}

ort::Status* run(ort::Session* session, const void* options, const char* const* input_names, const ort::Value* const* inputs,
                 std::size_t input_count, const char* const* output_names, std::size_t output_count, ort::Value** outputs) {
    const bool fails = faulty.load();
    while (fails && isFault("hang")) std::this_thread::sleep_for(std::chrono::seconds(1));
    if (fails && isFault("error")) {
        return entry<ort::Status* (*)(int, const char*)>(kCreateStatus)(kFail, "GAITD_FAULT asks for an error");
    }
    ort::Status* const status = entry<decltype(ort::Functions::run)>(kRun)(session, options, input_names, inputs, input_count,
                                                                           output_names, output_count, outputs);
    if (status == nullptr && fails && isFault("nan")) {
        void* data = nullptr;
        if (entry<ort::Status* (*)(ort::Value*, void**)>(kGetTensorMutableData)(outputs[0], &data) == nullptr) {
            *static_cast<float*>(data) = std::nanf("");
        }
    }
    return status;
}

const ort::ApiBase* realBase() {
    static const ort::ApiBase* const base = []() -> const ort::ApiBase* {
        const char* const path = std::getenv("GAITD_RUNTIME");
        void* const library = path == nullptr ? nullptr : dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) return nullptr;
        const auto get = reinterpret_cast<const ort::ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
        return get == nullptr ? nullptr : get();
    }();
    return base;
}

const void* const* getApi(std::uint32_t version) {
    if (version != ort::kApiVersion || realBase() == nullptr) return nullptr;
    real = realBase()->getApi(version);
    if (real == nullptr) return nullptr;
    static std::vector<const void*> functions(real, real + kEntries);
    functions[kRun] = reinterpret_cast<const void*>(run);
    std::signal(SIGUSR2, [](int) { faulty.store(true); });
    return functions.data();
}

const char* getVersionString() { return realBase() == nullptr ? "absent" : realBase()->getVersionString(); }

}  // namespace

extern "C" const ort::ApiBase* OrtGetApiBase() {
    static const ort::ApiBase base{getApi, getVersionString};
    return &base;
}
