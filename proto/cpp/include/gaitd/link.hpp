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
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <pthread.h>
#include <zmq.hpp>

#include <gaitd/codec.hpp>
#include <gaitd/control.hpp>
#include <gaitd/errors.hpp>
#include <gaitd/pool.hpp>

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

class Link {
public:
    using Clock = std::chrono::steady_clock;

    /// A session that gaitd granted; `epoch` tells whether it was cancelled meanwhile.
    struct Grant {
        std::uint64_t session;
        std::uint64_t epoch;
    };

    Link(zmq::context_t& context, std::string endpoint, control::Introduction introduction,
         std::chrono::milliseconds request_timeout, MessagePool& pool)
        : context_(context),
          endpoint_(std::move(endpoint)),
          introduction_(std::move(introduction)),
          request_timeout_(request_timeout),
          pool_(pool) {
        if (introduction_.message == MessageType::State) {
            const auto& fields = introduction_.fields;
            const bool velocity = std::find(fields.begin(), fields.end(), "linear_velocity") != fields.end();
            message_size_ = stateSize(introduction_.joints.size(), velocity);
            pool_.fill(message_size_);
        }
        open();
        thread_ = std::thread([this] { run(); });
        pthread_setname_np(thread_.native_handle(), "gaitd-link");
    }

    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    ~Link() {
        stop_.store(true);
        thread_.join();
    }

    // ---- from any thread: posts that neither wait nor allocate ----

    void requestActivate() noexcept {
        wanted_epoch_.store(epoch());
        activation_.store(Activation::Pending);
        activate_wanted_.store(true);
    }

    /// From now on an activation requested before does not count.
    void cancelActivation() noexcept { epoch_.fetch_add(1); }

    void requestRelease(std::uint64_t session) noexcept {
        if (session != 0) release_wanted_.store(session);
    }

    /// One post at a time: while an earlier one is under way, gaitd is about to damp anyway.
    void requestDamping(std::uint64_t session, Reason reason, std::string_view detail) noexcept {
        int free = kFree;
        if (!damp_state_.compare_exchange_strong(free, kWriting)) return;
        damp_session_ = session;
        damp_reason_ = reason;
        damp_detail_size_ = std::min(detail.size(), damp_detail_.size());
        std::copy_n(detail.begin(), damp_detail_size_, damp_detail_.begin());
        damp_state_.store(kPosted);
    }

    [[nodiscard]] Activation activation() const noexcept { return activation_.load(); }
    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_.load(); }
    [[nodiscard]] Grant grant() const noexcept {
        const std::uint64_t session = granted_session_.load();
        return {session, granted_epoch_.load()};
    }

    // ---- blocking, for start-up ----

    /// Exchanges hello, again and again until gaitd answers. Throws RefusedError or UnreachableError.
    Contract hello(std::chrono::milliseconds timeout) {
        std::unique_lock<std::mutex> lock(mutex_);
        hello_contract_.reset();
        hello_error_ = nullptr;
        hello_wanted_.store(true);
        const bool answered =
            changed_.wait_for(lock, timeout, [this] { return hello_contract_.has_value() || hello_error_ != nullptr; });
        if (!answered) {
            hello_wanted_.store(false);
            throw UnreachableError("gaitd did not answer hello on " + endpoint_ + " within " +
                                   std::to_string(timeout.count()) +
                                   " ms: is it running, and may this user open its sockets?");
        }
        if (hello_error_ != nullptr) std::rethrow_exception(hello_error_);
        return *hello_contract_;
    }

    /// Waits for the end of a requested activation. Throws RefusedError or UnreachableError.
    void waitForActivation() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return activation() != Activation::Pending; });
        if (activation() == Activation::Refused && activation_error_ != nullptr) {
            std::rethrow_exception(activation_error_);
        }
    }

    /// Why the last activation was refused; empty if it was not.
    [[nodiscard]] std::string activationError() {
        const std::lock_guard<std::mutex> lock(mutex_);
        try {
            if (activation_error_ != nullptr) std::rethrow_exception(activation_error_);
        } catch (const std::exception& error) {
            return error.what();
        }
        return {};
    }

