// A model run by onnxruntime's C interface and nothing else of ours, as controllers that infer in their own process do
// it: what echo_bench holds gaitd's whole step against. One thread, buffers made at start.
#pragma once

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gaitd/backends/backend.hpp>
#include <gaitd/backends/ort_api.hpp>

#include "options.hpp"

class BareOnnx {
public:
    /// Reads --onnxruntime, --model and the sizes. Throws gaitd::BackendError.
    explicit BareOnnx(const Options& options)
        : input_name_(options.text("--input", "obs")),
          output_name_(options.text("--output", "action")),
          observation_(static_cast<std::size_t>(options.integer("--observation", 45))),
          action_(static_cast<std::size_t>(options.integer("--action", 12))),
          ort_(tableOf(options.text("--onnxruntime", "libonnxruntime.so.1"))) {
        namespace ort = gaitd::backends::ort;
        const std::string path = options.text("--model", "");
        std::ifstream file(path, std::ios::binary);
        const std::vector<char> model{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        if (model.empty()) throw gaitd::BackendError("--model " + path + ": cannot be read, or is empty");
        ort::Env* env = nullptr;
        ort::Options* settings = nullptr;
        check(ort_.createEnv(ort::kFatal, "echo_bench", &env));
        check(ort_.createSessionOptions(&settings));
        check(ort_.setIntraOpNumThreads(settings, 1));
        check(ort_.setInterOpNumThreads(settings, 1));
        check(ort_.createSessionFromArray(env, model.data(), model.size(), settings, &session_));
        ort_.releaseSessionOptions(settings);
        ort::MemoryInfo* memory = nullptr;
        check(ort_.createCpuMemoryInfo(ort::kDeviceAllocator, ort::kDefaultMemory, &memory));
        input_ = tensor(memory, observation_);
        output_ = tensor(memory, action_);
        ort_.releaseMemoryInfo(memory);
    }
    BareOnnx(const BareOnnx&) = delete;
    BareOnnx& operator=(const BareOnnx&) = delete;
    ~BareOnnx() { ort_.releaseSession(session_); }  // The process ends with it: the rest goes with that.

    /// One inference of an observation that is never the same twice in a row. Throws gaitd::BackendError.
    void infer(std::uint64_t seq) {
        observation_[0] = 0.01F * static_cast<float>(seq % 7);
        const char* const in = input_name_.c_str();
        const char* const out = output_name_.c_str();
        check(ort_.run(session_, nullptr, &in, &input_, 1, &out, 1, &output_));
    }

    [[nodiscard]] const std::vector<float>& action() const noexcept { return action_; }

private:
    static const void* const* tableOf(const std::string& path) {
        setenv("ORT_DISABLE_TELEMETRY", "1", 0);
        const gaitd::backends::Library library(path, "give the path of onnxruntime's library with --onnxruntime");
        const gaitd::backends::ort::ApiBase* (*base)() = nullptr;
        library.find(base, "OrtGetApiBase");
        const void* const* table = base()->getApi(gaitd::backends::ort::kApiVersion);
        if (table == nullptr) throw gaitd::BackendError(path + ": too old an onnxruntime");
        return table;
    }

    void check(gaitd::backends::ort::Status* status) const {
        if (status != nullptr) throw gaitd::BackendError(std::string("onnxruntime: ") + ort_.getErrorMessage(status));
    }

    gaitd::backends::ort::Value* tensor(const gaitd::backends::ort::MemoryInfo* memory, std::vector<float>& values) const {
        const std::array<std::int64_t, 2> shape{1, static_cast<std::int64_t>(values.size())};
        gaitd::backends::ort::Value* value = nullptr;
        check(ort_.createTensorWithDataAsOrtValue(memory, values.data(), values.size() * sizeof(float), shape.data(),
                                                  shape.size(), gaitd::backends::ort::kFloat, &value));
        return value;
    }

    const std::string input_name_;
    const std::string output_name_;
    std::vector<float> observation_;
    std::vector<float> action_;
    const gaitd::backends::ort::Functions ort_;
    gaitd::backends::ort::Session* session_ = nullptr;
    gaitd::backends::ort::Value* input_ = nullptr;
    gaitd::backends::ort::Value* output_ = nullptr;
};
