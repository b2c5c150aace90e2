// The adapter behind the vendor's interface, against a fake gaitd.
#include <cmath>

#include "policy_runner_base.hpp"
#include "policy_runner.hpp"

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

struct Scene {
    SocketDir dir;
    FakeGaitd gaitd{dir.path()};
    Runner runner{"gaitd", config(dir), milliseconds(5000)};
    types::RobotBasicState robot = standing();

    /// Calls GetRobotAction() as the state machine does, until it does what is asked for.
    bool until(bool (*condition)(const types::RobotAction&)) {
        return check::eventually([&] { return condition(runner.GetRobotAction(robot)); });
    }
};

}  // namespace

CASE(hello_happens_at_construction) {
    Scene scene;
    CHECK_EQUAL(scene.gaitd.hellos, 1U);
    CHECK_EQUAL(scene.gaitd.activates, 0U);
    CHECK_EQUAL(scene.runner.policy_name_, "gaitd");
    CHECK_EQUAL(scene.runner.decimation_, 1);
    scene.runner.SetDecimation(12);
    CHECK_EQUAL(scene.runner.decimation_, 1);
    scene.runner.DisplayPolicyInfo();
}

CASE(without_gaitd_there_is_no_runner) {
    SocketDir dir;
    CHECK_THROWS(gaitd::UnreachableError, "did not answer hello", Runner("gaitd", config(dir), milliseconds(50)));
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
    bool damped = false;
    CHECK(check::eventually([&] {
        const types::RobotAction action = scene.runner.GetRobotAction(scene.robot);
        damped = damped || damps(action);
        return walks(action);
    }));
    CHECK(!damped);
}

CASE(the_stance_before_damping_is_passed_on) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.stance_ns = 300'000'000;
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
