// The adapter behind the vendor's interface, against a fake gaitd.
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>

#include <unistd.h>

#include "policy_runner_base.hpp"
#include <gaitd/vendor/policy_runner.hpp>

#include "check.hpp"
#include "fake_gaitd.hpp"

using std::chrono::milliseconds;
using Runner = gaitd::vendor::PolicyRunner<PolicyRunnerBase, types::RobotBasicState, types::RobotAction>;

namespace {

gaitd::Config config(const SocketDir& dir) {
    gaitd::Config config;
    config.endpoint_dir = dir.path();
    config.joints = lite3Joints();
    return config;
}

types::RobotBasicState standing() {
    types::RobotBasicState robot;
    robot.base_rpy(2) = 1.0F;
    robot.cmd_vel_normlized(0) = 0.5F;
    robot.joint_pos = types::VecXf(12);
    robot.joint_vel = types::VecXf(12);
    robot.joint_tau = types::VecXf(12);
    robot.joint_pos(11) = 1.3F;
    return robot;
}

bool damps(const types::RobotAction& action) { return action.kp(0) == 0.0F && action.kd(0) == 3.0F; }
bool holds(const types::RobotAction& action) { return action.kp(0) == 30.0F && action.goal_joint_pos(0) == 0.7F; }
bool walks(const types::RobotAction& action) { return action.kp(0) == 30.0F && action.goal_joint_pos(0) == 0.1F; }

/// What the watchdog sent, and when first.
struct Motors {
    std::atomic<std::uint64_t> sent{0};
    std::atomic<std::uint64_t> stiff{0};
    std::atomic<std::uint64_t> first_ns{0};

    Runner::Hooks hooks() {
        Runner::Hooks hooks;
        hooks.send = [this](const types::RobotAction& action) {
            if (sent == 0) first_ns = gaitd::monotonicNow_ns();
            if (!damps(action)) ++stiff;
            ++sent;
        };
        return hooks;
    }
};

struct Scene {
    explicit Scene(Runner::Hooks hooks = {}, std::uint64_t deadline_ns = 3'000'000'000)
        : gaitd(dir.path()),
          runner("gaitd", config(dir), (gaitd.deadline_ns = deadline_ns, milliseconds(5000)), std::move(hooks)) {}

    SocketDir dir;
    FakeGaitd gaitd;
    Runner runner;
    types::RobotBasicState robot = standing();

    /// Calls GetRobotAction() as the state machine does, until it does what is asked for.
    bool until(bool (*condition)(const types::RobotAction&)) {
        return check::eventually([&] { return condition(runner.GetRobotAction(robot)); });
    }

    /// Until the robot walks; false when it does not, or was damped on the way.
    bool walksWithoutDamping() {
        bool damped = false;
        const bool walked = check::eventually([&] {
            const types::RobotAction action = runner.GetRobotAction(robot);
            damped = damped || damps(action);
            return walks(action);
        });
        return walked && !damped;
    }
};

}  // namespace

CASE(hello_happens_at_construction) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd::Config once = config(dir);
    once.renew = milliseconds(0);
    Runner runner("gaitd", once, milliseconds(5000));
    CHECK(gaitd.hellos >= 1U);  // with more, the client tells how it is
    CHECK_EQUAL(gaitd.activates, 0U);
    CHECK_EQUAL(runner.policy_name_, "gaitd");
    CHECK_EQUAL(runner.decimation_, 1);
    runner.SetDecimation(12);
    CHECK_EQUAL(runner.decimation_, 1);
    runner.DisplayPolicyInfo();
}

CASE(a_gaitd_that_comes_later_is_taken_up) {
    SocketDir dir;
    gaitd::Config quick = config(dir);
    quick.renew = milliseconds(20);
    quick.request_timeout = milliseconds(100);
    Runner runner("gaitd", quick, milliseconds(50));
    runner.DisplayPolicyInfo();
    const types::RobotBasicState robot = standing();
    CHECK(check::eventually([&] { return !runner.MayEnter(); }));
    runner.OnEnter();
    CHECK(runner.Damped());
    CHECK(runner.DampingText().find("not answer") != std::string::npos);
    CHECK_EQUAL(runner.GetRobotAction(robot).kp(0), 0.0F);

    FakeGaitd gaitd(dir.path());
    CHECK(check::eventually([&] { return runner.MayEnter(); }));
    CHECK(runner.Damped());
    runner.OnEnter();
    CHECK(!runner.Damped());
    bool held = true;
    CHECK(check::eventually([&] {
        const types::RobotAction action = runner.GetRobotAction(robot);
        held = held && (holds(action) || walks(action));
        return walks(action);
    }));
    CHECK(held);
    CHECK_EQUAL(runner.DampingText(), "");
}

