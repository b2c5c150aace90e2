// gaitd::Client for a controller that runs the policy in its own process: the same calls, the same latch with its five
// periods, no gaitd. docs/embedded.md says what is lost.
//
// publish() and command() belong to ONE control thread; they never block and never allocate. The model runs on a thread
// of its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gaitd/client.hpp>
#include <gaitd/embedded/inference.hpp>
#include <gaitd/latch.hpp>
#include <gaitd/orientation.hpp>
#include <gaitd/policy/read_compiled.hpp>
#include <gaitd/watchdog.hpp>

namespace gaitd {

struct EmbeddedConfig {
    policy::Compiled policy;          ///< policy::loadCompiled() reads the file that `gaitctl embed` wrote.
    backends::Choice backend;         ///< What runs the model.
    std::vector<std::string> joints;  ///< In the order of every joint array of this controller.
    /// The RobotState fields that this controller really fills in.
    std::vector<std::string> fields = usualFields();
    std::uint64_t stance_ns = 0;      ///< How long damping may begin with the default pose; 0: limp at once.
    std::chrono::milliseconds load_timeout{30'000};  ///< For loading the model and its golden vectors.
    int priority = 0;                 ///< SCHED_FIFO of the inference thread; 0 leaves it alone.
    int cpu = -1;                     ///< CPU of the inference thread; -1 leaves it alone.
    int watchdog_priority = 0;        ///< SCHED_FIFO of the watchdog; 0 leaves it alone.
};

class EmbeddedClient {
public:
    using Configuration = EmbeddedConfig;

    /// Loads the model, and proves it on the policy's golden vectors. Throws ConfigError or BackendError.
    explicit EmbeddedClient(EmbeddedConfig config)
        : config_(checked(std::move(config))),
          inference_(embedded::Inference::start(std::move(config_.policy),
                                                {config_.backend, config_.joints, config_.priority, config_.cpu},
                                                config_.load_timeout)),
          latch_(config_.joints.size(), 0.0F) {
        makeContract();
        latch_.configure({contract_.times.deadline_ns,
                          contract_.times.first_command_ns,
                          contract_.action_dim,
                          contract_.fallback_damping,
                          {contract_.times.stance_ns, contract_.default_joint_position, contract_.stiffness, contract_.damping},
                          {},
                          {}});
    }

    EmbeddedClient(const EmbeddedClient&) = delete;
    EmbeddedClient& operator=(const EmbeddedClient&) = delete;

    /// Waits half a second for an inference under way; a runtime that hangs longer is left behind.
    ~EmbeddedClient() { inference_->end(); }

    /// As Client::watch: damps while the control loop stands still.
    void watch(Watchdog::Send send) {
        watchdog_ = std::make_unique<Watchdog>(
            joints(), std::move(send), [this] { cancelActivation(); }, config_.watchdog_priority);
        watchdog_->setDamping(latch_.fallbackDamping());
    }

    /// There is nobody to ask: what the policy's file says.
    const Contract& hello(std::chrono::milliseconds) const noexcept { return contract_; }

    // ---- any thread: posts ----

    /// Asks for a new session, which begins with the next publish() or command(). Refused while the runtime hangs.
    void requestActivate() noexcept {
        if (watchdog_) watchdog_->restart(monotonicNow_ns() + contract_.times.deadline_ns);
        activation_.store(Activation::Pending);
    }

    /// Ends the session, and the watch over the loop.
    void requestRelease() noexcept {
        cancelActivation();
        release_wanted_.store(true);
        if (watchdog_) watchdog_->restart(0);
    }

    /// Damping at the next command(), without a stance.
    void requestDamping(std::string_view) noexcept {
        cancelActivation();
        damping_wanted_.store(true);
    }

    [[nodiscard]] Activation activation() const noexcept { return activation_.load(); }
    [[nodiscard]] std::uint64_t session() const noexcept { return session_.load(); }

    /// What stands against an activation; empty: nothing. Not for the control loop.
    [[nodiscard]] std::string obstacle() const {
        const std::uint64_t busy_ns = stuckFor_ns(monotonicNow_ns());
        return busy_ns == 0 ? "" : "inference has been running for " + std::to_string(busy_ns / 1'000'000U) + " ms";
    }
    /// Why the last activation was refused; empty if it was not. Not for the control loop.
    [[nodiscard]] std::string activationError() const {
        return activation() == Activation::Refused ? "the runtime hung when the session was to begin" : "";
    }
    [[nodiscard]] std::optional<Contract> newestContract() const { return contract_; }
    /// What the runtime said of its newest failure; empty: none. Not for the control loop.
    [[nodiscard]] std::string runtimeError() const { return inference_->error(); }

