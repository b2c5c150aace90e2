// A policy of three joints, made by hand: its observation is the angular velocity and the joints' positions.
#pragma once

#include <limits>
#include <string>

#include <gaitd/policy/compiled.hpp>

inline gaitd::policy::Compiled smallPolicy() {
    constexpr float kNone = std::numeric_limits<float>::infinity();
    constexpr std::size_t kJoints = 3;
    constexpr std::size_t kValues = 6;
    const auto all = [](float value) { return gaitd::policy::Floats(kJoints, value); };
    gaitd::policy::Compiled policy;
    policy.gaitd_version = "0";
    policy.id = std::string(64, 'a');
    policy.name = "small";
    policy.version = "1";
    policy.period_ns = 40'000'000;  // Long enough for a machine that is busy with other tests.
    policy.joints = {"hip", "thigh", "knee"};
    policy.default_position = {0.0F, -0.65F, 1.3F};
    policy.stiffness = {30.0F, 31.0F, 32.0F};
    policy.damping = all(1.0F);
    policy.fallback_damping = {2.5F, 2.6F, 2.7F};
    policy.command_unit = "normalized";
    policy.command_min = {-1.0F, -1.0F, -1.0F};
    policy.command_max = {1.0F, 1.0F, 1.0F};
    policy.fields = {"angular_velocity", "joint_position"};
    policy.terms.gather = {0, 1, 2, 9, 10, 11};
    policy.terms.offset = {0.0F, 0.0F, 0.0F, 0.0F, -0.65F, 1.3F};
    policy.terms.scale = gaitd::policy::Floats(kValues, 1.0F);
    policy.terms.low = gaitd::policy::Floats(kValues, -kNone);
    policy.terms.high = gaitd::policy::Floats(kValues, kNone);
    policy.terms.fill_first = gaitd::policy::Indices(kValues, 1);
    policy.terms.stack = {0, 1, 2, 3, 4, 5};
    policy.terms.clip = kNone;
    policy.action.moved = {0, 1, 2};
    policy.action.scale = all(0.25F);
    policy.action.offset = policy.default_position;
    policy.action.action_low = policy.action.target_low = all(-kNone);
    policy.action.action_high = policy.action.target_high = all(kNone);
    policy.action.share = all(1.0F);
    policy.limits.low = {-0.6F, -3.5F, 0.3F};
    policy.limits.high = {0.6F, 0.4F, 2.8F};
    policy.limits.slew = policy.limits.torque = policy.limits.reach = all(kNone);
    policy.limits.velocity_share = all(0.0F);
    policy.limits.max_motion = kNone;
    policy.state.joints_low = {-1.0F, -4.0F, 0.0F, -50.0F, -50.0F, -50.0F};
    policy.state.joints_high = {1.0F, 1.0F, 3.0F, 50.0F, 50.0F, 50.0F};
    policy.state.start_error = all(kNone);
    policy.state.max_age_ns = 80'000'000;
    policy.model.input = "obs";
    policy.model.output = "action";
    policy.model.npu_memory_kib = std::numeric_limits<double>::infinity();
    policy.model.onnx = policy.model.rknn = "6 3";
    policy.golden.onnx_tolerance = policy.golden.rknn_tolerance = 1e-4;
    policy.golden.reset = {1, 0};
    policy.golden.observation = gaitd::policy::Floats(2 * kValues, 0.5F);
    policy.golden.action = {0.5F, 0.51F, 0.52F, 0.5F, 0.51F, 0.52F};
    return policy;
}
