// One session of a policy in this process: a state in, a decision out. Time is an argument; no thread, no lock, no
// allocation.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gaitd/backends/backend.hpp>
#include <gaitd/errors.hpp>
#include <gaitd/policy/admission.hpp>
#include <gaitd/policy/compiled.hpp>
#include <gaitd/policy/pipeline.hpp>

namespace gaitd::policy {

/// A controller's joints in the policy's order and back, by name.
class JointOrder {
public:
    /// `joints` are the controller's. Throws ConfigError naming the first one that is missing or too many.
    JointOrder(const std::vector<std::string>& policy, const std::vector<std::string>& joints) : count_(policy.size()) {
        for (const std::string& name : joints) {
            if (std::find(policy.begin(), policy.end(), name) == policy.end()) {
                throw ConfigError("the policy has no joint " + name + "; it has " + listed(policy));
            }
        }
        for (std::size_t i = 0; i < count_; ++i) {
            const auto found = std::find(joints.begin(), joints.end(), policy[i]);
            if (found == joints.end()) {
                throw ConfigError("the controller has no joint " + policy[i] + "; the policy has " + listed(policy));
            }
            from_[i] = static_cast<std::size_t>(found - joints.begin());
        }
        if (joints.size() != count_) throw ConfigError("the controller names a joint twice");
    }

    void toPolicy(const JointArray& controller, JointArray& policy) const noexcept {
        for (std::size_t i = 0; i < count_; ++i) policy[i] = controller[from_[i]];
    }

    template <class Values>
    void toController(const Values& policy, JointArray& controller) const noexcept {
        for (std::size_t i = 0; i < count_; ++i) controller[from_[i]] = policy[i];
    }

    /// Of a cause, where it is of one joint.
    [[nodiscard]] std::uint8_t toController(std::uint8_t joint) const noexcept {
        return joint < count_ ? static_cast<std::uint8_t>(from_[joint]) : joint;
    }

private:
    static std::string listed(const std::vector<std::string>& names) {
        std::string text;
        for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
        return text;
    }

    const std::size_t count_;
    std::array<std::size_t, kMaxJoints> from_{};
};

/// Joints in the policy's order. It is reset(), then take() for each state, answer() for the newest, and commit() once
/// its command is in force: what was never applied leaves no trace.
class Step {
public:
    /// Both must outlive it.
    Step(const Compiled& policy, backends::Backend& backend) : pipeline_(policy), admission_(policy), backend_(backend) {}

    /// Start of a session.
    void reset() noexcept {
        pipeline_.reset();
        admission_.reset();
        backend_.reset();
    }

    /// Takes a state into the history; or says why it is refused.
    [[nodiscard]] Cause take(const RobotState& state, std::uint64_t now_ns) noexcept {
        const Cause cause = admission_.admit(state, now_ns);
        if (cause.kind != CauseKind::None) return cause;
        pipeline_.observe(state);
        stamp_ns_ = state.stamp_ns;
        return {};
    }

    /// Runs the model on the newest state that was taken. The decision says why there is no command, if there is none.
    [[nodiscard]] const Decision& answer(std::uint64_t now_ns) noexcept {
        if (const Cause cause = admission_.tooOld(stamp_ns_, now_ns); cause.kind != CauseKind::None) return refuse(cause);
        const Floats& input = pipeline_.input();
        std::copy(input.begin(), input.end(), backend_.input());
        if (!backend_.infer()) return refuse({CauseKind::BackendError});
        return pipeline_.decide(backend_.action());
    }

    /// The newest answer's command is in force.
    void commit() noexcept {
        pipeline_.commit();
        backend_.commit();
    }

    [[nodiscard]] Pipeline& pipeline() noexcept { return pipeline_; }

private:
    [[nodiscard]] const Decision& refuse(const Cause& cause) noexcept {
        refused_.cause = cause;
        return refused_;
    }

    Pipeline pipeline_;
    Admission admission_;
    backends::Backend& backend_;
    std::uint64_t stamp_ns_ = 0;
    Decision refused_;
};

}  // namespace gaitd::policy