CASE(after_a_change_of_policy_entering_does_not_drop_the_robot) {
    Scene scene;
    for (const char policy : {'b', 'c', 'd'}) {
        scene.gaitd.policy = policy;
        scene.runner.OnEnter();
        CHECK(scene.walksWithoutDamping());
        CHECK_EQUAL(scene.runner.client().contract().firstPolicy().id, std::string(16, policy));
        scene.runner.OnExit();
        CHECK(scene.until(damps));
    }
}

CASE(a_policy_that_does_not_fit_refuses_entering_and_says_why) {
    Scene scene;
    scene.gaitd.misses = "joint_targets";
    scene.runner.OnEnter();
    CHECK(scene.until(damps));
    CHECK(check::eventually([&] { return scene.runner.Damped(); }));
    CHECK(scene.runner.DampingText().find("gaitd's reply has no `joint_targets`") != std::string::npos);
    CHECK(!scene.runner.MayEnter());
}

CASE(lost_states_damp_in_time_though_nobody_asks) {
    Motors motors;
    Scene scene(motors.hooks(), FakeGaitd::kDeadline_ns);
    scene.runner.OnEnter();
    CHECK(scene.until(walks));
    const std::uint64_t last_state_ns = scene.gaitd.lastState().state.stamp_ns;
    CHECK(!scene.runner.Damped());
    CHECK(check::eventually([&] { return motors.sent > 0; }));
    const std::uint64_t after_ns = motors.first_ns - last_state_ns;
    std::printf("  damping was sent %.1f ms after the last state\n", static_cast<double>(after_ns) * 1e-6);
    CHECK(after_ns >= FakeGaitd::kDeadline_ns - FakeGaitd::kPeriod_ns);
    CHECK(after_ns < 2 * FakeGaitd::kDeadline_ns);
    CHECK(scene.runner.Damped());
    CHECK_EQUAL(scene.runner.DampingReason(), gaitd::Reason::ClientDeadline);
    CHECK(check::eventually([&] { return !scene.gaitd.damps().empty(); }));
    CHECK(check::eventually([&] { return motors.sent == gaitd::Watchdog::kRepeats; }));
    CHECK_EQUAL(motors.stiff, 0U);
    // The states are back: still damping, with gaitd's reason once it comes; and a new entry walks again.
    CHECK(damps(scene.runner.GetRobotAction(scene.robot)));
    CHECK(check::eventually([&] {
        scene.gaitd.sendAsGuardian(FakeGaitd::damping(scene.runner.client().session(), gaitd::Reason::StateLost));
        CHECK(damps(scene.runner.GetRobotAction(scene.robot)));
        return scene.runner.DampingText().find("gaitd says: state_lost") != std::string::npos;
    }));
    CHECK_EQUAL(scene.runner.DampingReason(), gaitd::Reason::ClientDeadline);
    scene.runner.OnEnter();
    CHECK(!scene.runner.Damped());
    CHECK(scene.until(walks));
}

CASE(lost_states_damp_before_the_policy_began_too) {
    Motors motors;
    Scene scene(motors.hooks(), FakeGaitd::kDeadline_ns);
    scene.gaitd.answers_states = false;
    scene.runner.OnEnter();
    CHECK(scene.until(holds));
    CHECK(check::eventually([&] { return motors.sent > 0; }));
    CHECK(scene.runner.Damped());
    CHECK(scene.until(damps));
    scene.gaitd.answers_states = true;
    for (int i = 0; i < 50; ++i) {
        CHECK(damps(scene.runner.GetRobotAction(scene.robot)));
        std::this_thread::sleep_for(milliseconds(1));
    }
}

CASE(a_loop_that_comes_is_left_alone_and_so_is_one_that_has_left_rl) {
    Motors motors;
    Scene scene(motors.hooks(), 500'000'000);
    scene.runner.OnEnter();
    CHECK(scene.until(walks));
    for (int i = 0; i < 700; ++i) {
        scene.runner.GetRobotAction(scene.robot);
        std::this_thread::sleep_for(milliseconds(1));
    }
    const std::uint64_t session = scene.runner.client().session();
    scene.runner.OnExit();
    CHECK(check::eventually([&] { return scene.gaitd.released_session == session; }));
    std::this_thread::sleep_for(milliseconds(700));
    CHECK_EQUAL(motors.sent, 0U);
}

