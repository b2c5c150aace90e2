// Everything between an admitted state and a joint position target, apart from the model itself.
#pragma once

#include <algorithm>

#include <gaitd/policy/action_map.hpp>
#include <gaitd/policy/compiled.hpp>
#include <gaitd/policy/limits.hpp>
#include <gaitd/policy/normalizer.hpp>
#include <gaitd/policy/observation.hpp>

namespace gaitd::policy {

/// One policy's observation, normalization, action mapping and limits, all in the policy's joint order. It is
/// observe(), input(), the model, decide(), and commit() once the command went out.
class Pipeline {
public:
    explicit Pipeline(const Compiled& policy)
        : command_min_(policy.command_min),
          command_max_(policy.command_max),
          observation_(policy.terms, policy.joints.size()),
          normalizer_(policy.normalization),
          limits_(policy.limits, ActionMap(policy.action), policy.default_position),
          input_(policy.observationDim()) {}

    /// Start of a session: history, last action and the reference of the slew limit.
    void reset() noexcept {
        observation_.reset();
        limits_.reset();
        last_action_.fill(0.0F);
    }

    /// Takes one admitted state: one control step.
    void observe(const RobotState& state) noexcept {
        Vector3 command;
        for (std::size_t i = 0; i < 3; ++i) {
            command[i] = std::min(std::max(state.velocity_command[i], command_min_[i]), command_max_[i]);
        }
        observation_.observe(state, command, last_action_.data());
        joint_position_ = state.joint_position;
        joint_velocity_ = state.joint_velocity;
    }

    /// The observation before normalization; valid until the next call.
    const Floats& rawObservation() noexcept { return observation_.vector(); }

    /// The model's input; valid until the next call.
    const Floats& input() noexcept { return normalize(rawObservation().data()); }

    /// The same of any observation.
    const Floats& normalize(const float* observation) noexcept {
        normalizer_(observation, input_.data(), input_.size());
        return input_;
    }

    /// Judges the model's action for the newest state; valid until the next call.
    const Decision& decide(const float* model_action) noexcept {
        limits_.check(model_action, joint_position_, joint_velocity_, decision_);
        return decision_;
    }

    /// The newest decision's command went out.
    void commit() noexcept {
        last_action_ = decision_.action;
        limits_.commit(decision_, joint_position_);
    }

private:
    const Vector3 command_min_;
    const Vector3 command_max_;
    Observation observation_;
    const Normalizer normalizer_;
    Limits limits_;
    Floats input_;
    JointArray last_action_{};
    JointArray joint_position_{};
    JointArray joint_velocity_{};
    Decision decision_;
};

}  // namespace gaitd::policy
