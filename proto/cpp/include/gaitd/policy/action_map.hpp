// The model's raw action to joint position targets and back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include <gaitd/policy/compiled.hpp>

namespace gaitd::policy {

/// target = target_range(action_range(action) * scale + offset), joint by joint, in the policy's order. Arrays are of
/// all joints; of those that are held, an action has 0, and their target is their default position.
class ActionMap {
public:
    explicit ActionMap(Action action) : action_(std::move(action)) {
        has_low_pass_ = std::any_of(action_.share.begin(), action_.share.end(), [](float share) { return share != 1.0F; });
    }

    [[nodiscard]] std::size_t joints() const noexcept { return action_.scale.size(); }

    /// The model's action joint by joint.
    void spread(const float* model_action, JointArray& answer) const noexcept {
        std::fill_n(answer.begin(), joints(), 0.0F);
        for (std::size_t i = 0; i < action_.moved.size(); ++i) answer[action_.moved[i]] = model_action[i];
    }

    /// The raw action inside the policy's own clip.
    void clip(const JointArray& answer, JointArray& action) const noexcept {
        for (std::size_t i = 0; i < joints(); ++i) {
            action[i] = std::min(std::max(answer[i], action_.action_low[i]), action_.action_high[i]);
        }
    }

    /// What the joints follow [rad], before the guard's limits; `last` is the target in force.
    void target(const JointArray& action, const JointArray& last, JointArray& target) const noexcept {
        for (std::size_t i = 0; i < joints(); ++i) {
            const float wanted = action[i] * action_.scale[i] + action_.offset[i];
            target[i] = std::min(std::max(wanted, action_.target_low[i]), action_.target_high[i]);
            if (has_low_pass_) target[i] = last[i] + action_.share[i] * (target[i] - last[i]);
        }
    }

    /// The raw action that asks for this target of a joint; 0 for a joint that no action moves.
    [[nodiscard]] float actionFor(std::size_t joint, float target) const noexcept {
        const float scale = action_.scale[joint];
        return scale == 0.0F ? 0.0F : (target - action_.offset[joint]) * (1.0F / scale);
    }

private:
    const Action action_;
    bool has_low_pass_ = false;
};

}  // namespace gaitd::policy
