// Policies on the NPU of RK3588, through the vendor's runtime library. A crash of that library is a crash of this
// process; a job that hangs cannot be cancelled.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gaitd/backends/backend.hpp>
#include <gaitd/backends/rknn_api.hpp>
#include <gaitd/policy/compiled.hpp>

namespace gaitd::backends {

/// A policy's model.rknn on one NPU core.
class RknnBackend final : public Backend {
public:
    static constexpr const char* kLibrary = "librknnrt.so";

    /// Loads `library` and the model; `core`: 0 to 2. Throws BackendError.
    RknnBackend(const policy::Compiled& policy, const std::string& library, int core)
        : library_(library, "install Rockchip's librknnrt.so (aarch64), or use the backend onnx") {
        if (policy.model.rknn.empty()) throw BackendError("the policy has no model.rknn");
        if (core < 0 || core > 2) throw BackendError("NPU core " + std::to_string(core) + " is unknown: 0, 1 or 2");
        library_.find(rknn_.init, "rknn_init");
        library_.find(rknn_.destroy, "rknn_destroy");
        library_.find(rknn_.query, "rknn_query");
        library_.find(rknn_.set_core_mask, "rknn_set_core_mask");
        library_.find(rknn_.inputs_set, "rknn_inputs_set");
        library_.find(rknn_.run, "rknn_run");
        library_.find(rknn_.outputs_get, "rknn_outputs_get");
        library_.find(rknn_.outputs_release, "rknn_outputs_release");
        std::string model = policy.model.rknn;
        check("rknn_init", rknn_.init(&context_, model.data(), static_cast<std::uint32_t>(model.size()),
                                      rknn::kDisableProcessPriority, nullptr));
        try {
            prepare(policy, core);
        } catch (...) {
            rknn_.destroy(context_);
            throw;
        }
    }

    ~RknnBackend() override { rknn_.destroy(context_); }

    [[nodiscard]] float* input() noexcept override { return given_[0].data(); }
    [[nodiscard]] const float* action() const noexcept override { return taken_[0].data(); }

    [[nodiscard]] bool infer() noexcept override {
        // What the runtime does not write must not pass for an answer.
        for (policy::Floats& each : taken_) std::fill(each.begin(), each.end(), std::numeric_limits<float>::quiet_NaN());
        const auto inputs = static_cast<std::uint32_t>(inputs_.size());
        const auto outputs = static_cast<std::uint32_t>(outputs_.size());
        return worked("rknn_inputs_set", rknn_.inputs_set(context_, inputs, inputs_.data())) &&
               worked("rknn_run", rknn_.run(context_, nullptr)) &&
               worked("rknn_outputs_get", rknn_.outputs_get(context_, outputs, outputs_.data(), nullptr)) &&
               worked("rknn_outputs_release", rknn_.outputs_release(context_, outputs, outputs_.data())) && isFinite();
    }

    [[nodiscard]] std::string error() const override {
        if (failed_ == nullptr) return "";
        if (code_ == 0) return failed_;
        return rknn::explain(failed_, code_);
    }

    void commit() noexcept override {
        for (std::size_t i = 1; i < given_.size(); ++i) given_[i] = taken_[i];  // Of the same size: nothing is allocated.
    }

    void reset() noexcept override {
        for (std::size_t i = 1; i < given_.size(); ++i) std::fill(given_[i].begin(), given_[i].end(), 0.0F);
    }

    [[nodiscard]] std::string versions() const override {
        return "librknnrt " + std::string(version_.runtime) + ", driver " + version_.driver + " (" + library_.path() + ")";
    }

private:
    static void check(const char* function, int code) {
        if (code != 0) throw BackendError(rknn::explain(function, code));
    }

    [[nodiscard]] bool worked(const char* function, int code) noexcept {
        code_ = code;
        failed_ = code == 0 ? nullptr : function;
        return code == 0;
    }

    [[nodiscard]] bool isFinite() noexcept {
        for (const policy::Floats& each : taken_) {
            if (!std::all_of(each.begin(), each.end(), [](float value) { return std::isfinite(value); })) {
                failed_ = "the NPU reported success, but its output is not finite or was not written";
                return false;
            }
        }
        return true;
    }

