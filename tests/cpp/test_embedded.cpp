// A policy in the controller's own process, on a fake of both runtimes: whatever these do, the joints get damping within
// five periods, with the reason.
#include <atomic>
#include <cmath>
#include <memory>
#include <string>

#include <gaitd/embedded/client.hpp>
#include <gaitd/vendor/embedded_runner.hpp>

#include "check.hpp"
#include "fake_runtime.hpp"
#include "policy_runner_base.hpp"
#include "small_policy.hpp"

using namespace gaitd;
using backends::Kind;
using std::chrono::milliseconds;

namespace {

std::string runtime_path;

constexpr Kind kKinds[] = {Kind::Onnx, Kind::Rknn};
/// Beyond the five periods: this loop's own tick, and a machine that is busy with other tests.
constexpr std::uint64_t kPatience_ns = 100'000'000;

EmbeddedConfig configOf(Kind kind, policy::Compiled policy = smallPolicy()) {
    EmbeddedConfig config;
    config.policy = std::move(policy);
    config.backend.kind = kind;
    config.backend.library = runtime_path;
    config.joints = {"knee", "thigh", "hip"};  // Not the policy's order.
    return config;
}

/// A controller's loop of 1 ms with a state every period.
struct Loop {
    explicit Loop(Kind kind, policy::Compiled policy = smallPolicy()) : client(configOf(kind, std::move(policy))) {
        state.joint_position = client.contract().default_joint_position;
    }

    /// One tick; false once the states are to stop.
    const JointCommand& tick(bool publishes = true) {
        std::this_thread::sleep_for(milliseconds(1));
        const std::uint64_t now_ns = monotonicNow_ns();
        if (publishes && now_ns >= next_ns) {
            next_ns = now_ns + client.contract().period_ns;
            state.stamp_ns = now_ns;
            state.angular_velocity[0] = 0.1F * std::sin(0.1F * static_cast<float>(++published));
            client.publish(state);
        }
        const JointCommand& command = client.command(monotonicNow_ns());
        if (command.mode == Mode::Active) {
            stamp_ns = monotonicNow_ns() - command.age_ns;
            ++active;
        }
        return command;
    }

    bool walks() {
        client.requestActivate();
        return check::eventually([&] { return tick().mode == Mode::Active && active > 20; });
    }

    /// The command that damps, once it comes; `late_ns` after five periods of the last state that was answered.
    const JointCommand& damped(bool publishes = true) {
        const JointCommand* command = nullptr;
        CHECK(check::eventually([&] { return (command = &tick(publishes))->mode == Mode::Damping; }));
        const std::uint64_t due_ns = stamp_ns + client.contract().times.deadline_ns;
        const std::uint64_t now_ns = monotonicNow_ns();
        late_ns = now_ns > due_ns ? now_ns - due_ns : 0;
        CHECK(late_ns < kPatience_ns);
        return *command;
    }

    FakeRuntime runtime{runtime_path};
    EmbeddedClient client;
    RobotState state;
    std::uint64_t next_ns = 0;
    std::uint64_t stamp_ns = 0;  ///< Of the state that the newest command answers.
    std::uint64_t late_ns = 0;
    int published = 0;
    int active = 0;
};

}  // namespace

CASE(it_walks_with_its_own_gains_in_the_controllers_order) {
    for (const Kind kind : kKinds) {
        Loop loop(kind);
        CHECK_EQUAL(loop.tick().mode, Mode::Idle);
        CHECK_EQUAL(loop.client.contract().times.deadline_ns, 200'000'000U);
        CHECK(loop.walks());
        const JointCommand& command = loop.tick();
        CHECK_EQUAL(command.mode, Mode::Active);
        CHECK_EQUAL(command.stiffness[0], 32.0F);
        CHECK_EQUAL(command.stiffness[2], 30.0F);
        // hip: 0.25 * observation[0]; knee: 1.3 + 0.25 * (observation[0] + 0.02).
        const float first = command.joint_position[2] / 0.25F;
        CHECK(std::abs(first) <= 0.1F);
        CHECK(std::abs(command.joint_position[0] - (1.3F + 0.25F * (first + 0.02F))) < 1e-5F);
        CHECK_EQUAL(loop.client.counters().of(Refusal::Late), 0U);
    }
}

