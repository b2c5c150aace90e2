// Puts gaitd behind the policy interface of Deep Robotics' Lite3 controller (PolicyRunnerBase), whose state machine
// stays as it is. This header brings no vendor header of its own: name the vendor's types as template arguments,
//
//   using GaitdPolicyRunner = gaitd::vendor::PolicyRunner<PolicyRunnerBase, types::RobotBasicState, types::RobotAction>;
//
// Returning a RobotAction allocates, as the vendor's own signature has it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>

#include <gaitd/client.hpp>
#include <gaitd/orientation.hpp>
#include <gaitd/pacer.hpp>

namespace gaitd::vendor {

/// GetRobotAction() is to be called every millisecond by one thread at a time: it publishes a state once a control
/// period, and sees a command or damping within a millisecond. It never waits.
template <class Base, class State, class Action>
class PolicyRunner : public Base {
public:
    /// Exchanges hello, so that nothing is left to agree on when the robot enters RL. Throws RefusedError,
    /// UnreachableError or ConfigError: without gaitd there is no policy to enter.
    PolicyRunner(const std::string& name, Config config, std::chrono::milliseconds hello_timeout)
        : Base(name), client_(std::move(config)), pacer_(client_.hello(hello_timeout).period_ns) {
        this->decimation_ = 1;
        this->run_cnt_ = 0;
    }

    void DisplayPolicyInfo() override {
        const Contract& contract = client_.contract();
        const Policy& policy = contract.firstPolicy();
        std::cout << "gaitd " << contract.gaitd_version << ", policy " << policy.name << ' ' << policy.version << " ("
                  << policy.id << "), period "
                  << static_cast<double>(contract.period_ns) * 1e-6 << " ms\n";
        for (const std::string& warning : client_.warnings()) std::cout << "warning: " << warning << '\n';
    }

    /// Only posts: the vendor calls it while another thread may already be in GetRobotAction().
    void OnEnter() override {
        this->run_cnt_ = 0;
        client_.requestActivate();
        entered_.fetch_add(1);
    }

    /// The rhythm is gaitd's: every call counts, whatever the state machine thinks.
    void SetDecimation(int) override { this->decimation_ = 1; }

    /// The policy's command; while its session is being started, the policy's default pose at its own gains; in
    /// damping what the client says: the robot's damping, after a stance where gaitd is set to one.
    Action GetRobotAction(const State& robot) override {
        const std::uint64_t entered = entered_.load();
        const Activation activation = client_.activation();
        publish(robot);
        const JointCommand& command = client_.command(monotonicNow_ns());
        ++this->run_cnt_;
        const bool starting = activation == Activation::Pending ||
                              (activation == Activation::Granted && command.mode == Mode::Idle);
        if (!starting || cancelled_.load() == entered) started_ = entered;
        return started_ == entered ? follow(command) : hold();
    }

    /// From any thread: damping now, until the next OnEnter().
    void RequestDamping(std::string_view detail) {
        cancelled_.store(entered_.load());
        client_.requestDamping(detail);
    }

    [[nodiscard]] Client& client() noexcept { return client_; }

private:
    using Values = decltype(Action::goal_joint_pos);

    void publish(const State& robot) {
        const std::uint64_t now_ns = monotonicNow_ns();
        // A state of another size is not sent; without states gaitd damps.
        if (!fits(robot.joint_pos) || !fits(robot.joint_vel) || !fits(robot.joint_tau) || !pacer_.due(now_ns)) return;
        state_.stamp_ns = now_ns;
        state_.orientation = quaternionFromRpy(robot.base_rpy(0), robot.base_rpy(1), robot.base_rpy(2));
        const Contract& contract = client_.contract();
        for (int i = 0; i < 3; ++i) {
            const auto at = static_cast<std::size_t>(i);
            state_.angular_velocity[at] = robot.base_omega(i);
            state_.linear_acceleration[at] = robot.base_acc(i);
            state_.velocity_command[at] = velocityCommand(contract, at, robot.cmd_vel_normlized(i));
        }
        for (std::size_t i = 0; i < client_.joints(); ++i) {
            const auto at = static_cast<int>(i);
            state_.joint_position[i] = robot.joint_pos(at);
            state_.joint_velocity[i] = robot.joint_vel(at);
            state_.joint_torque[i] = robot.joint_tau(at);
        }
        client_.publish(state_);
    }

    /// The vendor's stick is -1..1; a policy in SI units gets its whole range from it.
    static float velocityCommand(const Contract& contract, std::size_t axis, float stick) {
        if (contract.velocity_command_unit == "normalized") return stick;
        return stick >= 0.0F ? stick * contract.velocity_command_max[axis]
                             : -stick * contract.velocity_command_min[axis];
    }

    [[nodiscard]] bool fits(const Values& values) const {
        return static_cast<std::size_t>(values.size()) == client_.joints();
    }

    [[nodiscard]] Action follow(const JointCommand& command) const {
        Action action;
        action.goal_joint_pos = values(command.joint_position);
        action.goal_joint_vel = values(command.joint_velocity);
        action.kp = values(command.stiffness);
        action.kd = values(command.damping);
        action.tau_ff = values(command.torque);
        return action;
    }

    [[nodiscard]] Action hold() const {
        const Contract& contract = client_.contract();
        Action action;
        action.goal_joint_pos = values(contract.default_joint_position);
        action.goal_joint_vel = values(JointArray{});
        action.kp = values(contract.stiffness);
        action.kd = values(contract.damping);
        action.tau_ff = values(JointArray{});
        return action;
    }

    [[nodiscard]] Values values(const JointArray& array) const {
        const auto joints = static_cast<int>(client_.joints());
        Values result(joints);
        for (int i = 0; i < joints; ++i) result(i) = array[static_cast<std::size_t>(i)];
        return result;
    }

    Client client_;
    Pacer pacer_;
    RobotState state_;
    // Entries are numbered, so that the end of one can never be taken for the end of the next.
    std::atomic<std::uint64_t> entered_{0};
    std::atomic<std::uint64_t> cancelled_{0};
    std::uint64_t started_ = 0;  ///< Entries up to this one need no holding any more.
};

}  // namespace gaitd::vendor