    void prepare(const policy::Compiled& policy, int core) {
        query(rknn::kSdkVersion, version_);
        version_.runtime[sizeof(version_.runtime) - 1] = version_.driver[sizeof(version_.driver) - 1] = '\0';
        check("rknn_set_core_mask", rknn_.set_core_mask(context_, 1 << core));
        checkMemory(policy.model.npu_memory_kib);
        rknn::TensorCount count{};
        query(rknn::kTensorCount, count);
        const std::size_t expected = 1 + policy.model.hidden.size();
        if (count.inputs != expected || count.outputs != expected) {
            throw BackendError("model.rknn has " + std::to_string(count.inputs) + " inputs and " +
                               std::to_string(count.outputs) + " outputs, the manifest's model section " +
                               std::to_string(expected) + " of each");
        }
        tensors_ = count.inputs;
        given_.reserve(expected);
        taken_.reserve(expected);
        addInput(policy.model.input, policy.observationDim());
        addOutput(policy.model.output, policy.actionDim());
        for (const policy::HiddenTensor& hidden : policy.model.hidden) {
            addInput(hidden.input, hidden.size());
            addOutput(hidden.output, hidden.size());
        }
        // The runtime takes outputs in the order of their indices.
        std::sort(outputs_.begin(), outputs_.end(), [](const auto& one, const auto& other) { return one.index < other.index; });
    }

    void checkMemory(double most_kib) {
        if (std::isinf(most_kib)) return;
        rknn::MemorySize size{};
        query(rknn::kMemorySize, size);
        const double taken_kib = (static_cast<double>(size.weights) + static_cast<double>(size.internal)) / 1024.0;
        if (taken_kib > most_kib) {
            throw BackendError("model.rknn takes " + std::to_string(taken_kib) + " KiB of the NPU's memory, but the " +
                               "manifest's model.npu_memory_kib is " + std::to_string(most_kib));
        }
    }

    template <class Answer>
    void query(rknn::Query what, Answer& answer) {
        check("rknn_query", rknn_.query(context_, what, &answer, sizeof(answer)));
    }

    rknn::TensorAttribute attribute(rknn::Query side, const std::string& name, std::size_t size) {
        for (std::uint32_t i = 0; i < tensors_; ++i) {
            rknn::TensorAttribute found{};
            found.index = i;
            query(side, found);
            found.name[sizeof(found.name) - 1] = '\0';
            if (name != found.name) continue;
            if (found.elements == size) return found;
            throw BackendError("model.rknn: tensor " + name + " has " + std::to_string(found.elements) +
                               " values, the manifest makes " + std::to_string(size));
        }
        throw BackendError("model.rknn has no tensor " + name + ", which the manifest names");
    }

    void addInput(const std::string& name, std::size_t size) {
        const rknn::TensorAttribute found = attribute(rknn::kInputAttribute, name, size);
        policy::Floats& buffer = given_.emplace_back(size, 0.0F);
        inputs_.push_back({found.index, buffer.data(), static_cast<std::uint32_t>(size * sizeof(float)), 0, rknn::kFloat32,
                           found.format});
    }

    void addOutput(const std::string& name, std::size_t size) {
        const rknn::TensorAttribute found = attribute(rknn::kOutputAttribute, name, size);
        policy::Floats& buffer = taken_.emplace_back(size, 0.0F);
        outputs_.push_back({1, 1, found.index, buffer.data(), static_cast<std::uint32_t>(size * sizeof(float))});
    }

    const Library library_;
    rknn::Functions rknn_{};
    rknn::Context context_ = 0;
    rknn::SdkVersion version_{};
    std::uint32_t tensors_ = 0;          ///< On each side.
    std::vector<policy::Floats> given_;  ///< Observation, hidden states.
    std::vector<policy::Floats> taken_;  ///< Action, next hidden states.
    std::vector<rknn::Input> inputs_;
    std::vector<rknn::Output> outputs_;
    const char* failed_ = nullptr;  ///< The newest run: its function that failed.
    int code_ = 0;
};

}  // namespace gaitd::backends
