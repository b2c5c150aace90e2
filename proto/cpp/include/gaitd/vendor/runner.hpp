// What the vendor's interfaces have in common, whatever their methods are called: gaitd behind a policy runner.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <gaitd/client.hpp>
#include <gaitd/orientation.hpp>
#include <gaitd/pacer.hpp>
#include <gaitd/robot_clock.hpp>
#include <gaitd/vendor/reporter.hpp>

namespace gaitd::vendor {

/// What the adapter needs of the vendor's controller beyond its policy interface. Each may be left out, at a price.
template <class Action>
struct Hooks {
    /// Sends a command to the motors. Without it nothing damps while the robot's states do not come, since the vendor's
    /// loop asks for a command only when one has come. Called on a thread of its own.
    std::function<void(Action)> send;
    /// The robot's own time in seconds, of the state last read. Without it a state's age counts from its reading, and a
    /// backlog of states is not seen. Called by GetRobotAction().
    std::function<double()> robot_time_s;
};

/// `Driver`: what gives the commands, a Client or one with its calls.
template <class State, class Action, class Driver = Client>
class Runner {
public:
    using Configuration = typename Driver::Configuration;

    /// Waits for hello at most so long; without one, the runner goes on trying in the background. Throws ConfigError.
    Runner(Configuration config, std::chrono::milliseconds hello_timeout, Hooks<Action> hooks)
        : hooks_(std::move(hooks)), client_(renewing(std::move(config))) {
        if (hooks_.send) {
            client_.watch([this](const JointCommand& command) {
                const std::uint64_t entered = entered_.load();
                hooks_.send(actionOf(command));
                if (cancelled_.exchange(entered) != entered) reporter_.noteStandstill(client_.session(), entered);
            });
        } else {
            writeLine(STDERR_FILENO, "gaitd: warning: no hook to send damping: nothing damps while the robot's states do not come");
        }
        try {
            client_.hello(hello_timeout);
        } catch (const RefusedError&) {  // Both are in client_.obstacle(), which is printed as long as it stands.
        } catch (const UnreachableError&) {
        }
        reporter_.start(client_);
    }

    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;
    ~Runner() { reporter_.stop(); }

    void display() {
        const std::optional<Contract> contract = client_.newestContract();
        if (!contract) {
            std::cout << "gaitd: no policy yet: " << client_.obstacle() << '\n';
            return;
        }
        const Policy& policy = contract->firstPolicy();
        std::cout << "gaitd " << contract->gaitd_version << ", policy " << policy.name << ' ' << policy.version << " ("
                  << policy.id << "), period " << static_cast<double>(contract->period_ns) * 1e-6 << " ms\n";
        for (const std::string& warning : client_.warnings()) std::cout << "warning: " << warning << '\n';
    }

    /// Only posts: the vendor calls it while another thread may already be in act().
    void enter() {
        const std::uint64_t entry = entered_.load() + 1;
        const std::string obstacle = client_.obstacle();
        reporter_.noteRefusal(obstacle, true);
        if (obstacle.empty()) {
            client_.requestActivate();
        } else {
            cancelled_.store(entry);
        }
        entered_.store(entry);
    }

    void leave() { client_.requestRelease(); }

    /// False, with a line that says why, while entering RL would only lay the robot down.
    bool mayEnter() {
        const std::string obstacle = client_.obstacle();
        reporter_.noteRefusal(obstacle, false);
        return obstacle.empty();
    }

    /// The policy's command; while its session is being started, the policy's default pose at its own gains; in
    /// damping what the client says: the robot's damping, after a stance where gaitd is set to one. `stick`: forward,
    /// left, turn left, -1..1.
    Action act(const State& robot, const Vector3& stick) {
        const std::uint64_t entered = entered_.load();
        const Activation activation = client_.activation();
        publish(robot, stick);
        const JointCommand& command = client_.command(monotonicNow_ns());
        const bool starting = activation == Activation::Pending ||
                              (activation == Activation::Granted && command.mode == Mode::Idle);
        if (!starting || cancelled_.load() == entered) started_ = entered;
        const bool holds = started_ != entered && client_.contract().period_ns != 0;
        const bool limp = !holds && letsGo(command) && command.mode != Mode::Active;
        limp_entry_.store(limp ? entered : 0);
        reporter_.note(command, holds, entered, clock_.behind_ns());
        return holds ? hold() : actionOf(command);
    }

