// Puts gaitd behind the policy interface of Deep Robotics' controllers (PolicyRunnerBase). This header brings no vendor
// header of its own: name the vendor's types as template arguments.
//
//   Lite3_rl_deploy:
//   using GaitdPolicyRunner = gaitd::vendor::PolicyRunner<PolicyRunnerBase, types::RobotBasicState, types::RobotAction>;
//
//   controllers whose runner also takes the user's command:
//   using GaitdPolicyRunner = gaitd::vendor::CommandPolicyRunner<PolicyRunnerBase, types::RobotBasicState,
//                                                                types::UserCommand, types::RobotAction>;
//
// Returning a RobotAction allocates, as the vendor's own signature has it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <gaitd/vendor/runner.hpp>

namespace gaitd::vendor {

/// What both runners have. The vendor's loop calls for an action at each of its ticks, from one thread at a time; the
/// runner publishes a state once a control period, and sees a command or damping at the next tick. It never waits.
template <class Base, class State, class Action, class Driver = Client>
class RunnerOf : public Base {
public:
    using Hooks = vendor::Hooks<Action>;
    using Configuration = typename Driver::Configuration;

    /// Waits for hello at most `hello_timeout`. Without gaitd, or with one that does not fit, it says why and goes on
    /// trying in the background, and takes up whatever policy gaitd has. Throws ConfigError. `more`: what the vendor's
    /// constructor takes after the name.
    template <class... More>
    RunnerOf(const std::string& name, Configuration config, std::chrono::milliseconds hello_timeout, Hooks hooks = {},
             More&&... more)
        : Base(name, std::forward<More>(more)...), runner_(std::move(config), hello_timeout, std::move(hooks)) {
        this->decimation_ = 1;
        this->run_cnt_ = 0;
    }

    void DisplayPolicyInfo() override { runner_.display(); }

    /// The rhythm is gaitd's: every call counts, whatever the state machine thinks.
    void SetDecimation(int) override { this->decimation_ = 1; }

    // ---- for the state machine, from any thread ----

    /// Whether RL may be entered; if not, prints why. For the state that decides about entering.
    [[nodiscard]] bool MayEnter() { return runner_.mayEnter(); }
    /// True when the joints got damping since RL was entered, and a stance before it is over: leave RL.
    [[nodiscard]] bool Damped() const noexcept { return runner_.isDamped(); }
    /// Why: the reason of the newest damping, and the same for people, with its cause.
    [[nodiscard]] Reason DampingReason() { return runner_.reason(); }
    [[nodiscard]] std::string DampingText() { return runner_.text(); }
    /// Damping now, until the next OnEnter().
    void RequestDamping(std::string_view detail) { runner_.requestDamping(detail); }

    /// States that came more than a control period behind the robot's own time.
    [[nodiscard]] std::uint64_t LateStates() const noexcept { return runner_.lateStates(); }
    [[nodiscard]] Driver& client() noexcept { return runner_.client(); }

protected:
    /// Only posts: the vendor calls it while another thread may already ask for an action.
    void enter() {
        this->run_cnt_ = 0;
        runner_.enter();
    }

    /// Releases the session, and ends the watch over the loop. After the loop's thread has ended.
    void leave() { runner_.leave(); }

    Action act(const State& robot, const Vector3& stick) {
        ++this->run_cnt_;
        return runner_.act(robot, stick);
    }

private:
    Runner<State, Action, Driver> runner_;
};

/// Where the stick is part of the robot's state: GetRobotAction(state).
template <class Base, class State, class Action, class Driver = Client>
class PolicyRunner : public RunnerOf<Base, State, Action, Driver> {
public:
    using RunnerOf<Base, State, Action, Driver>::RunnerOf;

    void OnEnter() override { this->enter(); }
    /// To be called when RL is left.
    void OnExit() { this->leave(); }

    Action GetRobotAction(const State& robot) override {
        const auto& stick = robot.cmd_vel_normlized;
        return this->act(robot, {stick(0), stick(1), stick(2)});
    }
};

/// Where the user's command comes beside the state. The vendor's repositories write the same methods differently; the
/// ones that Base has are overridden, the others are only there.
template <class Base, class State, class UserCommand, class Action, class Driver = Client>
class CommandPolicyRunner : public RunnerOf<Base, State, Action, Driver> {
public:
    using RunnerOf<Base, State, Action, Driver>::RunnerOf;

    void OnEnter() { this->enter(); }
    void OnEnter(const State&) { this->enter(); }
    void OnExit() { this->leave(); }

    Action GetRobotAction(const State& robot, const UserCommand& user) {
        return this->act(robot, {user.forward_vel_scale, user.side_vel_scale, user.turnning_vel_scale});
    }
    Action getRobotAction(const State& robot, const UserCommand& user) { return GetRobotAction(robot, user); }
};

}  // namespace gaitd::vendor