CASE(an_error_of_the_runtime_is_damping_with_what_it_said) {
    for (const Kind kind : kKinds) {
        Loop loop(kind);
        CHECK(loop.walks());
        loop.runtime.order(Order::Fails);
        const JointCommand& command = loop.damped();
        CHECK_EQUAL(command.reason, Reason::BackendError);
        CHECK_EQUAL(command.cause.kind, CauseKind::BackendError);
        CHECK_EQUAL(command.stiffness[0], 0.0F);
        CHECK_EQUAL(command.damping[0], 2.7F);
        const std::string said = loop.client.runtimeError();
        CHECK(said.find(kind == Kind::Onnx ? "told to fail" : "RKNN_ERR_TIMEOUT") != std::string::npos);
        // Latched: a runtime that works again does not bring the robot back by itself.
        loop.runtime.order(Order::Works);
        for (int i = 0; i < 50; ++i) CHECK_EQUAL(loop.tick().mode, Mode::Damping);
        loop.active = 0;
        CHECK(loop.walks());
    }
}

CASE(what_is_not_a_number_is_damping) {
    for (const Kind kind : kKinds) {
        Loop loop(kind);
        CHECK(loop.walks());
        loop.runtime.order(Order::Nan);
        const JointCommand& command = loop.damped();
        // The NPU's backend looks itself: an output that was not written is none.
        CHECK_EQUAL(command.reason, kind == Kind::Onnx ? Reason::ActionInvalid : Reason::BackendError);
        if (kind == Kind::Onnx) {
            CHECK_EQUAL(command.cause.kind, CauseKind::ActionNotFinite);
            CHECK_EQUAL(int{command.cause.joint}, 0);  // The knee, the controller's first joint.
        }
    }
}

CASE(a_hang_is_damping_and_refuses_a_session_as_long_as_it_lasts) {
    for (const Kind kind : kKinds) {
        Loop loop(kind);
        CHECK(loop.walks());
        loop.runtime.order(Order::Hangs);
        CHECK_EQUAL(loop.damped().reason, Reason::Deadline);
        CHECK(loop.client.obstacle().find("inference has been running for ") == 0);
        loop.client.requestActivate();
        CHECK_EQUAL(loop.tick().mode, Mode::Damping);
        CHECK_EQUAL(loop.client.activation(), Activation::Refused);
        CHECK(!loop.client.activationError().empty());
        loop.runtime.order(Order::Works);
        CHECK(check::eventually([&] { return loop.client.obstacle().empty(); }));
        CHECK_EQUAL(loop.tick().mode, Mode::Damping);  // What was late is of the session before.
        loop.active = 0;
        CHECK(loop.walks());
    }
}

CASE(a_hang_before_the_first_command_is_damping) {
    Loop loop(Kind::Onnx);
    loop.runtime.order(Order::Hangs);
    loop.client.requestActivate();
    const std::uint64_t asked_ns = monotonicNow_ns();
    CHECK(check::eventually([&] { return loop.tick().mode == Mode::Damping; }));
    CHECK_EQUAL(loop.tick().reason, Reason::Deadline);
    CHECK(monotonicNow_ns() - asked_ns < kFirstCommand_ns + kPatience_ns);
}

CASE(a_runtime_that_hangs_does_not_keep_the_controller_from_ending) {
    FakeRuntime runtime(runtime_path);
    auto loop = std::make_unique<Loop>(Kind::Rknn);
    CHECK(loop->walks());
    runtime.order(Order::Hangs);
    const unsigned long before = runtime.runs();
    CHECK(check::eventually([&] { return loop->tick(), runtime.runs() > before; }));
    std::atomic<bool> ended{false};
    std::thread ending([&] {
        // The orders end with the loop's own FakeRuntime, which is after the client.
        loop.reset();
        ended.store(true);
    });
    CHECK(check::eventually([&] { return ended.load(); }));
    ending.join();
}

