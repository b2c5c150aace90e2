// The client of gaitd for a real-time control loop.
//
// publish() and command() belong to ONE control thread. They never block and never allocate; command() always
// returns something safe. The request...() calls may come from any thread; they only post.
//
// libzmq itself takes a few small blocks on the control thread for each new connection of a worker, the last of them
// with the 256th state. Publishing while the robot stands up (session 0) has that done before the first session. After
// a session that ended in damping, and with another policy, the connections are new.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <zmq.hpp>

#include <gaitd/account.hpp>
#include <gaitd/codec.hpp>
#include <gaitd/control.hpp>
#include <gaitd/data_path.hpp>
#include <gaitd/errors.hpp>
#include <gaitd/fork.hpp>
#include <gaitd/latch.hpp>
#include <gaitd/link.hpp>
#include <gaitd/messages.hpp>
#include <gaitd/orientation.hpp>
#include <gaitd/pool.hpp>
#include <gaitd/realtime.hpp>
#include <gaitd/route.hpp>
#include <gaitd/time.hpp>
#include <gaitd/watchdog.hpp>

namespace gaitd {

/// The STATE fields that most controllers fill in: all but an estimated linear_velocity.
inline std::vector<std::string> usualFields() {
    return {"angular_velocity", "orientation",    "linear_acceleration", "velocity_command",
            "joint_position",   "joint_velocity", "joint_torque"};
}

struct Config {
    std::string endpoint_dir = "/run/gaitd";   ///< Where gaitd keeps its sockets.
    Remote remote;                             ///< With a host: over TCP instead.
    Transport transport = Transport::Zmq;      ///< Of states and commands.
    std::string controller = "controller";     ///< Shown to people who look at gaitd.
    std::vector<std::string> joints;           ///< In the order of every joint array of this controller.
    /// The STATE fields that this controller really fills in.
    std::vector<std::string> fields = usualFields();
    std::vector<std::string> inputs;           ///< Named inputs that it fills in (RobotState::inputs), if the policy asks.
    MessageType message = MessageType::State;  ///< What is published: State or RawObservation.
    bool switchable = false;                   ///< Others may change the policy while it walks: `gaitctl switch`.
    bool simulated = false;                    ///< No real robot: `gaitctl rehearse` then needs no person.
    float damping_before_hello = 2.5F;         ///< Nm s/rad; afterwards gaitd's reply says it.
    std::chrono::milliseconds request_timeout{500};  ///< Of one request on the control channel.
    /// How often hello is said again in the background while the policy does not move the robot. A policy that gaitd has
    /// changed to is then taken up, at the latest by the next session, and contract() with it. 0: never, and another
    /// policy is refused until hello() is called.
    std::chrono::milliseconds renew{0};
    /// SCHED_FIFO priority of ZeroMQ's I/O thread and of the watchdog; 0 leaves them alone.
    int io_priority = 0;
    int io_cpu = -1;                           ///< CPU of ZeroMQ's I/O thread; -1 leaves it alone.
};

/// What happened on the data path so far.
struct Counters {
    std::uint64_t published = 0;
    std::uint64_t unpublished = 0;  ///< publish() had no message ready or the socket refused it.
    std::uint64_t received = 0;
    std::array<std::uint64_t, kRefusals> refused{};  ///< By Refusal; None counts those taken.

    [[nodiscard]] std::uint64_t of(Refusal refusal) const noexcept { return refused[static_cast<std::size_t>(refusal)]; }
};

class Client {
public:
    using Configuration = Config;

    /// Opens the sockets and starts the link thread; gaitd need not run yet. Throws ConfigError.
    explicit Client(Config config)
        : config_(checked(std::move(config))),
          sends_linear_velocity_(has(config_.fields, "linear_velocity")),
          route_(config_.endpoint_dir, config_.remote),
          latch_(config_.joints.size(), config_.damping_before_hello) {
        contract_.action_dim = joints();
        setUpContext();
        try {
            path_ = std::make_unique<DataPath>(*context_, route_, config_.transport);
            link_ = std::make_unique<Link>(
                *context_, route_, config_.transport,
                control::Introduction{config_.controller, config_.joints, config_.fields, config_.message,
                                      config_.simulated, config_.switchable, config_.inputs},
                config_.request_timeout, config_.renew, account_, pool_);
        } catch (const zmq::error_t& error) {
            throw ConfigError(route_.endpoint(Channel::State) + ": " + error.what());
        }
    }

    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    ~Client() {
        if (origin_.isAnotherProcess()) {
            // Its threads are the parent's, and so are the descriptors behind its sockets: left alone.
            static_cast<void>(watchdog_.release());
            static_cast<void>(link_.release());
            static_cast<void>(path_.release());
            static_cast<void>(context_.release());
            return;
        }
    }

