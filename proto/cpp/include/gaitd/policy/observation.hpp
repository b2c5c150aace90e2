// Robot states to the observation vector: terms, scale, clip, history. The same arithmetic as
// gaitd.policy.observation, in the same order.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <gaitd/policy/compiled.hpp>

namespace gaitd::policy {

/// World's unit gravity vector (0, 0, -1) in the base frame, of a quaternion w, x, y, z.
inline Vector3 projectedGravity(const Quaternion& orientation) noexcept {
    const double w = orientation[0];
    const double x = orientation[1];
    const double y = orientation[2];
    const double z = orientation[3];
    return {static_cast<float>(2.0 * (w * y - x * z)), static_cast<float>(-2.0 * (w * x + y * z)),
            static_cast<float>(x * x + y * y - w * w - z * z)};
}

/// Roll, pitch, yaw [rad] of a quaternion w, x, y, z: turns about x, then y, then z.
inline Vector3 rollPitchYaw(const Quaternion& orientation) noexcept {
    const double w = orientation[0];
    const double x = orientation[1];
    const double y = orientation[2];
    const double z = orientation[3];
    return {static_cast<float>(std::atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))),
            static_cast<float>(std::asin(std::max(-1.0, std::min(1.0, 2.0 * (w * y - z * x))))),
            static_cast<float>(std::atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))};
}

/// The history of one session. Allocates when it is made, never afterwards.
class Observation {
public:
    Observation(const ObservationTerms& terms, std::size_t joints)
        : terms_(terms), joints_(joints), frame_(terms.gather.size()), frames_(frame_ * terms.depth), vector_(dim()) {
        std::size_t place = 0;
        for (std::size_t i = 0; i < kSources.size(); ++i) {
            const std::size_t end = place + (kSources[i].size == 0 ? joints : kSources[i].size);
            is_shown_[i] = std::any_of(terms.gather.begin(), terms.gather.end(),
                                       [&](std::uint32_t each) { return each >= place && each < end; });
            place = end;
        }
        sources_.resize(place);
    }

    [[nodiscard]] std::size_t dim() const noexcept { return terms_.stack.size(); }

    /// Forgets all frames: the next state is the first of a session.
    void reset() noexcept {
        step_ = 0;
        std::fill(frames_.begin(), frames_.end(), 0.0F);
    }

    /// One control step: a state with its joints in the policy's order, the velocity command inside its range, and the
    /// last action (joints) whose command was applied.
    void observe(const RobotState& state, const Vector3& command, const float* last_action) noexcept {
        gather(state, command, last_action);
        if (terms_.depth > 1) std::memmove(frames_.data() + frame_, frames_.data(), (frames_.size() - frame_) * sizeof(float));
        for (std::size_t i = 0; i < frame_; ++i) {
            const float value = (sources_[terms_.gather[i]] - terms_.offset[i]) * terms_.scale[i];
            frames_[i] = std::min(std::max(value, terms_.low[i]), terms_.high[i]);
        }
        if (step_ == 0) fill();
        ++step_;
    }

    /// The observation (dim) before normalization; valid until the next call.
    const Floats& vector() noexcept {
        for (std::size_t i = 0; i < vector_.size(); ++i) {
            vector_[i] = std::min(std::max(frames_[terms_.stack[i]], -terms_.clip), terms_.clip);
        }
        return vector_;
    }

private:
    void gather(const RobotState& state, const Vector3& command, const float* last_action) noexcept {
        float* next = sources_.data();
        const auto put = [&next](const float* values, std::size_t count) { next = std::copy_n(values, count, next); };
        const Vector3 gravity = projectedGravity(state.orientation);
        const Vector3 rpy = is_shown_[kRollPitchYaw] ? rollPitchYaw(state.orientation) : Vector3{};
        const std::array<float, 2> clock = is_shown_[kClockPhase] ? clockPhase() : std::array<float, 2>{};
        // In the order of kSources.
        put(state.angular_velocity.data(), 3);
        put(state.linear_acceleration.data(), 3);
        put(state.linear_velocity.data(), 3);
        put(state.joint_position.data(), joints_);
        put(state.joint_velocity.data(), joints_);
        put(state.joint_torque.data(), joints_);
        put(command.data(), 3);
        put(last_action, joints_);
        put(gravity.data(), 3);
        put(rpy.data(), 3);
        put(clock.data(), 2);
    }

    [[nodiscard]] std::array<float, 2> clockPhase() const noexcept {
        const double phase = terms_.phase_per_step * static_cast<double>(step_);
        return {static_cast<float>(std::sin(phase)), static_cast<float>(std::cos(phase))};
    }

    void fill() noexcept {
        for (std::size_t row = 1; row < terms_.depth; ++row) {
            for (std::size_t i = 0; i < frame_; ++i) {
                if (terms_.fill_first[i] != 0) frames_[row * frame_ + i] = frames_[i];
            }
        }
    }

    static constexpr std::size_t kRollPitchYaw = 9;  ///< Places in kSources.
    static constexpr std::size_t kClockPhase = 10;

    const ObservationTerms terms_;
    const std::size_t joints_;
    const std::size_t frame_;  ///< Values of one.
    std::array<bool, kSources.size()> is_shown_{};  ///< A term shows something of that source.
    Floats sources_;
    Floats frames_;  ///< Newest first.
    Floats vector_;
    std::uint64_t step_ = 0;
};

}  // namespace gaitd::policy
