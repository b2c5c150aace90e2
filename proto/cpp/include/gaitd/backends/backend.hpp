// What the policy library asks of an inference runtime.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include <dlfcn.h>

#include <gaitd/errors.hpp>

namespace gaitd::backends {

/// One loaded model. Of one thread. It may block, crash or lie: the guard expects all three.
///
/// A recurrent policy's hidden state lives inside it: infer() computes the next one, commit() makes it the model's own,
/// so that a rejected action leaves no trace.
class Backend {
public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    /// Where the model's input is to be written, and where its action stands after infer().
    [[nodiscard]] virtual float* input() noexcept = 0;
    [[nodiscard]] virtual const float* action() const noexcept = 0;

    /// Runs the model. False when the runtime reported an error; error() says it.
    [[nodiscard]] virtual bool infer() noexcept = 0;
    /// What the runtime said of its newest failure. Not for the hot path.
    [[nodiscard]] virtual std::string error() const = 0;

    /// The last action's command went out: the hidden state that came with it is the model's own.
    virtual void commit() noexcept = 0;
    /// Start of a session: zeroes the hidden state.
    virtual void reset() noexcept = 0;

    /// Runtime and version, for people.
    [[nodiscard]] virtual std::string versions() const = 0;
};

/// A shared library, opened when it is needed and never closed: a thread may be stuck in it.
class Library {
public:
    /// Throws BackendError; `hint` says what to do.
    Library(std::string path, const std::string& hint) : path_(std::move(path)) {
        handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_ == nullptr) throw BackendError(std::string(dlerror()) + "; " + hint);
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// The function of that name. Throws BackendError.
    template <class Function>
    void find(Function& function, const char* name) const {
        function = reinterpret_cast<Function>(dlsym(handle_, name));
        if (function == nullptr) throw BackendError(path_ + " has no " + name + ": it is another library");
    }

private:
    const std::string path_;
    void* handle_ = nullptr;
};

}  // namespace gaitd::backends
