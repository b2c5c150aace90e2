// The C++ policy library behind C functions, for tests that compare it with Python.
#include <cstring>
#include <memory>
#include <string>

#include <gaitd/backends/open.hpp>
#include <gaitd/policy/read_compiled.hpp>
#include <gaitd/policy/step.hpp>

using namespace gaitd;

namespace {

/// Answers what it is told to.
class GivenAction final : public backends::Backend {
public:
    GivenAction(std::size_t inputs, std::size_t actions) : input_(inputs), action_(actions) {}
    float* input() noexcept override { return input_.data(); }
    const float* action() const noexcept override { return action_.data(); }
    bool infer() noexcept override { return true; }
    std::string error() const override { return ""; }
    void commit() noexcept override {}
    void reset() noexcept override {}
    std::string versions() const override { return "given"; }
    void give(const float* action) { std::copy_n(action, action_.size(), action_.begin()); }

private:
    policy::Floats input_;
    policy::Floats action_;
};

struct Subject {
    Subject(policy::Compiled compiled, const char* library, backends::Kind kind)
        : policy(std::move(compiled)), given(policy.observationDim(), policy.actionDim()) {
        if (library != nullptr) {
            backend = backends::open(policy, {kind, library});
            backends::prove(*backend, policy, kind);
        }
        step = std::make_unique<policy::Step>(policy, backend ? *backend : given);
    }

    const policy::Compiled policy;
    GivenAction given;
    std::unique_ptr<backends::Backend> backend;
    std::unique_ptr<policy::Step> step;
};

void copy(const policy::Floats& values, float* out) { std::copy(values.begin(), values.end(), out); }

}  // namespace

extern "C" {

/// Of a file's bytes. `library`: onnxruntime, or with `npu` librknnrt; null: actions are given. Null after an error, which
/// is in `error`.
Subject* policy_new(const char* content, std::size_t size, const char* library, bool npu, char* error,
                    std::size_t error_size) {
    try {
        return new Subject(policy::readCompiled(std::string(content, size), "policy"), library,
                           npu ? backends::Kind::Rknn : backends::Kind::Onnx);
    } catch (const Error& refused) {
        std::strncpy(error, refused.what(), error_size - 1);
        return nullptr;
    }
}

void policy_free(Subject* subject) { delete subject; }
void policy_reset(Subject* subject) { subject->step->reset(); }

/// State: the fields in the order of RobotState, n joints. The cause's kind, its joint, and its numbers in `numbers`.
int policy_take(Subject* subject, const float* state, std::size_t joints, std::uint64_t stamp_ns, std::uint64_t now_ns,
                float* numbers) {
    RobotState taken;
    taken.stamp_ns = stamp_ns;
    const auto get = [&state](float* to, std::size_t count) {
        std::copy_n(state, count, to);
        state += count;
    };
    get(taken.angular_velocity.data(), 3);
    get(taken.orientation.data(), 4);
    get(taken.linear_acceleration.data(), 3);
    get(taken.linear_velocity.data(), 3);
    get(taken.velocity_command.data(), 3);
    get(taken.joint_position.data(), joints);
    get(taken.joint_velocity.data(), joints);
    get(taken.joint_torque.data(), joints);
    const Cause cause = subject->step->take(taken, now_ns);
    numbers[0] = static_cast<float>(cause.joint);
    numbers[1] = cause.number;
    numbers[2] = cause.bound;
    return static_cast<int>(cause.kind);
}

/// What the model gets, before and after normalization.
void policy_observation(Subject* subject, float* raw, float* input) {
    copy(subject->step->pipeline().rawObservation(), raw);
    copy(subject->step->pipeline().input(), input);
}

/// `action`: what the model answers, or null: the real one is asked. As policy_take; target and action (joints) each.
int policy_answer(Subject* subject, const float* action, std::uint64_t now_ns, float* target, float* applied,
                  std::uint64_t* clamped, float* numbers) {
    if (action != nullptr) subject->given.give(action);
    const policy::Decision& decision = subject->step->answer(now_ns);
    const std::size_t joints = subject->policy.joints.size();
    std::copy_n(decision.target.begin(), joints, target);
    std::copy_n(decision.action.begin(), joints, applied);
    std::copy(decision.clamped.begin(), decision.clamped.end(), clamped);
    numbers[0] = static_cast<float>(decision.cause.joint);
    numbers[1] = decision.cause.number;
    numbers[2] = decision.cause.bound;
    return static_cast<int>(decision.cause.kind);
}

void policy_commit(Subject* subject) { subject->step->commit(); }
}