    /// Watches the control loop from now on: whenever it leaves the joints with a command that has run out, because it
    /// does not come to command() any more, the session ends in damping and `send` is to bring damping to the motors.
    /// It is called on a thread of its own (several times, while the loop stands still) and must not wait for the loop.
    /// From requestActivate() on command() must then be called within each contract().times.deadline_ns, until damping,
    /// requestRelease() or another call of it that says Idle without an activation under way. Once, before the loop.
    void watch(Watchdog::Send send) {
        watchdog_ = std::make_unique<Watchdog>(
            joints(), std::move(send),
            [this] {
                account_.damped(session(), Reason::ClientDeadline, monotonicNow_ns());
                link_->posts().cancelActivation();
                link_->posts().damp(session(), Reason::ClientDeadline, "the controller's loop stood still");
            },
            config_.io_priority);
        configureWatchdog();
        link_->setWatched();
    }

    // ---- start-up: these wait ----

    /// Exchanges hello and connects to every worker that the reply lists. From the control thread, before its loop.
    /// Throws RefusedError (gaitd's own text, for example which joint is missing) or UnreachableError.
    const Contract& hello(std::chrono::milliseconds timeout) {
        Contract contract = link_->hello(timeout);
        path_->connect(route_, contract.endpoints);
        link_->watch(path_->lane());
        contract_ = std::move(contract);
        takeUpContract();
        return contract_;
    }

    /// Starts a session and returns its number. From the control thread. Throws RefusedError or UnreachableError.
    std::uint64_t activate() {
        requestActivate();
        link_->waitForActivation();
        adoptSession();
        return session();
    }

    // ---- any thread: posts ----

    /// Asks for a new session; activation() tells how it goes. Needs an earlier hello().
    void requestActivate() noexcept {
        if (watchdog_) watchdog_->restart(loopIsDue_ns(monotonicNow_ns()));
        link_->requestActivate();
    }

    /// Ends the session, and the watch over the loop: when nobody is in command() meanwhile, it need not be called again.
    void requestRelease() noexcept {
        if (origin_.isAnotherProcess()) return;
        link_->posts().cancelActivation();
        link_->posts().release(session());
        release_wanted_.store(true);
        if (watchdog_) watchdog_->restart(0);
    }

    /// Damping now, without a stance: here at the next command(), and in gaitd. `detail` (up to 128 bytes) is for its log.
    void requestDamping(std::string_view detail) noexcept {
        if (origin_.isAnotherProcess()) return;
        link_->posts().cancelActivation();
        link_->posts().damp(session(), Reason::Operator, detail);
        damping_wanted_.store(true);
    }

    [[nodiscard]] Activation activation() const noexcept { return link_->activation(); }

    /// Asks that our session go on, or without one the next begin, with another policy of contract().policies: its name,
    /// or the beginning of its id (128 bytes at most). selection() tells how it goes; JointCommand::policy says whose
    /// commands are in force. False while an earlier one has not been taken up.
    bool select(std::string_view policy) noexcept { return link_->select(policy); }

    [[nodiscard]] Selection selection() const noexcept { return link_->selection(); }

    /// Why the last change of policy was refused; empty if it was not. Not for the control loop.
    [[nodiscard]] std::string selectionError() { return link_->selectionError(); }

    /// Our session, 0 without one.
    [[nodiscard]] std::uint64_t session() const noexcept { return session_.load(); }

    /// Why the last activation was refused; empty if it was not. Not for the control loop.
    [[nodiscard]] std::string activationError() { return link_->activationError(); }

    /// What stands against an activation as of the newest hello, for example that gaitd does not answer; empty: nothing.
    /// With Config::renew the newest is never old. Not for the control loop.
    [[nodiscard]] std::string obstacle() { return link_->obstacle(); }

    /// What gaitd said in its newest hello; contract() follows before the next session. Not for the control loop.
    [[nodiscard]] std::optional<Contract> newestContract() { return link_->newestContract(); }

    // ---- the control thread ----

    /// Sends one state: one control step. False when it could not be sent; gaitd then sees a gap in the sequence.
    bool publish(const RobotState& state) noexcept {
        adoptSession();
        return publishSample(stateSize(joints(), sends_linear_velocity_, input_sizes_), state.stamp_ns, state.joint_position,
                             tooTiltedToStand(state.orientation),
                             [&](std::uint64_t seq, void* data, std::size_t size) {
                                 return encodeState(state, latch_.sampleSession(), seq, joints(), sends_linear_velocity_,
                                                    data, size, input_sizes_);
                             });
    }