CASE(a_model_that_repeats_itself_is_damping) {
    policy::Compiled policy = smallPolicy();
    policy.limits.max_motion = 0.1F;
    Loop loop(Kind::Onnx, policy);
    CHECK(loop.walks());
    loop.runtime.order(Order::Repeats);
    for (int i = 0; i < 200; ++i) CHECK_EQUAL(loop.tick().mode, Mode::Active);  // The robot stands still: allowed.
    loop.state.joint_position[1] += 0.2F;
    const JointCommand& command = loop.damped();
    CHECK_EQUAL(command.reason, Reason::ActionInvalid);
    CHECK_EQUAL(command.cause.kind, CauseKind::ActionRepeated);
    CHECK_EQUAL(int{command.cause.joint}, 1);
}

CASE(a_limit_holds_back) {
    Loop loop(Kind::Onnx);
    CHECK(loop.walks());
    loop.runtime.order(Order::Far);
    CHECK(check::eventually([&] { return loop.tick().joint_position[2] == 0.6F; }));
    CHECK_EQUAL(loop.tick().mode, Mode::Active);
}

CASE(a_limit_whose_response_is_damping_damps_at_once) {
    policy::Compiled policy = smallPolicy();
    policy.limits.damps[0] = true;
    Loop loop(Kind::Onnx, policy);
    CHECK(loop.walks());
    loop.runtime.order(Order::Far);
    const JointCommand& command = loop.damped();
    CHECK_EQUAL(command.reason, Reason::Limit);
    CHECK_EQUAL(command.cause.kind, CauseKind::PositionLimit);
    CHECK_EQUAL(command.cause.number, 25.0F);
    CHECK_EQUAL(command.cause.bound, 0.6F);
    CHECK_EQUAL(int{command.cause.joint}, 2);
    CHECK_EQUAL(loop.late_ns, 0U);
}

CASE(states_that_stop_are_too_old_or_not_possible) {
    Loop stops(Kind::Onnx);
    CHECK(stops.walks());
    CHECK_EQUAL(stops.damped(false).reason, Reason::StateLost);

    Loop nan(Kind::Onnx);
    CHECK(nan.walks());
    nan.state.joint_velocity[1] = std::nanf("");
    const JointCommand& command = nan.damped();
    CHECK_EQUAL(command.reason, Reason::StateInvalid);
    CHECK_EQUAL(command.cause.kind, CauseKind::NotFinite);
    CHECK_EQUAL(int{command.cause.joint}, 1);

    Loop frozen(Kind::Onnx);
    CHECK(frozen.walks());
    for (int i = 0; frozen.client.command(monotonicNow_ns()).mode == Mode::Active && i < 1000; ++i) {
        std::this_thread::sleep_for(milliseconds(40));
        frozen.state.stamp_ns = monotonicNow_ns();
        frozen.client.publish(frozen.state);
    }
    CHECK_EQUAL(frozen.tick(false).reason, Reason::StateStale);
}

CASE(people_damp_and_release) {
    Loop loop(Kind::Onnx);
    CHECK(loop.walks());
    loop.client.requestDamping("a person");
    CHECK_EQUAL(loop.tick().reason, Reason::Operator);
    loop.active = 0;
    CHECK(loop.walks());
    loop.client.requestRelease();
    CHECK_EQUAL(loop.tick().mode, Mode::Idle);
    CHECK_EQUAL(loop.client.session(), 0U);
    loop.client.requestActivate();
    loop.client.requestDamping("before it began");
    CHECK_EQUAL(loop.tick().mode, Mode::Damping);
    CHECK_EQUAL(loop.client.activation(), Activation::None);
}

CASE(a_loop_that_stands_still_is_damped_by_the_watchdog) {
    Loop loop(Kind::Onnx);
    std::atomic<int> sent{0};
    loop.client.watch([&](const JointCommand& command) {
        if (command.mode == Mode::Damping && command.damping[0] == 2.7F && command.stiffness[0] == 0.0F) ++sent;
    });
    CHECK(loop.walks());
    CHECK_EQUAL(sent.load(), 0);
    CHECK(check::eventually([&] { return sent.load() > 1; }));  // Nobody ticks.
    CHECK_EQUAL(loop.tick(false).reason, Reason::ClientDeadline);
}

