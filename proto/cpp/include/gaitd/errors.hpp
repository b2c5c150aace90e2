// What can go wrong at start-up. Nothing in the control loop throws.
#pragma once

#include <stdexcept>
#include <string>

#include <gaitd/messages.hpp>

namespace gaitd {

class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The configuration given to the client cannot be used.
class ConfigError : public Error {
public:
    using Error::Error;
};

/// gaitd refused a request; what() is its own text.
class RefusedError : public Error {
public:
    RefusedError(Reason reason, const std::string& text) : Error(text), reason_(reason) {}
    [[nodiscard]] Reason reason() const noexcept { return reason_; }

private:
    Reason reason_;
};

/// The inference runtime is missing, does not fit the model, or failed.
class BackendError : public Error {
public:
    using Error::Error;
};

/// gaitd did not answer in time.
class UnreachableError : public Error {
public:
    using Error::Error;
};

}  // namespace gaitd