    // ---- the control thread ----

    /// Hands over one state: one control step. False when it could not be: the inference thread is far behind.
    bool publish(const RobotState& state) noexcept {
        const std::uint64_t now_ns = monotonicNow_ns();  // Before its answer can be.
        adoptSession(now_ns);
        const bool tilted = tooTiltedToStand(state.orientation);
        const std::uint64_t seq = latch_.published(state.stamp_ns, state.joint_position, tilted);
        if (watchdog_) watchdog_->hold(latch_.heldPosition());
        const std::uint64_t session = latch_.sampleSession();
        if (session != 0) published_ns_ = now_ns;
        const bool taken = session == 0 || inference_->ask(session, seq, state);
        ++(taken ? counters_.published : counters_.unpublished);
        return taken;
    }

    /// What the motors are to do at `now_ns` (CLOCK_MONOTONIC, read right before the call). The reference stays valid until
    /// the next call.
    const JointCommand& command(std::uint64_t now_ns) noexcept {
        adoptSession(now_ns);
        drain(now_ns);
        // After the drain: what this controller itself decided wins over everything received.
        if (damping_wanted_.exchange(false)) latch_.damp(Reason::Operator);
        if (release_wanted_.exchange(false)) {
            latch_.end();
            session_.store(0);
        }
        if (isOverdue(now_ns)) dampForSilence(now_ns);
        called_ns_ = now_ns;
        const JointCommand& command = latch_.decide(now_ns);
        static_cast<void>(latch_.takeExpired());  // There is nobody to tell.
        if (watchdog_ && !watchdog_->extend(holdsUntil_ns(now_ns))) {
            latch_.dampAlreadySent(Reason::ClientDeadline);
            latch_.decide(now_ns);
            watchdog_->restart(0);
        }
        return command;
    }

    /// Sleeps until something may have come for command(), at most `limit`.
    void wait(std::chrono::milliseconds limit) noexcept { inference_->wait(limit); }

