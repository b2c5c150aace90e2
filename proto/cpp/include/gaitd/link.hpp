// Everything that may wait or allocate, on a thread of its own: the control channel's requests, and filling the pool
// of messages ahead of the control thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include <zmq.hpp>

#include <gaitd/account.hpp>
#include <gaitd/codec.hpp>
#include <gaitd/control.hpp>
#include <gaitd/data_path.hpp>
#include <gaitd/errors.hpp>
#include <gaitd/fork.hpp>
#include <gaitd/pool.hpp>
#include <gaitd/posts.hpp>
#include <gaitd/realtime.hpp>
#include <gaitd/route.hpp>

namespace gaitd {

/// Where the last requested activation stands.
enum class Activation : std::uint8_t { None, Pending, Granted, Refused };

constexpr const char* toString(Activation activation) noexcept {
    switch (activation) {
        case Activation::None: return "none";
        case Activation::Pending: return "pending";
        case Activation::Granted: return "granted";
        case Activation::Refused: return "refused";
    }
    return "unknown";
}

/// Where the last requested change of policy stands.
using Selection = Activation;

class Link {
public:
    using Clock = std::chrono::steady_clock;

    /// A session that gaitd granted, and Posts::cancellations() when it was asked for.
    struct Grant {
        std::uint64_t session;
        std::uint64_t epoch;
        std::uint8_t slot;
        std::uint64_t cancellations;
    };

    /// `renew`: how often hello is said again while nothing moves; 0: never, and another policy is refused.
    /// `account`: what hello tells beside the introduction, and whenever there is something new in it.
    Link(zmq::context_t& context, Route route, Transport transport, control::Introduction introduction,
         std::chrono::milliseconds request_timeout, std::chrono::milliseconds renew, const Account& account,
         MessagePool& pool)
        : context_(context),
          route_(std::move(route)),
          transport_(transport),
          introduction_(std::move(introduction)),
          request_timeout_(request_timeout),
          renew_(renew),
          account_(account),
          pool_(pool) {
        if (introduction_.message == MessageType::State) {
            message_size_ = stateSize(introduction_.joints.size(), sendsLinearVelocity());
            pool_.fill(message_size_);
        }
        constexpr std::uint64_t kLongest = ~std::uint64_t{0};
        const AccountEntry longest{kLongest, kLongest, kLongest, kLongest, kLongest};
        if (const std::size_t size = control::hello(kLongest, introduction_, longest, true).size();
            size > kMaxRequestBytes) {
            throw ConfigError("Config: the names of joints, fields and controller make a hello of " + std::to_string(size) +
                              " bytes; " + std::to_string(kMaxRequestBytes) + " are possible");
        }
        open();
        thread_ = realtime::quietThread("gaitd-link", [this] { run(); });
    }

    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    ~Link() {
        stop_.store(true);
        posts_.wake();
        thread_.join();
        delete renewal_.load();
        delete used_.load();
    }

    /// What any thread may ask for without waiting.
    [[nodiscard]] Posts& posts() noexcept { return posts_; }
    [[nodiscard]] const Posts& posts() const noexcept { return posts_; }

    void requestActivate() noexcept {
        if (origin_.isAnotherProcess()) return activation_.store(Activation::Refused);
        activation_.store(Activation::Pending);
        posts_.activate();
    }

    [[nodiscard]] Activation activation() const noexcept { return activation_.load(); }

    /// False when it cannot be asked for now (Posts::select).
    bool select(std::string_view policy) noexcept {
        if (origin_.isAnotherProcess()) return false;
        const Selection before = selection_.exchange(Selection::Pending);
        if (posts_.select(policy)) return true;
        if (before != Selection::Pending) selection_.store(before);
        return false;
    }

    [[nodiscard]] Selection selection() const noexcept { return selection_.load(); }

    /// Why the last change of policy was refused; empty if it was not.
    [[nodiscard]] std::string selectionError() {
        if (origin_.isAnotherProcess()) return kMadeBeforeFork;
        const std::lock_guard<std::mutex> lock(mutex_);
        return selection_error_;
    }

    /// The newest session granted.
    [[nodiscard]] Grant grant() const noexcept {
        Grant grant{};
        do {  // Again when a newer one came meanwhile.
            grant = {granted_session_.load(), granted_epoch_.load(), granted_slot_.load(), granted_cancellations_.load()};
        } while (grant.session != granted_session_.load());
        return grant;
    }