private:
    enum class Step { None, Hello, HelloBeforeActivate, Activate };
    static constexpr int kFree = 0;
    static constexpr int kWriting = 1;
    static constexpr int kPosted = 2;
    static constexpr std::chrono::milliseconds kRound{2};

    void open() {
        dealer_ = zmq::socket_t(context_, zmq::socket_type::dealer);
        dealer_.set(zmq::sockopt::linger, 20);
        dealer_.set(zmq::sockopt::reconnect_ivl, 5);
        // Without a peer nothing is queued: an activate must never reach a gaitd that starts minutes later.
        dealer_.set(zmq::sockopt::immediate, true);
        dealer_.connect(endpoint_);
    }

    void run() {
        while (!stop_.load()) {
            if (const std::size_t size = message_size_; size != 0) pool_.fill(size);
            sendPosts();
            if (step_ == Step::None) startNext();
            receive();
            if (step_ != Step::None && Clock::now() > step_deadline_) timeOut();
        }
        sendPosts();
    }

    bool send(const msgpack::sbuffer& request) {
        return dealer_.send(zmq::buffer(request.data(), request.size()), zmq::send_flags::dontwait).has_value();
    }

    void sendPosts() {
        if (damp_state_.load() == kPosted) {
            const std::string detail(damp_detail_.data(), damp_detail_size_);
            const bool sent = send(control::damp(++last_id_, damp_session_, damp_reason_, detail));
            // Unsent: gaitd is away and its sessions with it, but it may only be reconnecting.
            if (!damp_tried_since_) damp_tried_since_ = Clock::now();
            if (sent || Clock::now() - *damp_tried_since_ > request_timeout_) {
                damp_tried_since_.reset();
                damp_state_.store(kFree);
            }
        }
        if (const std::uint64_t session = release_wanted_.exchange(0); session != 0) {
            send(control::release(++last_id_, session));
        }
    }

    void startNext() {
        if (damp_state_.load() != kFree) return;  // Damping goes out before a new session is asked for.
        if (hello_wanted_.load()) {
            step_ = Step::Hello;
        } else if (activate_wanted_.exchange(false)) {
            // Hello again: this connection or this gaitd may be new, and the policy another one.
            step_ = Step::HelloBeforeActivate;
        } else {
            return;
        }
        step_sent_ = false;
        step_deadline_ = Clock::now() + request_timeout_;
        sendStep();
    }

    void sendStep() {
        if (step_ == Step::None || step_sent_) return;
        step_id_ = ++last_id_;
        step_sent_ = send(step_ == Step::Activate ? control::activate(step_id_) : control::hello(step_id_, introduction_));
    }

    void receive() {
        sendStep();
        zmq::pollitem_t item{dealer_.handle(), 0, ZMQ_POLLIN, 0};
        zmq::poll(&item, 1, kRound);
        zmq::message_t message;
        while (dealer_.recv(message, zmq::recv_flags::dontwait)) {
            control::Reply reply;
            if (!control::parseReply(message.data(), message.size(), reply)) continue;
            if (step_ == Step::None || !step_sent_ || reply.id != step_id_) continue;
            try {
                handle(reply);
            } catch (const RefusedError&) {
                fail(std::current_exception());
            }
        }
    }

    void handle(const control::Reply& reply) {
        if (step_ == Step::Activate) {
            if (!reply.ok) throw control::refusal(reply);
            granted_epoch_.store(wanted_epoch_.load());
            granted_session_.store(control::value<std::uint64_t>(reply.body, "session"));
            finishActivation(Activation::Granted, nullptr);
            return;
        }
        Contract contract = control::parseContract(reply, introduction_.joints.size());
        if (step_ == Step::Hello) {
            if (introduction_.message == MessageType::RawObservation) {
                message_size_ = rawObservationSize(introduction_.joints.size(), contract.observation_dim);
                pool_.fill(message_size_);
            }
            const std::lock_guard<std::mutex> lock(mutex_);
            contract_ = contract;
            hello_contract_ = std::move(contract);
            hello_wanted_.store(false);
            step_ = Step::None;
            changed_.notify_all();
            return;
        }
        if (!contract_) throw RefusedError(Reason::Contract, "activate before hello: call hello() first");
        if (contract.policy_id != contract_->policy_id || contract.period_ns != contract_->period_ns ||
            contract.deadline_ns != contract_->deadline_ns) {
            throw RefusedError(Reason::Contract, "gaitd now runs policy " + contract.policy_name + " (" +
                                                     contract.policy_id + ") instead of " + contract_->policy_name +
                                                     " (" + contract_->policy_id + "): call hello() again");
        }
        if (wanted_epoch_.load() != epoch()) throw RefusedError(Reason::Operator, "cancelled while activating");
        step_ = Step::Activate;
        step_sent_ = false;
        sendStep();
    }

    void timeOut() {
        // A new socket forgets the request: neither it nor its late answer may come back.
        open();
        if (step_ == Step::Hello) {
            step_ = Step::None;  // Tried again while hello() waits.
            return;
        }
        fail(std::make_exception_ptr(UnreachableError("gaitd did not answer on " + endpoint_ + " within " +
                                                      std::to_string(request_timeout_.count()) +
                                                      " ms: is it running?")));
    }

    void fail(std::exception_ptr error) {
        if (step_ != Step::Hello) return finishActivation(Activation::Refused, std::move(error));
        const std::lock_guard<std::mutex> lock(mutex_);
        hello_error_ = std::move(error);
        hello_wanted_.store(false);
        step_ = Step::None;
        changed_.notify_all();
    }

    void finishActivation(Activation result, std::exception_ptr error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        activation_error_ = std::move(error);
        // Asked for again meanwhile: that one is still to come.
        activation_.store(activate_wanted_.load() ? Activation::Pending : result);
        step_ = Step::None;
        changed_.notify_all();
    }

    zmq::context_t& context_;
    const std::string endpoint_;
    const control::Introduction introduction_;
    const std::chrono::milliseconds request_timeout_;
    MessagePool& pool_;

    // Of the link thread alone.
    zmq::socket_t dealer_;
    std::size_t message_size_ = 0;
    std::optional<Contract> contract_;
    Step step_ = Step::None;
    bool step_sent_ = false;
    std::uint64_t step_id_ = 0;
    std::uint64_t last_id_ = 0;
    Clock::time_point step_deadline_;
    std::optional<Clock::time_point> damp_tried_since_;

    // Posts.
    std::atomic<bool> stop_{false};
    std::atomic<bool> hello_wanted_{false};
    std::atomic<bool> activate_wanted_{false};
    std::atomic<std::uint64_t> release_wanted_{0};
    std::atomic<std::uint64_t> epoch_{0};
    std::atomic<std::uint64_t> wanted_epoch_{0};
    std::atomic<int> damp_state_{kFree};
    std::uint64_t damp_session_ = 0;
    Reason damp_reason_ = Reason::None;
    std::array<char, 128> damp_detail_{};
    std::size_t damp_detail_size_ = 0;

    // Results.
    std::atomic<Activation> activation_{Activation::None};
    std::atomic<std::uint64_t> granted_session_{0};
    std::atomic<std::uint64_t> granted_epoch_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Contract> hello_contract_;
    std::exception_ptr hello_error_;
    std::exception_ptr activation_error_;

    std::thread thread_;
};

}  // namespace gaitd
