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

/// A reason, and the cause behind it, in one line.
inline std::string explain(const Ending& ending, const std::vector<std::string>& joints) {
    std::string line = std::string(toString(ending.reason)) + ": " + text(ending.reason);
    if (ending.cause.kind != CauseKind::None) line += " (" + explain(ending.cause, joints) + ")";
    return line;
}

/// The same of a command in damping; and gaitd's reason, where that came later.
inline std::string explain(const JointCommand& command, const std::vector<std::string>& joints) {
    const std::string line = explain(Ending{command.reason, command.cause}, joints);
    if (command.gaitd_says.reason == Reason::None) return line;
    return line + "; gaitd says: " + explain(command.gaitd_says, joints);
}

}  // namespace gaitd