    /// What the control thread is to take up before its next session; nullptr: nothing new.
    [[nodiscard]] Renewal* takeRenewal() noexcept {
        // Reading first keeps the line shared between the two threads as long as there is nothing.
        return renewal_.load(std::memory_order_relaxed) == nullptr ? nullptr : renewal_.exchange(nullptr);
    }

    /// What a renewal has replaced, to be closed and freed on the link thread.
    void giveBack(Renewal* used) noexcept { delete used_.exchange(used); }

    /// The session has ended in damping: the next one gets a new data path.
    void distrustPath() noexcept { path_wanted_.store(true); }

    /// The first data path's lane; of those that come later the link thread knows.
    void watch(std::shared_ptr<const Lane> lane) {
        const std::lock_guard<std::mutex> lock(mutex_);
        lane_ = std::move(lane);
    }

    /// The control loop is watched, as hello says.
    void setWatched() noexcept { watched_.store(true); }

    /// While the policy moves the robot, hello is not renewed.
    void setMoving(bool moving) noexcept { moving_.store(moving, std::memory_order_relaxed); }

    /// Why there is nothing to activate, as of the newest hello; empty when there is.
    [[nodiscard]] std::string obstacle() {
        if (origin_.isAnotherProcess()) return kMadeBeforeFork;
        const std::lock_guard<std::mutex> lock(mutex_);
        return obstacle_;
    }

    /// What gaitd said in its newest hello; nothing before the first.
    [[nodiscard]] std::optional<Contract> newestContract() {
        if (origin_.isAnotherProcess()) return std::nullopt;
        const std::lock_guard<std::mutex> lock(mutex_);
        return contract_;
    }

    /// Exchanges hello, again and again until gaitd answers. Waits. Throws RefusedError or UnreachableError.
    Contract hello(std::chrono::milliseconds timeout) {
        if (origin_.isAnotherProcess()) throw RefusedError(Reason::Contract, kMadeBeforeFork);
        std::unique_lock<std::mutex> lock(mutex_);
        hello_contract_.reset();
        hello_error_ = nullptr;
        hello_wanted_.store(true);
        posts_.wake();
        const bool answered =
            changed_.wait_for(lock, timeout, [this] { return hello_contract_.has_value() || hello_error_ != nullptr; });
        if (!answered) {
            hello_wanted_.store(false);
            throw UnreachableError("gaitd did not answer hello on " + route_.endpoint(Channel::Control) + " within " +
                                   std::to_string(timeout.count()) + " ms: " + route_.advice());
        }
        if (hello_error_ != nullptr) std::rethrow_exception(hello_error_);
        delete renewal_.exchange(nullptr);  // Of an earlier hello.
        return *hello_contract_;
    }

    /// Waits for the end of a requested activation. Throws RefusedError or UnreachableError.
    void waitForActivation() {
        if (origin_.isAnotherProcess()) throw RefusedError(Reason::Contract, kMadeBeforeFork);
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return activation() != Activation::Pending; });
        if (activation() == Activation::Refused) std::rethrow_exception(activation_error_);
    }

    /// Why the last activation was refused; empty if it was not.
    [[nodiscard]] std::string activationError() {
        if (origin_.isAnotherProcess()) return kMadeBeforeFork;
        const std::lock_guard<std::mutex> lock(mutex_);
        try {
            if (activation_error_ != nullptr) std::rethrow_exception(activation_error_);
        } catch (const std::exception& error) {
            return error.what();
        }
        return {};
    }

