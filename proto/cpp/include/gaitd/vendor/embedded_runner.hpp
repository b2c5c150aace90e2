// Runs a policy in the process of Deep Robotics' controllers, behind their policy interface (PolicyRunnerBase): as
// gaitd/vendor/policy_runner.hpp, without gaitd. docs/embedded.md says what is lost.
//
//   Lite3_rl_deploy:
//   using PolicyRunner =
//       gaitd::vendor::EmbeddedPolicyRunner<PolicyRunnerBase, types::RobotBasicState, types::RobotAction>;
//
// It takes an EmbeddedConfig where the other one takes a Config, and throws where the policy cannot be loaded or is not
// the one that was recorded.
#pragma once

#include <gaitd/embedded/client.hpp>
#include <gaitd/vendor/policy_runner.hpp>

namespace gaitd::vendor {

/// Where the stick is part of the robot's state: GetRobotAction(state).
template <class Base, class State, class Action>
using EmbeddedPolicyRunner = PolicyRunner<Base, State, Action, EmbeddedClient>;

/// Where the user's command comes beside the state.
template <class Base, class State, class UserCommand, class Action>
using EmbeddedCommandPolicyRunner = CommandPolicyRunner<Base, State, UserCommand, Action, EmbeddedClient>;

}  // namespace gaitd::vendor