    /// Sends one ready-made observation: one control step. Needs an earlier hello().
    bool publish(const RawObservation& raw) noexcept {
        adoptSession();
        const std::size_t dim = contract_.observation_dim;
        return publishSample(rawObservationSize(joints(), dim), raw.stamp_ns, raw.joint_position, false,
                             [&](std::uint64_t seq, void* data, std::size_t size) {
                                 return encodeRawObservation(raw, latch_.sampleSession(), seq, joints(), dim, data, size);
                             });
    }

    /// What the motors are to do at `now_ns` (CLOCK_MONOTONIC, read right before the call). The reference stays
    /// valid until the next call.
    const JointCommand& command(std::uint64_t now_ns) noexcept {
        if (origin_.isAnotherProcess()) return latch_.decide(now_ns);
        adoptSession();
        drain(now_ns);
        // After the drain: what this controller itself decided wins over everything received.
        if (damping_wanted_.exchange(false)) latch_.damp(Reason::Operator);
        if (release_wanted_.exchange(false)) {
            latch_.end();
            session_.store(0);
        }
        const JointCommand& command = latch_.decide(now_ns);
        if (latch_.takeExpired()) {
            link_->posts().damp(latch_.session(), Reason::ClientDeadline, "no valid command in time");
        }
        if (watchdog_ && !watchdog_->extend(holdsUntil_ns(now_ns))) {
            latch_.dampAlreadySent(Reason::ClientDeadline);
            latch_.decide(now_ns);
            watchdog_->restart(0);
        }
        link_->setMoving(command.mode == Mode::Active);
        if (command.mode == Mode::Damping && !std::exchange(distrusts_path_, true)) {
            account_.damped(latch_.session(), command.reason, now_ns);
            link_->distrustPath();
        }
        return command;
    }

    /// For loops that would rather wait than look every millisecond: sleeps until something may have come for
    /// command(), at most `limit`.
    void wait(std::chrono::milliseconds limit) noexcept {
        if (origin_.isAnotherProcess()) return std::this_thread::sleep_for(limit);
        path_->wait(limit);
    }

