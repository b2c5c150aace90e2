// Which states are taken: stamps, content. The same rules with the same causes as gaitd.policy.admission; what the
// process's own memory rules out (another session, a malformed message) is left out.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <gaitd/policy/compiled.hpp>
#include <gaitd/policy/observation.hpp>

namespace gaitd::policy {

/// The states of one session; time is an argument, CLOCK_MONOTONIC.
class Admission {
public:
    explicit Admission(const Compiled& policy)
        : limits_(policy.state),
          joints_(policy.joints.size()),
          has_linear_velocity_(policy.needs("linear_velocity")),
          min_spacing_ns_(static_cast<std::uint64_t>(static_cast<double>(policy.period_ns) * kMinStateSpacingPeriods)),
          min_interval_ns_(static_cast<std::uint64_t>(static_cast<double>(policy.period_ns) / kMaxStateRate)),
          default_(policy.default_position) {}

    void reset() noexcept {
        begun_ = false;
        earliest_ns_ = 0;
        last_stamp_ns_ = 0;
    }

    /// Takes note of a state with its joints in the policy's order, or says why it is refused (the joint is in that
    /// order). How old it may be is tooOld()'s business.
    [[nodiscard]] Cause admit(const RobotState& state, std::uint64_t now_ns) noexcept {
        const Cause cause = judge(state, now_ns);
        if (cause.kind != CauseKind::None) return cause;
        Content content;
        const std::size_t size = contentOf(state, content) * sizeof(float);
        const bool frozen = begun_ && std::memcmp(content.data(), content_.data(), size) == 0;
        // A state that comes late leaves the next one its own time; many that come early add up.
        const std::uint64_t reserve_ns = min_interval_ns_ - min_spacing_ns_;
        const std::uint64_t due_ns = begun_ ? std::max(earliest_ns_ + reserve_ns, state.stamp_ns) : state.stamp_ns;
        earliest_ns_ = due_ns + min_interval_ns_ - reserve_ns;
        begun_ = true;
        last_stamp_ns_ = state.stamp_ns;
        std::memcpy(content_.data(), content.data(), size);
        return frozen ? causeOf(CauseKind::Frozen) : Cause{};
    }

    /// Why a state sampled then may no longer be answered; none while it may.
    [[nodiscard]] Cause tooOld(std::uint64_t stamp_ns, std::uint64_t now_ns) const noexcept {
        const std::uint64_t age_ns = now_ns > stamp_ns ? now_ns - stamp_ns : 0;
        if (age_ns <= limits_.max_age_ns) return {};
        return causeOf(CauseKind::Old, kNoJoint, ms(age_ns), ms(limits_.max_age_ns));
    }

private:
    /// What a living sensor changes from state to state.
    using Content = std::array<float, 13 + 3 * kMaxJoints>;

    static Cause causeOf(CauseKind kind, std::size_t joint = kNoJoint,
                         double number = std::numeric_limits<double>::quiet_NaN(),
                         double bound = std::numeric_limits<double>::quiet_NaN()) noexcept {
        return {kind, static_cast<std::uint8_t>(joint), static_cast<float>(number), static_cast<float>(bound)};
    }

    static double ms(std::uint64_t duration_ns) noexcept { return static_cast<double>(duration_ns) / 1e6; }

    /// How many values it has.
    std::size_t contentOf(const RobotState& state, Content& content) const noexcept {
        float* next = content.data();
        const auto put = [&next](const float* values, std::size_t count) { next = std::copy_n(values, count, next); };
        put(state.joint_position.data(), joints_);
        put(state.joint_velocity.data(), joints_);
        put(state.angular_velocity.data(), 3);
        put(state.orientation.data(), 4);
        put(state.linear_acceleration.data(), 3);
        put(state.joint_torque.data(), joints_);
        if (has_linear_velocity_) put(state.linear_velocity.data(), 3);
        return static_cast<std::size_t>(next - content.data());
    }