    [[nodiscard]] std::size_t joints() const noexcept { return config_.joints.size(); }
    [[nodiscard]] const std::vector<std::string>& jointNames() const noexcept { return config_.joints; }
    [[nodiscard]] const Contract& contract() const noexcept { return contract_; }
    [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
    /// Real-time settings that the system refused.
    [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return inference_->warnings(); }
    /// What runs the model, for people.
    [[nodiscard]] const std::string& versions() const noexcept { return inference_->versions(); }

private:
    static EmbeddedConfig checked(EmbeddedConfig config) {
        for (const std::string& field : config.policy.fields) {
            if (std::find(config.fields.begin(), config.fields.end(), field) == config.fields.end()) {
                throw ConfigError("the policy " + config.policy.name + " reads " + field +
                                  ", which EmbeddedConfig::fields does not name");
            }
        }
        if (config.stance_ns > kMaxStance_ns) {
            throw ConfigError("EmbeddedConfig::stance_ns is " + std::to_string(config.stance_ns) + ", at most " +
                              std::to_string(kMaxStance_ns) + " is possible");
        }
        return config;
    }

    void makeContract() {
        const policy::Compiled& policy = inference_->policy();
        const policy::JointOrder& order = inference_->order();
        contract_.gaitd_version = policy.gaitd_version;
        contract_.policies = {{policy.shortId(), policy.name, policy.version}};
        contract_.period_ns = policy.period_ns;
        contract_.times.deadline_ns = static_cast<std::uint64_t>(kDeadlinePeriods * static_cast<double>(policy.period_ns));
        contract_.times.first_command_ns = kFirstCommand_ns;
        contract_.times.stance_ns = config_.stance_ns;
        contract_.joints = policy.joints;
        contract_.joint_targets.assign(policy.joints.size(), JointTarget::Position);
        contract_.fields = policy.fields;
        contract_.observation_dim = policy.observationDim();
        contract_.action_dim = policy.joints.size();
        contract_.velocity_command_unit = policy.command_unit;
        contract_.velocity_command_min = policy.command_min;
        contract_.velocity_command_max = policy.command_max;
        order.toController(policy.default_position, contract_.default_joint_position);
        order.toController(policy.stiffness, contract_.stiffness);
        order.toController(policy.damping, contract_.damping);
        order.toController(policy.fallback_damping, contract_.fallback_damping);
    }

    void cancelActivation() noexcept {
        Activation pending = Activation::Pending;
        activation_.compare_exchange_strong(pending, Activation::None);
    }

    /// How long the inference under way has taken, where that is too long; else 0.
    [[nodiscard]] std::uint64_t stuckFor_ns(std::uint64_t now_ns) const noexcept {
        const std::uint64_t since_ns = inference_->busySince_ns();
        const bool stuck = since_ns != 0 && now_ns > since_ns + contract_.times.deadline_ns / 2;
        return stuck ? now_ns - since_ns : 0;
    }

    void adoptSession(std::uint64_t now_ns) noexcept {
        Activation pending = Activation::Pending;
        if (activation_.load(std::memory_order_relaxed) != pending) return;
        // Whoever asked for damping or release before this activation meant the session before.
        const bool damping = damping_wanted_.exchange(false);
        const bool release = release_wanted_.exchange(false);
        const bool stuck = stuckFor_ns(now_ns) != 0;
        const bool granted =
            activation_.compare_exchange_strong(pending, stuck ? Activation::Refused : Activation::Granted) && !stuck;
        if (!granted) {
            if (damping) damping_wanted_.store(true);
            if (release) release_wanted_.store(true);
            return;
        }
        const std::uint64_t session = ++last_session_;
        latch_.begin(session, session, 0);
        refusal_.reset();
        published_ns_ = 0;
        fed_ns_ = began_ns_ = called_ns_ = now_ns;
        session_.store(session);
    }

    void drain(std::uint64_t now_ns) noexcept {
        while (const embedded::Answer* const answer = inference_->front()) {
            ++counters_.received;
            if (answer->refused) {
                if (answer->command.session == latch_.session()) refusal_ = {answer->at_ns, answer->command.cause};
            } else {
                const Refusal refusal = latch_.offer(answer->command, now_ns);
                ++counters_.refused[static_cast<std::size_t>(refusal)];
                if (refusal == Refusal::None && answer->command.mode == Mode::Active) fed_ns_ = answer->at_ns;
            }
            inference_->pop();
        }
    }

    /// The latch's own timers, a moment before they run out: here it is known why.
    [[nodiscard]] bool isOverdue(std::uint64_t now_ns) const noexcept {
        if (latch_.mode() == Mode::Active) return now_ns > latch_.holdsUntil_ns();
        return latch_.mode() == Mode::Idle && latch_.session() != 0 && now_ns > began_ns_ + contract_.times.first_command_ns;
    }

    /// As gaitd's guardian words it (gaitd.guardian.rules).
    void dampForSilence(std::uint64_t now_ns) noexcept {
        const std::uint64_t recent_ns = contract_.times.deadline_ns / 2;
        if (now_ns > called_ns_ + recent_ns) return latch_.damp(Reason::ClientDeadline);  // This loop stood still.
        const std::uint64_t taken_ns = inference_->taken_ns();
        if (stuckFor_ns(now_ns) != 0) return latch_.damp(Reason::Deadline);
        // A refusal since the last command counts, unless good states went on to come long after it.
        if (refusal_ && refusal_->at_ns > fed_ns_ && (taken_ns < refusal_->at_ns || taken_ns - refusal_->at_ns < recent_ns)) {
            return latch_.damp(reasonOf(refusal_->cause.kind), refusal_->cause);
        }
        latch_.damp(published_ns_ > fed_ns_ ? Reason::Deadline : Reason::StateLost);
    }

    [[nodiscard]] std::uint64_t holdsUntil_ns(std::uint64_t now_ns) const noexcept {
        if (const std::uint64_t until_ns = latch_.holdsUntil_ns(); until_ns != 0) return until_ns;
        const bool waits = activation() == Activation::Pending || (latch_.mode() == Mode::Idle && latch_.session() != 0);
        return waits ? now_ns + contract_.times.deadline_ns : 0;
    }

    /// Why a state or an action gave no command.
    struct Finding {
        std::uint64_t at_ns = 0;
        Cause cause;
    };

    EmbeddedConfig config_;  ///< Its policy is the inference's.
    const std::shared_ptr<embedded::Inference> inference_;
    Contract contract_;
    Latch latch_;
    Counters counters_;

    // Of the control thread.
    std::uint64_t last_session_ = 0;
    std::uint64_t began_ns_ = 0;
    std::uint64_t called_ns_ = 0;     ///< The call of command() before.
    std::uint64_t fed_ns_ = 0;        ///< When the newest command was made, or the session began.
    std::uint64_t published_ns_ = 0;  ///< The newest state of the session.
    std::optional<Finding> refusal_;

    std::atomic<std::uint64_t> session_{0};
    std::atomic<Activation> activation_{Activation::None};
    std::atomic<bool> release_wanted_{false};
    std::atomic<bool> damping_wanted_{false};
    std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace gaitd
