// The guard: what of an action may go to the motors. The same rules, in the same order, with the same causes as
// gaitd.policy.limits.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include <gaitd/policy/action_map.hpp>
#include <gaitd/policy/compiled.hpp>

namespace gaitd::policy {

/// What becomes of one raw action. Target and action mean something only when it is accepted.
struct Decision {
    Cause cause;               ///< Why it is rejected; the joint is in the policy's order. None: accepted.
    JointArray target{};       ///< rad
    JointArray action{};       ///< The raw action after its clip; where a limit holds a joint back, what it came to.
    JointArray model_action{}; ///< What the model gave, joint by joint.
    std::array<std::size_t, 3> clamped{};  ///< Joints held back by position, slew and torque.

    [[nodiscard]] bool isAccepted() const noexcept { return cause.kind == CauseKind::None; }
};

/// Finite, not stuck, change in a step, torque that the motors would apply, range. Limits that clamp hold the target
/// back in that order: the range has the last word.
class Limits {
public:
    Limits(const TargetLimits& limits, const ActionMap& map, const Floats& default_position)
        : limits_(limits), map_(map), joints_(map.joints()) {
        std::copy_n(default_position.begin(), joints_, start_.begin());
        reset();
    }

    /// Start of a session: the robot stands at the default position.
    void reset() noexcept {
        last_ = start_;
        has_answer_ = false;
        answered_at_ = start_;
    }

    /// Judges the model's action at the measured joint position [rad] and velocity [rad/s]. Leaves no trace: commit()
    /// does, when the command went out.
    void check(const float* model_action, const JointArray& position, const JointArray& velocity,
               Decision& decision) const noexcept {
        decision.cause = Cause{};
        decision.clamped = {};
        map_.spread(model_action, decision.model_action);
        if (modelFault(decision.model_action, position, decision.cause)) return;
        map_.clip(decision.model_action, decision.action);
        map_.target(decision.action, last_, decision.target);
        JointArray low;
        JointArray high;
        const auto hold_between = [&](Kind kind, auto bounds) {
            for (std::size_t i = 0; i < joints_; ++i) bounds(i);
            hold(kind, low, high, position, velocity, decision);
        };
        hold_between(kSlew, [&](std::size_t i) {
            low[i] = last_[i] - limits_.slew[i];
            high[i] = last_[i] + limits_.slew[i];
        });
        hold_between(kTorque, [&](std::size_t i) {
            const float centre = position[i] + limits_.velocity_share[i] * velocity[i];
            low[i] = centre - limits_.reach[i];
            high[i] = centre + limits_.reach[i];
        });
        hold_between(kPosition, [&](std::size_t i) {
            low[i] = limits_.low[i];
            high[i] = limits_.high[i];
        });
    }

    /// The decision's command went out: its target is the next step's reference. `position` [rad]: where the joints were
    /// measured when it was judged.
    void commit(const Decision& decision, const JointArray& position) noexcept {
        last_ = decision.target;
        if (has_answer_ && same(decision.model_action, answer_)) return;
        has_answer_ = true;
        answer_ = decision.model_action;
        answered_at_ = position;
    }

    /// The target in force [rad].
    [[nodiscard]] const JointArray& last() const noexcept { return last_; }

private:
    enum Kind : std::size_t { kPosition, kSlew, kTorque };
    static constexpr std::array<CauseKind, 3> kCauses{CauseKind::PositionLimit, CauseKind::SlewLimit,
                                                      CauseKind::TorqueLimit};

    /// Bit for bit.
    [[nodiscard]] bool same(const JointArray& one, const JointArray& other) const noexcept {
        return std::memcmp(one.data(), other.data(), joints_ * sizeof(float)) == 0;
    }

    [[nodiscard]] bool modelFault(const JointArray& answer, const JointArray& position, Cause& cause) const noexcept {
        for (std::size_t i = 0; i < joints_; ++i) {
            if (std::isfinite(answer[i])) continue;
            cause = {CauseKind::ActionNotFinite, static_cast<std::uint8_t>(i), answer[i],
                     std::numeric_limits<float>::quiet_NaN()};
            return true;
        }
        if (!has_answer_ || !same(answer, answer_)) return false;
        // The same answer as when the joints were somewhere else: the model is stuck.
        std::size_t joint = 0;
        float most = 0.0F;
        for (std::size_t i = 0; i < joints_; ++i) {
            const float motion = std::abs(position[i] - answered_at_[i]);
            if (motion > most) {
                most = motion;
                joint = i;
            }
        }
        if (!(most > limits_.max_motion)) return false;
        cause = {CauseKind::ActionRepeated, static_cast<std::uint8_t>(joint), most, limits_.max_motion};
        return true;
    }

    void hold(Kind kind, const JointArray& low, const JointArray& high, const JointArray& position,
              const JointArray& velocity, Decision& decision) const noexcept {
        float most = 0.0F;
        for (std::size_t i = 0; i < joints_; ++i) {
            const float target = decision.target[i];
            const float held = std::min(std::max(target, low[i]), high[i]);
            const float excess = std::abs(held - target);
            if (!(excess > 0.0F)) continue;
            ++decision.clamped[kind];
            // Of several the furthest is named, and the first limit that asks for damping.
            const bool first = decision.isAccepted() || decision.cause.kind == kCauses[kind];
            if (limits_.damps[kind] && first && excess > most) {
                most = excess;
                decision.cause = causeOf(kind, i, target, held, position[i], velocity[i]);
            }
            decision.action[i] = map_.actionFor(i, held);
            decision.target[i] = held;
        }
    }

    [[nodiscard]] Cause causeOf(Kind kind, std::size_t joint, float target, float held, float position,
                                float velocity) const noexcept {
        float number = target;
        float bound = held;
        if (kind == kSlew) {
            number = std::max(target - last_[joint], last_[joint] - target);
            bound = limits_.slew[joint];
        } else if (kind == kTorque) {
            bound = limits_.torque[joint];
            const float centre = position + limits_.velocity_share[joint] * velocity;
            number = std::abs(target - centre) * bound / limits_.reach[joint];
        }
        return {kCauses[kind], static_cast<std::uint8_t>(joint), number, bound};
    }

    const TargetLimits limits_;
    const ActionMap map_;
    const std::size_t joints_;
    JointArray start_{};
    JointArray last_{};
    bool has_answer_ = false;
    JointArray answer_{};       ///< The model's newest one whose command went out,
    JointArray answered_at_{};  ///< and where the joints were when it was new.
};

}  // namespace gaitd::policy