    [[nodiscard]] std::size_t joints() const noexcept { return config_.joints.size(); }
    [[nodiscard]] const std::vector<std::string>& jointNames() const noexcept { return config_.joints; }
    [[nodiscard]] const Contract& contract() const noexcept { return contract_; }
    [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
    /// Real-time settings that the system refused, and endpoints that this client does not know how to use.
    [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }

private:
    static bool has(const std::vector<std::string>& names, const char* name) {
        return std::find(names.begin(), names.end(), name) != names.end();
    }

    static Config checked(Config config) {
        if (config.joints.empty() || config.joints.size() > kMaxJoints) {
            throw ConfigError("Config::joints has " + std::to_string(config.joints.size()) + " names; 1 to " +
                              std::to_string(kMaxJoints) + " are possible");
        }
        if (config.message != MessageType::State && config.message != MessageType::RawObservation) {
            throw ConfigError("Config::message must be State or RawObservation");
        }
        if (config.transport == Transport::Shm && !config.remote.host.empty()) {
            throw ConfigError("Config::transport is Shm and Config::remote.host " + config.remote.host +
                              ": shared memory needs gaitd on this machine");
        }
        return config;
    }

    void setUpContext() {
        if (config_.io_cpu >= 0 && granted([this] { return realtime::pinTo(config_.io_cpu); })) {
            context_->set(zmq::ctxopt::thread_affinity_cpu_add, config_.io_cpu);
        }
        if (config_.io_priority > 0 && granted([this] { return realtime::useFifo(config_.io_priority); })) {
            context_->set(zmq::ctxopt::thread_sched_policy, SCHED_FIFO);
            context_->set(zmq::ctxopt::thread_priority, config_.io_priority);
        }
    }

    template <class Setting>
    bool granted(Setting setting) {
        const auto refused = realtime::probe(setting);
        if (refused) warnings_.push_back("ZeroMQ I/O thread: " + *refused);
        return !refused;
    }

    void warnOnce(const std::string& warning) {
        if (!has(warnings_, warning.c_str())) warnings_.push_back(warning);
    }

    /// After hello, or with a renewal: contract_ and path_ are new.
    void takeUpContract() {
        for (const std::string& warning : path_->warnings()) warnOnce(warning);
        latch_.configure({contract_.times.deadline_ns,
                          contract_.times.first_command_ns,
                          contract_.action_dim,
                          contract_.fallback_damping,
                          {contract_.times.stance_ns, contract_.default_joint_position, contract_.stiffness,
                           contract_.damping},
                          contract_.brake_stiffness,
                          contract_.brake_torque});
        input_sizes_ = contract_.inputSizes();
        configureWatchdog();
    }

    void configureWatchdog() noexcept {
        watched_deadline_ns_.store(latch_.deadline_ns());
        if (watchdog_) watchdog_->setDamping(latch_.fallbackDamping(), latch_.brakeStiffness());
    }

    void adoptRenewal() noexcept {
        Renewal* const renewal = link_->takeRenewal();
        if (renewal == nullptr) return;
        std::swap(contract_, renewal->contract);
        std::swap(path_, renewal->path);
        takeUpContract();
        link_->giveBack(renewal);
    }

    /// When the loop has to be back while the controller itself holds the robot, waiting for its session.
    [[nodiscard]] std::uint64_t loopIsDue_ns(std::uint64_t now_ns) const noexcept {
        const std::uint64_t deadline_ns = watched_deadline_ns_.load();
        return deadline_ns == 0 ? 0 : now_ns + deadline_ns;
    }

    [[nodiscard]] std::uint64_t holdsUntil_ns(std::uint64_t now_ns) const noexcept {
        if (const std::uint64_t until_ns = latch_.holdsUntil_ns(); until_ns != 0) return until_ns;
        const bool waits = link_->activation() == Activation::Pending || link_->grant().session != last_grant_ ||
                           (latch_.mode() == Mode::Idle && latch_.session() != 0);
        return waits ? loopIsDue_ns(now_ns) : 0;
    }

    void adoptSession() noexcept {
        if (origin_.isAnotherProcess()) return;
        const Link::Grant grant = link_->grant();
        const bool granted = grant.session != last_grant_;
        if (granted || latch_.isOver()) adoptRenewal();
        if (!granted) return;
        last_grant_ = grant.session;
        if (grant.cancellations != link_->posts().cancellations()) {
            // Granted after a person asked for damping or release: not taken up.
            link_->posts().damp(grant.session, Reason::Operator, "session was cancelled while it was activated");
            return;
        }
        latch_.begin(grant.session, grant.epoch, grant.slot);
        distrusts_path_ = false;
        account_.begin();
        session_.store(grant.session);
    }

    template <class Encode>
    bool publishSample(std::size_t size, std::uint64_t stamp_ns, const JointArray& position, bool tilted,
                       Encode encode) noexcept {
        const std::uint64_t seq = latch_.published(stamp_ns, position, tilted);
        if (watchdog_) watchdog_->hold(latch_.heldPosition());
        const bool sent =
            !origin_.isAnotherProcess() &&
            path_->publish(pool_, size, [&](void* data, std::size_t room) { return encode(seq, data, room); });
        ++(sent ? counters_.published : counters_.unpublished);
        return sent;
    }

    void drain(std::uint64_t now_ns) noexcept {
        path_->drain([&](const void* data, std::size_t size) {
            ++counters_.received;
            Refusal refusal = decodeCommand(data, size, joints(), contract_.action_dim, message_);
            if (refusal == Refusal::None) refusal = latch_.offer(message_, now_ns);
            if (refusal == Refusal::None && message_.mode == Mode::Active) account_.commandInForce(now_ns);
            ++counters_.refused[static_cast<std::size_t>(refusal)];
        });
    }

    const Config config_;
    const bool sends_linear_velocity_;
    const Route route_;
    const Origin origin_{};
    std::vector<std::string> warnings_;
    Contract contract_;
    InputSizes input_sizes_;

    // In this order: the watchdog ends before the link thread, that before the data path, this before the context.
    std::unique_ptr<zmq::context_t> context_ = std::make_unique<zmq::context_t>();
    std::unique_ptr<DataPath> path_;
    MessagePool pool_;

    Latch latch_;
    Account account_;
    CommandMessage message_;
    Counters counters_;
    std::uint64_t last_grant_ = 0;
    bool distrusts_path_ = false;

    std::atomic<std::uint64_t> session_{0};
    std::atomic<bool> release_wanted_{false};
    std::atomic<bool> damping_wanted_{false};
    std::atomic<std::uint64_t> watched_deadline_ns_{0};
    std::unique_ptr<Link> link_;
    std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace gaitd
