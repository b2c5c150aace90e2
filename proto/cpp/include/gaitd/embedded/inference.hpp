// The thread that runs the model: loads it, proves it on the golden vectors, then answers states. The control thread
// exchanges queues with it, and never waits for it.
//
// A runtime may hang for seconds and cannot be cancelled. So what the thread touches belongs to it as well (shared
// ownership): a controller that ends leaves a thread that is stuck behind, instead of waiting for ever.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gaitd/backends/open.hpp>
#include <gaitd/embedded/queue.hpp>
#include <gaitd/embedded/signal.hpp>
#include <gaitd/errors.hpp>
#include <gaitd/messages.hpp>
#include <gaitd/policy/step.hpp>
#include <gaitd/realtime.hpp>
#include <gaitd/time.hpp>

namespace gaitd::embedded {

/// A state of a session, joints in the controller's order.
struct Asked {
    std::uint64_t session = 0;
    std::uint64_t seq = 0;
    RobotState state;
};

/// A command, or why there is none.
struct Answer {
    CommandMessage command;  ///< Of a refusal, session and cause alone.
    std::uint64_t at_ns = 0;
    bool refused = false;
};

struct InferenceConfig {
    backends::Choice backend;
    std::vector<std::string> joints;  ///< The controller's.
    int priority = 0;                 ///< SCHED_FIFO; 0 leaves it alone.
    int cpu = -1;                     ///< -1 leaves it alone.
};

/// What control thread and inference thread share.
class Inference {
public:
    /// States that may wait: more than a deadline's worth.
    static constexpr std::size_t kRoom = 16;

    /// Starts the thread, and waits until the model is loaded and proven, at most `timeout`. Throws ConfigError or
    /// BackendError.
    static std::shared_ptr<Inference> start(policy::Compiled policy, InferenceConfig config,
                                            std::chrono::milliseconds timeout) {
        const std::shared_ptr<Inference> inference(new Inference(std::move(policy), std::move(config)));
        std::thread thread = realtime::quietThread("gaitd-infer", [inference] { inference->run(); });
        std::unique_lock<std::mutex> lock(inference->mutex_);
        const bool told = inference->changed_.wait_for(lock, timeout, [&] { return inference->state_ != State::Loading; });
        if (!told || inference->state_ == State::Over) {
            inference->stop_.store(true);
            const std::string why = told ? inference->error_ : "the runtime has not loaded the model after " +
                                                                   std::to_string(timeout.count()) + " ms";
            lock.unlock();
            if (told) {
                thread.join();
            } else {
                thread.detach();  // Stuck in the runtime.
            }
            throw BackendError(why);
        }
        inference->thread_ = std::move(thread);
        return inference;
    }

    Inference(const Inference&) = delete;
    Inference& operator=(const Inference&) = delete;

    /// Ends the thread; one that is stuck in the runtime is left to itself after `patience`.
    void end(std::chrono::milliseconds patience = std::chrono::milliseconds(500)) {
        stop_.store(true);
        wake_.post();
        std::unique_lock<std::mutex> lock(mutex_);
        const bool ended = changed_.wait_for(lock, patience, [this] { return state_ == State::Over; });
        lock.unlock();
        if (ended) {
            thread_.join();
        } else {
            thread_.detach();
        }
    }

    // ---- the control thread ----

    /// Hands over a state; false while so many wait that it would be of no use.
    bool ask(std::uint64_t session, std::uint64_t seq, const RobotState& state) noexcept {
        Asked* const room = asked_.room();
        if (room == nullptr) return false;
        room->session = session;
        room->seq = seq;
        room->state = state;
        asked_.put();
        wake_.post();
        return true;
    }

    /// The oldest answer that has not been given back with pop(), or nullptr.
    [[nodiscard]] const Answer* front() const noexcept { return answers_.front(); }
    void pop() noexcept {
        answers_.pop();
        answered_.forget();
    }

    /// Sleeps until there may be an answer.
    void wait(std::chrono::milliseconds limit) noexcept {
        if (answers_.front() != nullptr) return;
        answered_.waitUntil(monotonicNow_ns() + static_cast<std::uint64_t>(limit.count()) * 1'000'000U);
        if (answers_.front() != nullptr) answered_.post();  // What was taken is given back with pop().
    }

    // ---- any thread ----

    /// When the inference under way began; 0: there is none. (CLOCK_MONOTONIC)
    [[nodiscard]] std::uint64_t busySince_ns() const noexcept { return busy_since_ns_.load(); }
    /// When the newest state was taken into the history.
    [[nodiscard]] std::uint64_t taken_ns() const noexcept { return taken_ns_.load(); }

    /// What the runtime said of its newest failure; empty: none. Not for the control loop.
    [[nodiscard]] std::string error() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return error_;
    }

    [[nodiscard]] const policy::Compiled& policy() const noexcept { return policy_; }
    [[nodiscard]] const policy::JointOrder& order() const noexcept { return order_; }
    /// Runtime and version, and how near to the golden vectors it came: known after start().
    [[nodiscard]] const std::string& versions() const noexcept { return versions_; }
    [[nodiscard]] double goldenError() const noexcept { return golden_error_; }
    /// Real-time settings that the system refused: known after start().
    [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }

private:
    enum class State { Loading, Ready, Over };

    Inference(policy::Compiled policy, InferenceConfig config)
        : policy_(std::move(policy)), config_(std::move(config)), order_(policy_.joints, config_.joints) {
        order_.toController(policy_.stiffness, stiffness_);
        order_.toController(policy_.damping, damping_);
    }

