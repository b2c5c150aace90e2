// onnxruntime on the CPU: one thread, inputs and outputs in buffers made at start.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gaitd/backends/backend.hpp>
#include <gaitd/backends/ort_api.hpp>
#include <gaitd/policy/compiled.hpp>

namespace gaitd::backends {

/// A policy's model.onnx.
class OnnxBackend final : public Backend {
public:
    static constexpr const char* kLibrary = "libonnxruntime.so.1";

    /// Loads `library` and the model. To be made in the thread that runs it: where onnxruntime can, it has the processor
    /// take subnormal numbers, which cost ten times the time of others, for 0 there. Throws BackendError.
    OnnxBackend(const policy::Compiled& policy, const std::string& library)
        : library_((noUsageReports(), library), "install onnxruntime's C library, or give its path"),
          base_(baseOf(library_)),
          ort_(tableOf(base_, library_)) {
        if (policy.model.onnx.empty()) throw BackendError("the policy has no model.onnx");
        try {
            openSession(policy.model.onnx);
            bind(policy);
        } catch (...) {
            release();
            throw;
        }
    }

    ~OnnxBackend() override { release(); }

    [[nodiscard]] float* input() noexcept override { return buffers_[0].data(); }
    [[nodiscard]] const float* action() const noexcept override { return buffers_[hidden_.size() + 1].data(); }

    [[nodiscard]] bool infer() noexcept override {
        releaseFailure();
        failure_ = ort_.run(session_, nullptr, input_names_.data(), inputs_.data(), inputs_.size(), output_names_.data(),
                            outputs_.size(), outputs_.data());
        return failure_ == nullptr;
    }

    [[nodiscard]] std::string error() const override {
        return failure_ == nullptr ? "" : std::string("onnxruntime failed: ") + ort_.getErrorMessage(failure_);
    }

    void commit() noexcept override {
        for (std::size_t i = 0; i < hidden_.size(); ++i) {
            policy::Floats& now = buffers_[1 + i];
            std::memcpy(now.data(), buffers_[hidden_.size() + 2 + i].data(), now.size() * sizeof(float));
        }
    }

    void reset() noexcept override {
        for (std::size_t i = 0; i < hidden_.size(); ++i) std::fill(buffers_[1 + i].begin(), buffers_[1 + i].end(), 0.0F);
    }

    [[nodiscard]] std::string versions() const override {
        return std::string("onnxruntime ") + base_->getVersionString() + " (" + library_.path() + ")";
    }

private:
    struct Tensor {
        int type = 0;
        std::vector<std::int64_t> shape;
    };

    /// Newer builds would otherwise keep a usage database in the home directory and send it off.
    static void noUsageReports() { setenv("ORT_DISABLE_TELEMETRY", "1", 0); }

    static const ort::ApiBase* baseOf(const Library& library) {
        const ort::ApiBase* (*get)() = nullptr;
        library.find(get, "OrtGetApiBase");
        return get();
    }

    static const void* const* tableOf(const ort::ApiBase* base, const Library& library) {
        const void* const* table = base->getApi(ort::kApiVersion);
        if (table != nullptr) return table;
        throw BackendError(library.path() + ": onnxruntime " + base->getVersionString() + " has no API version " +
                           std::to_string(ort::kApiVersion) + "; install a newer one");
    }

    void check(ort::Status* status, const char* what) const {
        if (status == nullptr) return;
        const std::string message = ort_.getErrorMessage(status);
        ort_.releaseStatus(status);
        throw BackendError(std::string("model.onnx: ") + what + ": " + message.substr(0, message.find('\n')));
    }