CASE(what_cannot_be_loaded_or_is_not_the_policy_is_refused) {
    FakeRuntime runtime(runtime_path);
    for (const Kind kind : kKinds) {
        EmbeddedConfig config = configOf(kind);
        config.policy.golden.action[4] += 0.01F;
        CHECK_THROWS(BackendError, "golden vector 1, joint thigh: the model answers 0.51", EmbeddedClient{config});
        config = configOf(kind);
        runtime.order(Order::Fails);
        CHECK_THROWS(BackendError, "golden vector 0: ", EmbeddedClient{config});
        runtime.order(Order::Hangs);
        config.load_timeout = milliseconds(50);
        CHECK_THROWS(BackendError, "has not loaded the model after 50 ms", EmbeddedClient{config});
        runtime.order(Order::Works);
        config = configOf(kind);
        config.policy.model.onnx = config.policy.model.rknn = "7 3";
        CHECK_THROWS(BackendError, "tensor obs ", EmbeddedClient{config});
        config.policy.model.onnx = config.policy.model.rknn = "";
        CHECK_THROWS(BackendError, "the policy has no model.", EmbeddedClient{config});
        config.backend.library = "/nowhere/library.so";
        CHECK_THROWS(BackendError, "/nowhere/library.so", EmbeddedClient{config});
        config = configOf(kind);
        config.backend.library = "libm.so.6";
        CHECK_THROWS(BackendError, "it is another library", EmbeddedClient{config});
    }
    EmbeddedConfig config = configOf(Kind::Rknn);
    config.policy.model.npu_memory_kib = 2.0;
    CHECK_THROWS(BackendError, "model.npu_memory_kib", EmbeddedClient{config});
    config = configOf(Kind::Onnx);
    config.joints = {"knee", "thigh", "toe"};
    CHECK_THROWS(ConfigError, "the policy has no joint toe; it has hip, thigh, knee", EmbeddedClient{config});
    config.joints = {"knee", "thigh"};
    CHECK_THROWS(ConfigError, "the controller has no joint hip; the policy has hip, thigh, knee", EmbeddedClient{config});
    config = configOf(Kind::Onnx);
    config.fields = {"joint_position"};
    CHECK_THROWS(ConfigError, "the policy small reads angular_velocity", EmbeddedClient{config});
    CHECK_THROWS(ConfigError, "/nowhere/policy.gaitdc: cannot be read", policy::loadCompiled("/nowhere/policy.gaitdc"));
}

namespace {

using Runner = vendor::EmbeddedPolicyRunner<PolicyRunnerBase, types::RobotBasicState, types::RobotAction>;

types::RobotBasicState vendorState(int seen) {
    types::RobotBasicState robot;
    robot.joint_pos = robot.joint_vel = robot.joint_tau = types::VecXf(3);
    robot.joint_pos(0) = 1.3F;
    robot.joint_pos(1) = -0.65F;
    robot.base_omega(0) = 0.1F * std::sin(0.1F * static_cast<float>(seen));
    return robot;
}

}  // namespace

CASE(the_vendors_loop_walks_and_is_damped) {
    const FakeRuntime runtime(runtime_path);
    Runner runner("embedded", configOf(Kind::Onnx), milliseconds(0));
    int seen = 0;
    const auto until = [&](auto condition) {
        return check::eventually([&] {
            std::this_thread::sleep_for(milliseconds(1));
            return condition(runner.GetRobotAction(vendorState(++seen)));
        });
    };
    CHECK(runner.MayEnter());
    runner.DisplayPolicyInfo();
    runner.OnEnter();
    CHECK(until([](const types::RobotAction& action) { return action.kp(0) == 32.0F && action.goal_joint_pos(2) != 0.0F; }));
    runtime.order(Order::Fails);
    CHECK(until([](const types::RobotAction& action) { return action.kp(0) == 0.0F && action.kd(0) == 2.7F; }));
    CHECK(runner.Damped());
    CHECK(check::eventually([&] { return runner.DampingReason() == Reason::BackendError; }));
    runner.OnExit();
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    runtime_path = argv[1];
    return check::run();
}