    void requestDamping(std::string_view detail) {
        cancelled_.store(entered_.load());
        client_.requestDamping(detail);
    }

    /// Of the newest entry.
    [[nodiscard]] bool isDamped() const noexcept {
        const std::uint64_t entered = entered_.load();
        return entered != 0 && (limp_entry_.load() == entered || cancelled_.load() == entered);
    }

    [[nodiscard]] Reason reason() { return reporter_.reason(); }
    [[nodiscard]] std::string text() { return reporter_.text(); }
    [[nodiscard]] std::uint64_t lateStates() const noexcept { return late_states_.load(); }
    [[nodiscard]] Driver& client() noexcept { return client_; }

private:
    using Values = decltype(Action::goal_joint_pos);

    static Configuration renewing(Configuration config) {
        if constexpr (std::is_same_v<Driver, Client>) {
            if (config.renew.count() == 0) config.renew = std::chrono::seconds(1);
        }
        return config;
    }

    void publish(const State& robot, const Vector3& stick) {
        const std::uint64_t now_ns = monotonicNow_ns();
        const std::uint64_t stamp_ns = hooks_.robot_time_s ? clock_.stamp(hooks_.robot_time_s(), now_ns) : now_ns;
        const Contract& contract = client_.contract();
        if (contract.period_ns == 0) return;
        if (contract.period_ns != period_ns_) {
            period_ns_ = contract.period_ns;
            pacer_ = Pacer(period_ns_);
        }
        // A state of another size is not sent; without states gaitd damps.
        if (!fits(robot.joint_pos) || !fits(robot.joint_vel) || !fits(robot.joint_tau) || !pacer_.due(stamp_ns)) return;
        if (clock_.behind_ns() > period_ns_) late_states_.fetch_add(1);
        state_.stamp_ns = stamp_ns;
        state_.orientation = quaternionFromRpy(robot.base_rpy(0), robot.base_rpy(1), robot.base_rpy(2));
        for (int i = 0; i < 3; ++i) {
            const auto at = static_cast<std::size_t>(i);
            state_.angular_velocity[at] = robot.base_omega(i);
            state_.linear_acceleration[at] = robot.base_acc(i);
            state_.velocity_command[at] = velocityCommand(contract, at, stick[at]);
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

    /// No joint is held but wheels, which have brakes.
    [[nodiscard]] bool letsGo(const JointCommand& command) const {
        const JointArray& brakes = client_.contract().brake_stiffness;
        for (std::size_t i = 0; i < client_.joints(); ++i) {
            if (brakes[i] == 0.0F && command.stiffness[i] != 0.0F) return false;
        }
        return true;
    }

    [[nodiscard]] Action actionOf(const JointCommand& command) const {
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
        JointCommand command;
        command.joint_position = contract.default_joint_position;
        command.stiffness = contract.stiffness;
        command.damping = contract.damping;
        return actionOf(command);
    }

    [[nodiscard]] Values values(const JointArray& array) const {
        const auto joints = static_cast<int>(client_.joints());
        Values result(joints);
        for (int i = 0; i < joints; ++i) result(i) = array[static_cast<std::size_t>(i)];
        return result;
    }

    const Hooks<Action> hooks_;
    RobotClock clock_;
    Pacer pacer_{0};
    std::uint64_t period_ns_ = 0;
    RobotState state_;
    // Entries are numbered, so that the end of one can never be taken for the end of the next.
    std::atomic<std::uint64_t> entered_{0};
    std::atomic<std::uint64_t> cancelled_{0};
    std::atomic<std::uint64_t> limp_entry_{0};
    std::atomic<std::uint64_t> late_states_{0};
    std::uint64_t started_ = 0;  ///< Entries up to this one need no holding any more.
    Reporter<Driver> reporter_;  // Before the client, whose watchdog uses it.
    Driver client_;
};

}  // namespace gaitd::vendor