    void openSession(const std::string& model) {
        check(ort_.createEnv(ort::kFatal, "gaitd", &env_), "onnxruntime does not start");
        ort::Options* options = nullptr;
        check(ort_.createSessionOptions(&options), "onnxruntime does not start");
        const std::unique_ptr<ort::Options, void (*)(ort::Options*)> owned(options, ort_.releaseSessionOptions);
        const char* const what = "onnxruntime refuses an option";
        check(ort_.setIntraOpNumThreads(options, 1), what);
        check(ort_.setInterOpNumThreads(options, 1), what);
        check(ort_.setSessionExecutionMode(options, ort::kSequential), what);
        check(ort_.setSessionLogSeverityLevel(options, ort::kFatal), what);
        check(ort_.addSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"), what);
        check(ort_.addSessionConfigEntry(options, "session.set_denormal_as_zero", "1"), what);
        // Else bytes that say so are read in onnxruntime's own format, which nothing has looked through.
        check(ort_.addSessionConfigEntry(options, "session.load_model_format", "ONNX"), what);
        check(ort_.createSessionFromArray(env_, model.data(), model.size(), options, &session_),
              "onnxruntime cannot load it");
    }

    void bind(const policy::Compiled& policy) {
        hidden_ = policy.model.hidden;
        check(ort_.createCpuMemoryInfo(ort::kDeviceAllocator, ort::kDefaultMemory, &memory_), "no memory");
        const std::map<std::string, Tensor> inputs =
            tensors(ort_.sessionGetInputCount, ort_.sessionGetInputName, ort_.sessionGetInputTypeInfo);
        const std::map<std::string, Tensor> outputs =
            tensors(ort_.sessionGetOutputCount, ort_.sessionGetOutputName, ort_.sessionGetOutputTypeInfo);
        if (inputs.size() != 1 + hidden_.size() || outputs.size() != 1 + hidden_.size()) {
            throw BackendError("model.onnx has " + std::to_string(inputs.size()) + " inputs and " +
                               std::to_string(outputs.size()) + " outputs, the manifest's model section " +
                               std::to_string(1 + hidden_.size()) + " of each");
        }
        input_name_ = policy.model.input;
        output_name_ = policy.model.output;
        buffers_.reserve(2 * (1 + hidden_.size()));
        const std::int64_t dim = static_cast<std::int64_t>(policy.observationDim());
        inputs_.push_back(add(inputs, input_name_, vectorShape(inputs, input_name_, dim), input_names_));
        for (const policy::HiddenTensor& each : hidden_) inputs_.push_back(add(inputs, each.input, each.shape, input_names_));
        const std::int64_t actions = static_cast<std::int64_t>(policy.actionDim());
        outputs_.push_back(add(outputs, output_name_, vectorShape(outputs, output_name_, actions), output_names_));
        for (const policy::HiddenTensor& each : hidden_) outputs_.push_back(add(outputs, each.output, each.shape, output_names_));
    }

    template <class Count, class Name, class Type>
    [[nodiscard]] std::map<std::string, Tensor> tensors(Count count_of, Name name_of, Type type_of) const {
        const char* const what = "onnxruntime does not describe it";
        ort::Allocator* allocator = nullptr;
        check(ort_.getAllocatorWithDefaultOptions(&allocator), what);
        std::size_t count = 0;
        check(count_of(session_, &count), what);
        std::map<std::string, Tensor> found;
        for (std::size_t i = 0; i < count; ++i) {
            char* name = nullptr;
            check(name_of(session_, i, allocator, &name), what);
            Tensor& tensor = found[name];
            check(ort_.allocatorFree(allocator, name), what);
            ort::TypeInfo* type = nullptr;
            check(type_of(session_, i, &type), what);
            const std::unique_ptr<ort::TypeInfo, void (*)(ort::TypeInfo*)> owned(type, ort_.releaseTypeInfo);
            const ort::ShapeInfo* shape = nullptr;
            check(ort_.castTypeInfoToTensorInfo(type, &shape), what);
            if (shape == nullptr) continue;  // Not a tensor: of no type that fits.
            std::size_t axes = 0;
            check(ort_.getTensorElementType(shape, &tensor.type), what);
            check(ort_.getDimensionsCount(shape, &axes), what);
            tensor.shape.resize(axes);
            check(ort_.getDimensions(shape, tensor.shape.data(), axes), what);
        }
        return found;
    }

    /// [1, size] or [size], as the model has it; a symbolic batch axis is one robot.
    static std::vector<std::int64_t> vectorShape(const std::map<std::string, Tensor>& tensors, const std::string& name,
                                                 std::int64_t size) {
        const auto found = tensors.find(name);
        const bool flat = found != tensors.end() && found->second.shape.size() == 1;
        return flat ? std::vector<std::int64_t>{size} : std::vector<std::int64_t>{1, size};
    }

    ort::Value* add(const std::map<std::string, Tensor>& tensors, const std::string& name,
                    const std::vector<std::int64_t>& shape, std::vector<const char*>& names) {
        const auto found = tensors.find(name);
        if (found == tensors.end()) throw BackendError("model.onnx has no tensor " + name + ", which the manifest names");
        bool fits = found->second.type == ort::kFloat && found->second.shape.size() == shape.size();
        std::size_t size = 1;
        for (std::size_t i = 0; fits && i < shape.size(); ++i) {
            const std::int64_t axis = found->second.shape[i];
            fits = axis == shape[i] || axis < 0;  // A symbolic axis takes whatever the manifest says.
            size *= static_cast<std::size_t>(shape[i]);
        }
        if (!fits) throw BackendError("model.onnx: tensor " + name + " has another type or shape than the manifest makes");
        names.push_back(name.c_str());
        policy::Floats& buffer = buffers_.emplace_back(size, 0.0F);
        ort::Value* value = nullptr;
        check(ort_.createTensorWithDataAsOrtValue(memory_, buffer.data(), size * sizeof(float), shape.data(), shape.size(),
                                                  ort::kFloat, &value),
              "no memory");
        return value;
    }

    void releaseFailure() noexcept {
        if (failure_ != nullptr) ort_.releaseStatus(std::exchange(failure_, nullptr));
    }

    void release() noexcept {
        releaseFailure();
        for (ort::Value* value : inputs_) ort_.releaseValue(value);
        for (ort::Value* value : outputs_) ort_.releaseValue(value);
        if (memory_ != nullptr) ort_.releaseMemoryInfo(memory_);
        if (session_ != nullptr) ort_.releaseSession(session_);
        if (env_ != nullptr) ort_.releaseEnv(env_);
    }

    const Library library_;
    const ort::ApiBase* const base_;
    const ort::Functions ort_;
    ort::Env* env_ = nullptr;
    ort::Session* session_ = nullptr;
    ort::MemoryInfo* memory_ = nullptr;
    ort::Status* failure_ = nullptr;  ///< Of the newest run.

    std::vector<policy::HiddenTensor> hidden_;
    std::string input_name_;
    std::string output_name_;
    std::vector<policy::Floats> buffers_;  ///< Input, hidden states, action, next hidden states.
    std::vector<const char*> input_names_;
    std::vector<const char*> output_names_;
    std::vector<ort::Value*> inputs_;
    std::vector<ort::Value*> outputs_;
};

}  // namespace gaitd::backends
