// Orientation in the form that the contract wants.
#pragma once

#include <cmath>

#include <gaitd/contract.hpp>
#include <gaitd/messages.hpp>

namespace gaitd {

/// Unit quaternion (w, x, y, z), base frame to world frame, of roll, pitch and yaw [rad] in the ZYX convention:
/// yaw about z first, then pitch about the new y, then roll about the new x.
inline Quaternion quaternionFromRpy(float roll, float pitch, float yaw) noexcept {
    const float cr = std::cos(roll / 2.0F);
    const float sr = std::sin(roll / 2.0F);
    const float cp = std::cos(pitch / 2.0F);
    const float sp = std::sin(pitch / 2.0F);
    const float cy = std::cos(yaw / 2.0F);
    const float sy = std::sin(yaw / 2.0F);
    return {cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy};
}

/// Whether the base is tilted too far for a stance; so is one whose orientation is not known.
inline bool tooTiltedToStand(const Quaternion& orientation) noexcept {
    const auto& [w, x, y, z] = orientation;
    static const float least = static_cast<float>(std::cos(kStanceMaxTiltRad));
    return !(w * w - x * x - y * y + z * z >= least * (w * w + x * x + y * y + z * z));
}

}  // namespace gaitd