    [[nodiscard]] Cause judge(const RobotState& state, std::uint64_t now_ns) const noexcept {
        if (state.stamp_ns > now_ns + kFutureTolerance_ns) {
            return causeOf(CauseKind::Future, kNoJoint, ms(state.stamp_ns - now_ns), ms(kFutureTolerance_ns));
        }
        if (begun_ && state.stamp_ns < earliest_ns_) {
            if (state.stamp_ns <= last_stamp_ns_) return causeOf(CauseKind::Sequence);
            return causeOf(CauseKind::Early, kNoJoint, ms(state.stamp_ns - last_stamp_ns_), ms(earliest_ns_ - last_stamp_ns_));
        }
        if (const Cause cause = judgeJoints(state); cause.kind != CauseKind::None) return cause;
        if (!othersAreFinite(state)) return causeOf(CauseKind::NotFinite);
        return judgePosture(state);
    }

    /// NaN is in no range.
    [[nodiscard]] Cause judgeJoints(const RobotState& state) const noexcept {
        const auto value = [&](std::size_t i) { return i < joints_ ? state.joint_position[i] : state.joint_velocity[i - joints_]; };
        std::size_t worst = 2 * joints_;
        float most = 0.0F;
        for (std::size_t i = 0; i < 2 * joints_; ++i) {
            if (!std::isfinite(value(i))) return causeOf(CauseKind::NotFinite, i % joints_, value(i));
            const float excess = std::max(limits_.joints_low[i] - value(i), value(i) - limits_.joints_high[i]);
            if (excess > most) {
                most = excess;
                worst = i;
            }
        }
        if (worst == 2 * joints_) return {};
        const bool above = value(worst) > limits_.joints_high[worst];
        const CauseKind kind = worst < joints_ ? CauseKind::OutOfRange : CauseKind::VelocityOutOfRange;
        return causeOf(kind, worst % joints_, value(worst), above ? limits_.joints_high[worst] : limits_.joints_low[worst]);
    }

    [[nodiscard]] bool othersAreFinite(const RobotState& state) const noexcept {
        const auto finite = [](const float* values, std::size_t count) {
            return std::all_of(values, values + count, [](float each) { return std::isfinite(each); });
        };
        return finite(state.angular_velocity.data(), 3) && finite(state.orientation.data(), 4) &&
               finite(state.linear_acceleration.data(), 3) && finite(state.joint_torque.data(), joints_) &&
               finite(state.velocity_command.data(), 3) &&
               (!has_linear_velocity_ || finite(state.linear_velocity.data(), 3));
    }

    [[nodiscard]] Cause judgePosture(const RobotState& state) const noexcept {
        double norm = 0.0;
        for (const float each : state.orientation) norm += static_cast<double>(each) * static_cast<double>(each);
        if (!(norm > kMinOrientationNormSquared)) {
            return causeOf(CauseKind::OrientationNorm, kNoJoint, norm, kMinOrientationNormSquared);
        }
        if (!(norm < kMaxOrientationNormSquared)) {
            return causeOf(CauseKind::OrientationNorm, kNoJoint, norm, kMaxOrientationNormSquared);
        }
        const double w = state.orientation[0];
        const double x = state.orientation[1];
        const double y = state.orientation[2];
        const double z = state.orientation[3];
        const double upright = -(x * x + y * y - w * w - z * z) / norm;
        if (upright < limits_.min_upright) {
            return causeOf(CauseKind::Tilt, kNoJoint, std::acos(std::max(-1.0, upright)), std::acos(limits_.min_upright));
        }
        return begun_ ? Cause{} : judgeStart(state);
    }

    [[nodiscard]] Cause judgeStart(const RobotState& state) const noexcept {
        std::size_t worst = joints_;
        float most = 0.0F;
        for (std::size_t i = 0; i < joints_; ++i) {
            const float excess = std::abs(state.joint_position[i] - default_[i]) - limits_.start_error[i];
            if (excess > most) {
                most = excess;
                worst = i;
            }
        }
        if (worst == joints_) return {};
        return causeOf(CauseKind::StartPosture, worst, std::abs(state.joint_position[worst] - default_[worst]),
                       limits_.start_error[worst]);
    }

    const StateLimits limits_;
    const std::size_t joints_;
    const bool has_linear_velocity_;
    const std::uint64_t min_spacing_ns_;
    const std::uint64_t min_interval_ns_;
    const Floats default_;

    bool begun_ = false;  ///< A state was admitted.
    std::uint64_t last_stamp_ns_ = 0;
    std::uint64_t earliest_ns_ = 0;
    Content content_{};
};

}  // namespace gaitd::policy