CASE(the_robots_own_time_shows_a_backlog_that_grows) {
    // As with one packet read a tick, and the robot sending more than that.
    double rate = 1.0;
    double robot_s = 5000.0;
    std::uint64_t last_ns = gaitd::monotonicNow_ns();
    Runner::Hooks hooks;
    hooks.robot_time_s = [&] {
        const std::uint64_t now_ns = gaitd::monotonicNow_ns();
        robot_s += static_cast<double>(now_ns - last_ns) * 1e-9 * rate;
        last_ns = now_ns;
        return robot_s;
    };
    Scene scene(std::move(hooks), 300'000'000);
    scene.runner.OnEnter();
    CHECK(scene.until(walks));
    for (int i = 0; i < 100; ++i) {
        CHECK(walks(scene.runner.GetRobotAction(scene.robot)));
        std::this_thread::sleep_for(milliseconds(1));
    }
    CHECK_EQUAL(scene.runner.LateStates(), 0U);
    rate = 0.5;
    CHECK(check::eventually([&] {
        scene.runner.GetRobotAction(scene.robot);
        return gaitd::monotonicNow_ns() - scene.gaitd.lastState().state.stamp_ns > 100'000'000;
    }));
    CHECK(scene.runner.LateStates() > 3);
    // Beyond the deadline it is the end, however fast the states come.
    CHECK(scene.until(damps));
    CHECK_EQUAL(scene.runner.client().command(gaitd::monotonicNow_ns()).reason, gaitd::Reason::ClientDeadline);
}

CASE(each_change_is_one_line) {
    SocketDir dir;
    const std::string path = dir.path() + "/stderr";
    const int before = dup(STDERR_FILENO);
    CHECK(std::freopen(path.c_str(), "w", stderr) != nullptr);
    {
        Scene scene;
        scene.runner.OnEnter();
        CHECK(scene.until(walks));
        std::this_thread::sleep_for(milliseconds(100));
        scene.gaitd.sendAsGuardian(FakeGaitd::damping(100, gaitd::Reason::WorkerDied));
        CHECK(scene.until(damps));
        CHECK_EQUAL(scene.runner.DampingReason(), gaitd::Reason::WorkerDied);
        for (int i = 0; i < 100; ++i) {
            scene.runner.GetRobotAction(scene.robot);
            std::this_thread::sleep_for(milliseconds(1));
        }
    }
    std::fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    std::ifstream file(path);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto count = [&](const std::string& what) {
        std::size_t found = 0;
        for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
        return found;
    };
    CHECK_EQUAL(count("no hook to send damping"), 1U);
    CHECK_EQUAL(count("gaitd: policy fake 1 (aaaaaaaaaaaaaaaa)"), 1U);
    CHECK_EQUAL(count("gaitd: session 100: the policy moves the robot"), 1U);
    CHECK_EQUAL(count("gaitd: session 100: damping: worker_died: "), 1U);
    if (count("gaitd: ") < 4) std::printf("%s", text.c_str());
}

CASE(the_interfaces_with_two_arguments) {
    using namespace two_arguments;
    using Wheeled = gaitd::vendor::CommandPolicyRunner<WheeledBase, State, UserCommand, types::RobotAction>;
    using Humanoid = gaitd::vendor::CommandPolicyRunner<HumanoidBase, State, UserCommand, types::RobotAction>;
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    State robot;
    robot.joint_pos = types::VecXf(12);
    robot.joint_vel = types::VecXf(12);
    robot.joint_tau = types::VecXf(12);
    UserCommand user{};
    user.side_vel_scale = -0.5F;
    {
        Wheeled runner("gaitd", config(dir), milliseconds(5000));
        WheeledBase& base = runner;
        base.DisplayPolicyInfo();
        base.OnEnter(robot);
        CHECK(check::eventually([&] { return walks(base.getRobotAction(robot, user)); }));
        CHECK_EQUAL(gaitd.lastState().state.velocity_command[1], -0.5F);
    }
    {
        Humanoid runner("gaitd", config(dir), milliseconds(5000), {}, RobotName::Pro);
        HumanoidBase& base = runner;
        base.OnEnter();
        CHECK(check::eventually([&] { return walks(base.GetRobotAction(robot, user)); }));
        const std::uint64_t session = runner.client().session();
        base.OnExit();
        CHECK(check::eventually([&] { return gaitd.released_session == session; }));
    }
}

CASE(a_braked_wheel_in_front_does_not_hide_damping) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.brake_stiffness = 20.0F;
    Runner runner("gaitd", config(dir), milliseconds(5000));
    const types::RobotBasicState robot = standing();
    runner.OnEnter();
    CHECK(check::eventually([&] { return walks(runner.GetRobotAction(robot)); }));
    CHECK(!runner.Damped());
    gaitd.sendAsGuardian(FakeGaitd::damping(runner.client().session(), gaitd::Reason::WorkerDied));
    types::RobotAction action = runner.GetRobotAction(robot);
    CHECK(check::eventually([&] {
        action = runner.GetRobotAction(robot);
        return action.kp(0) == 20.0F;
    }));
    CHECK_EQUAL(action.kp(1), 0.0F);
    CHECK(runner.Damped());
}

