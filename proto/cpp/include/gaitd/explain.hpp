// Why the robot is in damping, for people. Not for the control loop: it allocates.
#pragma once

#include <array>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gaitd/messages.hpp>

namespace gaitd {

/// A cause in one line; `joints` are the controller's.
inline std::string explain(const Cause& cause, const std::vector<std::string>& joints) {
    const std::string unit = unitOf(cause.kind);
    const auto number = [&](float value) {
        std::array<char, 32> digits{};
        std::snprintf(digits.data(), digits.size(), "%.6g", static_cast<double>(value));
        return digits.data() + (unit.empty() ? "" : " " + unit);
    };
    std::string line = text(cause.kind);
    if (cause.joint < joints.size()) line += "; joint " + joints[cause.joint];
    if (!std::isnan(cause.number)) line += "; value " + number(cause.number);
    if (!std::isnan(cause.bound)) line += "; limit " + number(cause.bound);
    return line;
}

/// A command's reason, and the cause behind it, in one line.
inline std::string explain(const JointCommand& command, const std::vector<std::string>& joints) {
    std::string line = std::string(toString(command.reason)) + ": " + text(command.reason);
    if (command.cause.kind != CauseKind::None) line += " (" + explain(command.cause, joints) + ")";
    return line;
}

}  // namespace gaitd