    void run() noexcept {
        try {
            const std::unique_ptr<backends::Backend> backend = load();
            policy::Step step(policy_, *backend);
            tell(State::Ready);
            setUpThread();
            serve(step, *backend);
        } catch (const std::exception& error) {
            note(error.what());
        }
        tell(State::Over);
    }

    std::unique_ptr<backends::Backend> load() {
        std::unique_ptr<backends::Backend> backend = backends::open(policy_, config_.backend);
        golden_error_ = backends::prove(*backend, policy_, config_.backend.kind);
        versions_ = backend->versions();
        const auto warn = [this](const std::optional<std::string>& refused) {
            if (refused) warnings_.push_back("inference thread: " + *refused);
        };
        if (config_.cpu >= 0) warn(realtime::probe([this] { return realtime::pinTo(config_.cpu); }));
        if (config_.priority > 0) warn(realtime::probe([this] { return realtime::useFifo(config_.priority); }));
        return backend;
    }

    /// After loading, which may take long; what is refused was said by load().
    void setUpThread() const {
        if (config_.cpu >= 0) static_cast<void>(realtime::pinTo(config_.cpu));
        if (config_.priority > 0) static_cast<void>(realtime::useFifo(config_.priority));
    }

    void tell(State state) {
        const std::lock_guard<std::mutex> lock(mutex_);
        state_ = state;
        changed_.notify_all();
    }

    void note(const std::string& error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        error_ = error;
    }

    void serve(policy::Step& step, const backends::Backend& backend) {
        std::uint64_t session = 0;
        for (;;) {
            wake_.wait();
            if (stop_.load()) return;
            std::uint64_t seq = 0;  // Of the newest state that was taken.
            while (const Asked* const asked = asked_.front()) {
                if (asked->session != session) {
                    session = asked->session;
                    step.reset();
                    seq = 0;
                }
                const Cause cause = step.take(inPolicyOrder(asked->state), monotonicNow_ns());
                if (cause.kind == CauseKind::None) {
                    seq = asked->seq;
                    stamp_ns_ = asked->state.stamp_ns;
                    taken_ns_.store(monotonicNow_ns());
                } else {
                    refuse(session, cause, false);
                }
                asked_.pop();
            }
            if (seq != 0) answer(step, backend, session, seq);
        }
    }

    void answer(policy::Step& step, const backends::Backend& backend, std::uint64_t session, std::uint64_t seq) {
        const std::uint64_t now_ns = monotonicNow_ns();
        busy_since_ns_.store(now_ns);
        const policy::Decision& decision = step.answer(now_ns);
        busy_since_ns_.store(0);
        if (!decision.isAccepted()) {
            if (decision.cause.kind == CauseKind::BackendError) note(backend.error());
            // A limit for which the response is damping.
            return refuse(session, decision.cause, reasonOf(decision.cause.kind) == Reason::Limit);
        }
        Answer* const room = answers_.room();
        if (room == nullptr) return;  // The control thread stands still: its own deadline decides.
        CommandMessage& command = room->command;
        command.session = session;
        command.epoch = session;
        command.slot = 0;
        command.seq = seq;
        command.state_stamp_ns = stamp_ns_;
        command.publish_stamp_ns = room->at_ns = monotonicNow_ns();
        command.mode = Mode::Active;
        command.reason = Reason::None;
        command.cause = Cause{};
        order_.toController(decision.target, command.joint_position);
        command.stiffness = stiffness_;
        command.damping = damping_;
        command.action = decision.action;
        room->refused = false;
        step.commit();
        answers_.put();
        answered_.post();
    }

    /// Either damping at once, or told: the deadline decides.
    void refuse(std::uint64_t session, Cause cause, bool damps) noexcept {
        Answer* const room = answers_.room();
        if (room == nullptr) return;
        cause.joint = order_.toController(cause.joint);
        room->command.session = session;
        room->command.mode = Mode::Damping;
        room->command.reason = reasonOf(cause.kind);
        room->command.cause = cause;
        room->at_ns = monotonicNow_ns();
        room->refused = !damps;
        answers_.put();
        answered_.post();
    }

    [[nodiscard]] const RobotState& inPolicyOrder(const RobotState& state) noexcept {
        ordered_ = state;
        order_.toPolicy(state.joint_position, ordered_.joint_position);
        order_.toPolicy(state.joint_velocity, ordered_.joint_velocity);
        order_.toPolicy(state.joint_torque, ordered_.joint_torque);
        return ordered_;
    }

    const policy::Compiled policy_;
    const InferenceConfig config_;
    const policy::JointOrder order_;
    JointArray stiffness_{};  ///< The controller's order.
    JointArray damping_{};

    // Of the inference thread.
    RobotState ordered_;
    std::uint64_t stamp_ns_ = 0;

    // Written before it is ready.
    std::string versions_;
    std::vector<std::string> warnings_;
    double golden_error_ = 0.0;

    Queue<Asked, kRoom> asked_;
    Queue<Answer, kRoom> answers_;
    Signal wake_;
    Signal answered_;
    std::atomic<std::uint64_t> busy_since_ns_{0};
    std::atomic<std::uint64_t> taken_ns_{0};
    std::atomic<bool> stop_{false};

    std::mutex mutex_;
    std::condition_variable changed_;
    State state_ = State::Loading;
    std::string error_;
    std::thread thread_;
};

}  // namespace gaitd::embedded