CASE(before_entering_it_damps) {
    Scene scene;
    const types::RobotAction action = scene.runner.GetRobotAction(scene.robot);
    CHECK(damps(action));
    CHECK_EQUAL(action.kp.size(), 12);
    CHECK_EQUAL(action.tau_ff(11), 0.0F);
}

CASE(entering_holds_until_the_policy_takes_over) {
    Scene scene;
    scene.gaitd.answers_states = false;
    scene.runner.OnEnter();
    for (int i = 0; i < 50; ++i) {
        CHECK(holds(scene.runner.GetRobotAction(scene.robot)));
        std::this_thread::sleep_for(milliseconds(1));
    }
    scene.gaitd.answers_states = true;
    bool held = true;
    CHECK(check::eventually([&] {
        const types::RobotAction action = scene.runner.GetRobotAction(scene.robot);
        held = held && (holds(action) || walks(action));
        return walks(action);
    }));
    CHECK(held);
}

CASE(the_state_is_translated) {
    Scene scene;
    scene.runner.OnEnter();
    CHECK(scene.until(walks));
    const gaitd::StateMessage message = scene.gaitd.lastState();
    CHECK(std::abs(message.state.orientation[0] - std::cos(0.5F)) < 1e-6F);
    CHECK(std::abs(message.state.orientation[3] - std::sin(0.5F)) < 1e-6F);
    CHECK_EQUAL(message.state.joint_position[11], 1.3F);
    CHECK_EQUAL(message.state.velocity_command[0], 0.5F);  // The fake's range is -1..1.
}

CASE(damping_has_no_stiffness_and_stays_until_the_next_entering) {
    Scene scene;
    scene.runner.OnEnter();
    CHECK(scene.until(walks));
    scene.gaitd.sendAsGuardian(FakeGaitd::damping(100, gaitd::Reason::WorkerDied));
    CHECK(scene.until(damps));
    for (int i = 0; i < 50; ++i) {
        CHECK(damps(scene.runner.GetRobotAction(scene.robot)));
        std::this_thread::sleep_for(milliseconds(1));
    }
    scene.runner.OnEnter();
    CHECK(scene.walksWithoutDamping());
}

CASE(the_stance_before_damping_is_passed_on) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.stance_ns = gaitd::kMaxStance_ns;
    Runner runner("gaitd", config(dir), milliseconds(5000));
    const types::RobotBasicState robot = standing();
    const auto until = [&](bool (*condition)(const types::RobotAction&)) {
        return check::eventually([&] { return condition(runner.GetRobotAction(robot)); });
    };
    runner.OnEnter();
    CHECK(until(walks));
    gaitd.sendAsGuardian(FakeGaitd::damping(100, gaitd::Reason::WorkerDied));
    CHECK(until(holds));
    CHECK_EQUAL(runner.GetRobotAction(robot).kd(0), 1.0F);
    CHECK(until(damps));
}

CASE(an_entering_that_gaitd_refuses_damps) {
    Scene scene;
    scene.gaitd.ready = false;
    scene.runner.OnEnter();
    CHECK(scene.until(damps));
    CHECK_EQUAL(scene.runner.client().activation(), gaitd::Activation::Refused);
    CHECK(scene.runner.Damped());
    CHECK(scene.runner.DampingText().find("self-test runs") != std::string::npos);
}

CASE(a_person_stops_even_the_holding) {
    Scene scene;
    scene.gaitd.answers_states = false;
    scene.runner.OnEnter();
    CHECK(holds(scene.runner.GetRobotAction(scene.robot)));
    scene.runner.RequestDamping("button");
    CHECK(damps(scene.runner.GetRobotAction(scene.robot)));
    for (int i = 0; i < 50; ++i) {
        CHECK(damps(scene.runner.GetRobotAction(scene.robot)));
        std::this_thread::sleep_for(milliseconds(1));
    }
}

CASE(a_state_of_the_wrong_size_is_not_published) {
    Scene scene;
    scene.robot.joint_vel = types::VecXf(11);
    scene.runner.OnEnter();
    CHECK(scene.until(damps));  // No state, no command, and the first-command limit is over.
    CHECK_EQUAL(scene.gaitd.states, 0U);
    CHECK_EQUAL(scene.gaitd.malformed, 0U);
}

int main() { return check::run(); }
