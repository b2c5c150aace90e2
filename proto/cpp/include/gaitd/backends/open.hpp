// Which runtime runs a policy, and the proof that it does: the golden vectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include <gaitd/backends/backend.hpp>
#include <gaitd/backends/onnx.hpp>
#include <gaitd/backends/rknn.hpp>
#include <gaitd/policy/compiled.hpp>
#include <gaitd/policy/normalizer.hpp>

namespace gaitd::backends {

enum class Kind { Onnx, Rknn };

struct Choice {
    Kind kind = Kind::Onnx;
    std::string library;  ///< Path or name of the runtime's shared library; empty: the usual name.
    int npu_core = 0;     ///< Of the NPU: 0 to 2.
};

/// Throws BackendError.
inline std::unique_ptr<Backend> open(const policy::Compiled& policy, const Choice& choice) {
    const auto library = [&](const char* usual) { return choice.library.empty() ? usual : choice.library; };
    if (choice.kind == Kind::Rknn) {
        return std::make_unique<RknnBackend>(policy, library(RknnBackend::kLibrary), choice.npu_core);
    }
    return std::make_unique<OnnxBackend>(policy, library(OnnxBackend::kLibrary));
}

/// Runs all golden vectors, and resets the backend. Returns the largest difference to a recorded action, in raw action
/// units. Throws BackendError, naming vector and joint, for one beyond the policy's tolerance or not finite.
inline double prove(Backend& backend, const policy::Compiled& policy, Kind kind) {
    const policy::Golden& golden = policy.golden;
    const double tolerance = kind == Kind::Rknn ? golden.rknn_tolerance : golden.onnx_tolerance;
    const policy::Normalizer normalizer(policy.normalization);
    const std::size_t dim = policy.observationDim();
    const std::size_t actions = policy.actionDim();
    double largest = 0.0;
    backend.reset();
    for (std::size_t row = 0; row < golden.rows(); ++row) {
        if (golden.reset[row] != 0) backend.reset();
        normalizer(golden.observation.data() + row * dim, backend.input(), dim);
        if (!backend.infer()) throw BackendError("golden vector " + std::to_string(row) + ": " + backend.error());
        for (std::size_t i = 0; i < actions; ++i) {
            const double answer = backend.action()[i];
            const double expected = golden.action[row * actions + i];
            const double error = std::abs(answer - expected);
            if (!(error <= tolerance)) {
                throw BackendError("golden vector " + std::to_string(row) + ", joint " +
                                   policy.joints[policy.action.moved[i]] + ": the model answers " + std::to_string(answer) +
                                   ", recorded was " + std::to_string(expected));
            }
            largest = std::max(largest, error);
        }
        backend.commit();
    }
    backend.reset();
    return largest;
}

}  // namespace gaitd::backends