private:
    enum class Step { None, Hello, Renew, HelloBeforeActivate, Activate, Select, HelloAfterSelect };
    static constexpr std::chrono::milliseconds kRefill{20};  // The pool lasts far longer.
    static constexpr std::chrono::milliseconds kRetry{2};    // While something could not be sent yet.

    void open() {
        zmq::socket_t dealer(context_, zmq::socket_type::dealer);
        dealer.set(zmq::sockopt::linger, 20);
        // Without a peer nothing is queued: an activate must never reach a gaitd that starts minutes later.
        dealer.set(zmq::sockopt::immediate, true);
        route_.connect(dealer, Channel::Control);
        dealer_ = std::move(dealer);
        reopen_ = false;
    }

    /// Without a file descriptor left the old socket stays, for requests to damp; it gets no step.
    void reopen() {
        try {
            open();
            open_error_.clear();
        } catch (const zmq::error_t& error) {
            open_error_ = error.what();
        }
    }

    void run() noexcept {
        while (!stop_.load()) {
            try {
                turn();
            } catch (const std::exception&) {
                // No memory or no file descriptor: the controller must live on. Requests time out and say so.
                std::this_thread::sleep_for(kRefill);
            }
        }
        try {
            sendPosts();
        } catch (const std::exception&) {
            return;  // gaitd notices by itself that the states end.
        }
    }

    void turn() {
        delete used_.exchange(nullptr);
        if (message_size_ != 0) pool_.fill(message_size_);
        sendPosts();
        const bool renewal_may_wait = posts_.activateIsWaiting() || posts_.selectIsWaiting() || hello_wanted_.load();
        if (step_ == Step::None || (step_ == Step::Renew && renewal_may_wait)) startNext();
        // First: whatever else fails, a request ends in time.
        if (step_ != Step::None && Clock::now() > step_deadline_) timeOut();
        if (reopen_) reopen();
        sendStep();
        wait();
        receive();
    }

    void wait() {
        std::array<zmq::pollitem_t, 2> items{
            {{dealer_.handle(), 0, ZMQ_POLLIN, 0}, {nullptr, posts_.wakeFd(), ZMQ_POLLIN, 0}}};
        const bool unsent = (step_ != Step::None && step_ != Step::Renew && !step_sent_) || posts_.dampingIsWaiting();
        zmq::poll(items.data(), items.size(), unsent ? kRetry : kRefill);
        posts_.clearWake();
    }

    bool send(const msgpack::sbuffer& request) {
        return dealer_.send(zmq::buffer(request.data(), request.size()), zmq::send_flags::dontwait).has_value();
    }

    void sendPosts() {
        if (const auto post = posts_.damping()) {
            const bool sent = send(control::damp(++last_id_, post->session, post->reason, post->detail));
            // Unsent: gaitd is away and its sessions with it, but it may only be reconnecting.
            if (!damp_tried_since_) damp_tried_since_ = Clock::now();
            if (sent || Clock::now() - *damp_tried_since_ > request_timeout_) {
                damp_tried_since_.reset();
                posts_.dampingIsDone();
            }
        }
        if (const std::uint64_t session = posts_.takeRelease(); session != 0) {
            send(control::release(++last_id_, session));
        }
    }

    void startNext() {
        if (posts_.dampingIsWaiting()) return;  // Damping goes out before a new session is asked for.
        if (hello_wanted_.load()) {
            start(Step::Hello);
        } else if (posts_.selectIsWaiting()) {
            selected_ = *posts_.takeSelect();
            selection_.store(Selection::Pending);
            start(Step::Select);
        } else if (posts_.takeActivate()) {
            activation_.store(Activation::Pending);
            // Hello again: this connection or this gaitd may be new, and the policy another one.
            start(Step::HelloBeforeActivate);
        } else if (renewalIsDue()) {
            start(Step::Renew);
        }
    }

    [[nodiscard]] bool renewalIsDue() {
        const Clock::time_point now = Clock::now();
        const bool renews = renew_.count() > 0 && !moving_.load(std::memory_order_relaxed) && now >= next_renewal_;
        if (renews || now < next_telling_) return renews;
        const auto newest = account_.newest();
        const bool tells = newest && !(*newest == told_);
        if (tells) next_telling_ = now + request_timeout_;  // Whatever becomes of it.
        return tells;
    }

    void start(Step step) {
        step_ = step;
        step_sent_ = false;
        step_deadline_ = Clock::now() + request_timeout_;
    }

    void sendStep() {
        if (step_ == Step::None || step_sent_ || reopen_) return;
        step_id_ = ++last_id_;
        if (step_ == Step::Activate) {
            step_sent_ = send(control::activate(step_id_));
            return;
        }
        if (step_ == Step::Select) {
            step_sent_ = send(control::select(step_id_, selected_));
            return;
        }
        telling_ = account_.newest().value_or(told_);
        step_sent_ = send(control::hello(step_id_, introduction_, telling_, watched_.load()));
    }

    void receive() {
        zmq::message_t message;
        while (dealer_.recv(message, zmq::recv_flags::dontwait)) {
            control::Reply reply;
            if (!control::parseReply(message.data(), message.size(), reply)) continue;
            if (step_ == Step::None || !step_sent_ || reply.id != step_id_) continue;
            if (step_ != Step::Activate && step_ != Step::Select) told_ = telling_;
            try {
                handle(reply);
            } catch (const RefusedError& error) {
                fail(error);
            } catch (const UnreachableError& error) {
                fail(error);
            } catch (const zmq::error_t& error) {
                fail(UnreachableError(std::string("no new data path: ") + error.what()));
            }
        }
    }

    void handle(const control::Reply& reply) {
        if (step_ == Step::Activate) {
            if (!reply.ok) throw control::refusal(reply);
            const auto session = control::value<std::uint64_t>(reply.body, "session");
            const auto epoch = control::value<std::uint64_t>(reply.body, "epoch");
            const auto slot = control::value<std::uint8_t>(reply.body, "slot");
            if (slot >= kMaxSlots) throw control::unusable("`slot` is " + std::to_string(slot));
            granted_cancellations_.store(posts_.activateCancellations());
            granted_epoch_.store(epoch);
            granted_slot_.store(slot);
            granted_session_.store(session);
            const std::lock_guard<std::mutex> lock(mutex_);
            return endActivation(Activation::Granted, nullptr);
        }
        if (step_ == Step::Select) {
            if (!reply.ok) throw control::refusal(reply);
            if (control::value<std::uint64_t>(reply.body, "session") != 0) return finishSelection();
            start(Step::HelloAfterSelect);  // Between sessions: what the next one begins with has another contract.
            return sendStep();
        }
        Contract contract = control::parseContract(reply, introduction_.joints, introduction_.inputs);
        if (step_ == Step::HelloAfterSelect) {
            renew(std::move(contract));
            return finishSelection();
        }
        if (step_ == Step::Hello) return finishHello(std::move(contract));
        if (step_ == Step::Renew && renew_.count() == 0) return finishTelling();
        if (step_ == Step::Renew) return finishRenewal(std::move(contract));
        if (renew_.count() == 0) {
            if (!contract_) throw RefusedError(Reason::Contract, "activate before hello: call hello() first");
            if (const std::string difference = control::difference(contract, *contract_); !difference.empty()) {
                throw RefusedError(Reason::Contract, "gaitd now runs " + difference + ": call hello() again");
            }
        }
        if (posts_.activateCancellations() != posts_.cancellations()) {
            step_ = Step::Activate;  // Nothing is wrong with what hello said.
            throw RefusedError(Reason::Operator, "cancelled while activating");
        }
        renew(std::move(contract));
        start(Step::Activate);
        sendStep();
    }

    /// There is none yet, or gaitd has ended, or another one runs: what is published there reaches nobody.
    [[nodiscard]] bool needsLane() {
        if (transport_ != Transport::Shm) return false;
        const std::lock_guard<std::mutex> lock(mutex_);
        return lane_ == nullptr || lane_->isGone();
    }

    /// Has the control thread begin its next session with this contract, and with a data path that is not in doubt.
    void renew(Contract contract) {
        const bool another = !contract_ || !control::difference(contract, *contract_).empty();
        if (another || needsLane() || (step_ == Step::HelloBeforeActivate && path_wanted_.load())) {
            auto path = std::make_unique<DataPath>(context_, route_, transport_);
            path->connect(route_, contract.endpoints);
            watch(path->lane());
            path_wanted_.store(false);
            resizeMessages(contract);
            delete renewal_.exchange(new Renewal{contract, std::move(path)});
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        contract_ = std::move(contract);
        obstacle_.clear();
    }

    void timeOut() {
        // A new socket forgets the request: neither it nor its late answer may come back.
        reopen_ = true;
        fail(UnreachableError("gaitd did not answer on " + route_.endpoint(Channel::Control) + " within " +
                              std::to_string(request_timeout_.count()) + " ms: " +
                              (open_error_.empty() ? route_.advice() : "no new socket: " + open_error_)));
    }

    template <class Error>
    void fail(const Error& error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (step_ == Step::Select || step_ == Step::HelloAfterSelect) {
            selection_error_ = error.what();
            return endSelection(Selection::Refused);
        }
        if (step_ != Step::Activate) obstacle_ = error.what();
        if (step_ == Step::HelloBeforeActivate || step_ == Step::Activate) {
            return endActivation(Activation::Refused, std::make_exception_ptr(error));
        }
        if (step_ == Step::Hello && std::is_same_v<Error, UnreachableError>) {
            step_ = Step::None;  // Tried again while hello() waits.
            return;
        }
        if (step_ == Step::Hello) hello_error_ = std::make_exception_ptr(error);
        endStep();
    }

    [[nodiscard]] bool sendsLinearVelocity() const {
        const auto& fields = introduction_.fields;
        return std::find(fields.begin(), fields.end(), "linear_velocity") != fields.end();
    }

    void resizeMessages(const Contract& contract) {
        const std::size_t joints = introduction_.joints.size();
        message_size_ = introduction_.message == MessageType::RawObservation
                            ? rawObservationSize(joints, contract.observation_dim)
                            : stateSize(joints, sendsLinearVelocity(), contract.inputSizes());
        pool_.fill(message_size_);
    }

    void finishHello(Contract contract) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (hello_wanted_.load()) {
                resizeMessages(contract);
                contract_ = contract;
                obstacle_.clear();
                hello_contract_ = std::move(contract);
                return endStep();
            }
        }
        finishRenewal(std::move(contract));  // hello() has given up meanwhile.
    }

    /// What gaitd said is not taken up.
    void finishTelling() {
        const std::lock_guard<std::mutex> lock(mutex_);
        obstacle_.clear();
        endStep();
    }

    void finishRenewal(Contract contract) {
        renew(std::move(contract));
        const std::lock_guard<std::mutex> lock(mutex_);
        endStep();
    }

    /// With the mutex held.
    void endActivation(Activation result, std::exception_ptr error) {
        activation_error_ = std::move(error);
        // Asked for again meanwhile: that one is still to come.
        activation_.store(posts_.activateIsWaiting() ? Activation::Pending : result);
        endStep();
    }

    void finishSelection() {
        const std::lock_guard<std::mutex> lock(mutex_);
        selection_error_.clear();
        endSelection(Selection::Granted);
    }

    /// With the mutex held.
    void endSelection(Selection result) {
        selection_.store(posts_.selectIsWaiting() ? Selection::Pending : result);
        endStep();
    }

    /// With the mutex held.
    void endStep() {
        if (step_ == Step::Hello) hello_wanted_.store(false);
        step_ = Step::None;
        next_renewal_ = Clock::now() + renew_;
        changed_.notify_all();
    }

    zmq::context_t& context_;
    const Route route_;
    const Transport transport_;
    const control::Introduction introduction_;
    const std::chrono::milliseconds request_timeout_;
    const std::chrono::milliseconds renew_;
    const Account& account_;
    MessagePool& pool_;
    Posts posts_;
    Origin origin_;

    // Of the link thread alone.
    zmq::socket_t dealer_;
    std::string open_error_;
    bool reopen_ = false;  ///< dealer_ has an unanswered request; a new one could not be opened yet.
    std::size_t message_size_ = 0;
    Step step_ = Step::None;
    bool step_sent_ = false;
    std::uint64_t step_id_ = 0;
    std::uint64_t last_id_ = 0;
    Clock::time_point step_deadline_;
    std::optional<Clock::time_point> damp_tried_since_;
    Clock::time_point next_renewal_;
    Clock::time_point next_telling_;
    AccountEntry telling_;  ///< In the hello that is under way.
    std::string selected_;  ///< What the step under way asks for.
    AccountEntry told_;     ///< In the newest one that was answered.

    std::atomic<bool> stop_{false};
    std::atomic<bool> hello_wanted_{false};
    std::atomic<Activation> activation_{Activation::None};
    std::atomic<Selection> selection_{Selection::None};
    std::atomic<std::uint64_t> granted_session_{0};
    std::atomic<std::uint64_t> granted_epoch_{0};
    std::atomic<std::uint8_t> granted_slot_{0};
    std::atomic<std::uint64_t> granted_cancellations_{0};
    std::atomic<Renewal*> renewal_{nullptr};
    std::atomic<Renewal*> used_{nullptr};
    std::atomic<bool> path_wanted_{false};
    std::atomic<bool> moving_{false};
    std::atomic<bool> watched_{false};
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Contract> contract_;  ///< The newest; only the link thread writes it.
    std::string obstacle_ = "gaitd has not answered hello yet";
    std::optional<Contract> hello_contract_;
    std::exception_ptr hello_error_;
    std::exception_ptr activation_error_;
    std::string selection_error_;
    std::shared_ptr<const Lane> lane_;  ///< Of the newest data path.

    std::thread thread_;
};

}  // namespace gaitd
