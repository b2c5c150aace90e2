// Who is measured by echo_bench. Each has publish(seq, now_ns), wait(limit) and newest(): the newest seq answered.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <future>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gaitd/client.hpp>
#include <gaitd/embedded/client.hpp>
#include <gaitd/explain.hpp>

#include "bare_onnx.hpp"
#include "options.hpp"
#include "remote_options.hpp"

/// The Lite3's joints, or as many as --joints says, named joint_0 and on.
inline std::vector<std::string> jointsOf(const Options& options) {
    std::vector<std::string> names;
    if (options.has("--joints")) {
        for (int i = 0; i < options.integer("--joints", 0); ++i) names.push_back("joint_" + std::to_string(i));
        return names;
    }
    for (const char* leg : {"FL", "FR", "HL", "HR"}) {
        for (const char* joint : {"HipX", "HipY", "Knee"}) names.push_back(std::string(leg) + "_" + joint + "_joint");
    }
    return names;
}

/// Of gaitd's messages for those joints.
struct Sizes {
    explicit Sizes(const Options& options)
        : state(gaitd::stateSize(jointsOf(options).size(), false)),
          command(gaitd::commandSizeBound(jointsOf(options).size(), jointsOf(options).size())) {}
    std::size_t state;
    std::size_t command;
};

inline std::string endpoint(const Options& options, const char* name) {
    return "ipc://" + options.text("--endpoint-dir", "/run/gaitd") + "/" + name + ".sock";
}

inline void warn(const std::optional<std::string>& refused) {
    if (refused) std::cerr << "warning: " << *refused << '\n';
}

/// Before the first socket of `context`, as gaitd does for its own: its I/O thread has the priority and is not pinned.
inline void setUpThreads(const Options& options, zmq::context_t* context) {
    const int priority = options.integer("--priority", 0);
    const int cpu = options.integer("--cpu", -1);
    if (priority > 0) {
        const auto refused = gaitd::realtime::useFifo(priority);
        warn(refused);
        if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) warn("mlockall refused");
        if (!refused && context != nullptr) {
            context->set(zmq::ctxopt::thread_sched_policy, SCHED_FIFO);
            context->set(zmq::ctxopt::thread_priority, priority);
        }
    }
    if (context != nullptr) zmq::socket_t(*context, zmq::socket_type::pair);  // Starts the I/O thread.
    if (cpu >= 0) warn(gaitd::realtime::pinTo(cpu));
}

/// A session ended; beginAnew(seq) starts another one.
struct Damped {};

/// The sockets of the client, without anything else of it.
class BareContender {
public:
    explicit BareContender(const Options& options) : sizes_(options) {
        setUpThreads(options, &context_);
        state_ = zmq::socket_t(context_, zmq::socket_type::pub);
        state_.set(zmq::sockopt::linger, 0);
        state_.set(zmq::sockopt::sndhwm, 64);
        state_.connect(endpoint(options, "state"));
        command_ = zmq::socket_t(context_, zmq::socket_type::sub);
        command_.set(zmq::sockopt::conflate, true);
        command_.set(zmq::sockopt::subscribe, "");
        command_.connect(endpoint(options, "command"));
        for (int i = 0; newest() == 0; ++i) {
            if (i == 500) throw std::runtime_error("no answer from `echo_bench serve`");
            publish(1, 0);
            wait(std::chrono::milliseconds(10));
        }
    }

    void publish(std::uint64_t seq, std::uint64_t) {
        zmq::message_t message(sizes_.state);
        std::memcpy(message.data(), &seq, sizeof(seq));
        state_.send(message, zmq::send_flags::dontwait);
    }

    void wait(std::chrono::milliseconds limit) {
        zmq_pollitem_t item{command_.handle(), 0, ZMQ_POLLIN, 0};
        zmq_poll(&item, 1, static_cast<long>(limit.count()));
    }

    std::uint64_t newest() {
        zmq::message_t message;
        std::uint64_t seq = 0;
        while (command_.recv(message, zmq::recv_flags::dontwait)) {
            if (message.size() == sizes_.command) std::memcpy(&seq, message.data(), sizeof(seq));
        }
        return seq;
    }

private:
    const Sizes sizes_;
    zmq::context_t context_;
    zmq::socket_t state_;
    zmq::socket_t command_;
};

/// Inference in this very thread: no process, no socket, no check between state and action.
class InProcessContender {
public:
    explicit InProcessContender(const Options& options) : model_((setUpThreads(options, nullptr), options)) {}

    void publish(std::uint64_t seq, std::uint64_t) {
        model_.infer(seq);
        newest_ = seq;
    }
    void wait(std::chrono::milliseconds) {}
    [[nodiscard]] std::uint64_t newest() const noexcept { return newest_; }

private:
    BareOnnx model_;
    std::uint64_t newest_ = 0;
};


/// The same in a thread of its own, which looks every 100 us whether a state has come, as controllers have it that must
/// not stand still for a model.
class ThreadContender {
public:
    explicit ThreadContender(const Options& options) : wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        setUpThreads(options, nullptr);
        std::promise<void> ready;
        thread_ = std::thread([&] {
            try {
                if (const int cpu = options.integer("--io-cpu", -1); cpu >= 0) warn(gaitd::realtime::pinTo(cpu));
                model_.emplace(options);
                ready.set_value();
            } catch (...) {
                return ready.set_exception(std::current_exception());
            }
            run();
        });
        try {
            ready.get_future().get();
        } catch (...) {
            thread_.join();
            throw;
        }
    }
    ThreadContender(const ThreadContender&) = delete;
    ThreadContender& operator=(const ThreadContender&) = delete;
    ~ThreadContender() {
        stop_.store(true);
        thread_.join();
        close(wake_);
    }

    void publish(std::uint64_t seq, std::uint64_t) { asked_.store(seq); }
    void wait(std::chrono::milliseconds limit) const {
        pollfd item{wake_, POLLIN, 0};
        eventfd_t count = 0;
        if (poll(&item, 1, static_cast<int>(limit.count())) > 0) static_cast<void>(eventfd_read(wake_, &count));
    }
    [[nodiscard]] std::uint64_t newest() const noexcept { return answered_.load(); }

private:
    void run() {
        while (!stop_.load()) {
            const std::uint64_t seq = asked_.load();
            if (seq == answered_.load()) {
                std::this_thread::sleep_for(std::chrono::microseconds(100));
                continue;
            }
            model_->infer(seq);
            answered_.store(seq);
            static_cast<void>(eventfd_write(wake_, 1));
        }
    }

    const int wake_;
    std::atomic<std::uint64_t> asked_{0};
    std::atomic<std::uint64_t> answered_{0};
    std::atomic<bool> stop_{false};
    std::optional<BareOnnx> model_;
    std::thread thread_;
};

/// What gaitd::Client and gaitd::EmbeddedClient are made from.
inline gaitd::Config clientConfig(const Options& options) {
    gaitd::Config config;
    config.endpoint_dir = options.text("--endpoint-dir", config.endpoint_dir);
    config.remote = remoteOf(options);
    config.transport = transportOf(options);
    config.controller = "echo_bench";
    config.io_priority = options.integer("--priority", 0);
    config.io_cpu = options.integer("--io-cpu", -1);
    config.joints = jointsOf(options);
    return config;
}

inline gaitd::EmbeddedConfig embeddedConfig(const Options& options) {
    gaitd::EmbeddedConfig config;
    config.policy = gaitd::policy::loadCompiled(options.text("--policy", "policy.gaitdc"));
    config.backend.library = options.text("--onnxruntime", "");
    config.joints = jointsOf(options);
    config.priority = options.integer("--priority", 0);
    config.cpu = options.integer("--io-cpu", -1);
    return config;
}

/// A client in a session; the robot stands and its sensors are a little noisy.
template <class Client>
class ClientContender {
public:
    template <class Config>
    ClientContender(const Options& options, Config config) : joints_(jointsOf(options)), client_(std::move(config)) {
        setUpThreads(options, nullptr);
        const gaitd::Contract& contract = client_.hello(std::chrono::seconds(30));
        for (const std::string& warning : client_.warnings()) std::cerr << "warning: " << warning << '\n';
        state_.joint_position = contract.default_joint_position;
        state_.linear_acceleration = {0.0F, 0.0F, 9.81F};
        beginAnew(0);
    }
    ~ClientContender() {
        client_.requestRelease();
        client_.command(gaitd::monotonicNow_ns());
    }
    ClientContender(const ClientContender&) = delete;
    ClientContender& operator=(const ClientContender&) = delete;

    void publish(std::uint64_t seq, std::uint64_t now_ns) {
        state_.stamp_ns = now_ns;
        state_.angular_velocity[0] = 0.01F * static_cast<float>(seq % 7);
        client_.publish(state_);
    }

    void wait(std::chrono::milliseconds limit) { client_.wait(limit); }

    /// A new session, whose first state is the next one published; `seq` were published before.
    void beginAnew(std::uint64_t seq) {
        before_ = seq;
        for (int i = 0;; ++i) {
            try {
                return activate();
            } catch (const std::runtime_error&) {
                if (i == 1200) throw;
                std::this_thread::sleep_for(std::chrono::milliseconds(50));  // A fresh worker is on its way.
            }
        }
    }

    std::uint64_t newest() {
        const gaitd::JointCommand& command = client_.command(gaitd::monotonicNow_ns());
        if (command.mode == gaitd::Mode::Damping && client_.session() != damped_) {
            // The machine stood still for longer than the deadline: what was under way is lost, and counted.
            std::cerr << "damping: " << gaitd::explain(command, joints_) << '\n';
            damped_ = client_.session();
            throw Damped();
        }
        return command.mode == gaitd::Mode::Active ? before_ + command.seq : 0;
    }

    [[nodiscard]] std::uint64_t period_ns() const { return client_.contract().period_ns; }

private:
    void activate() {
        client_.requestActivate();
        while (client_.activation() == gaitd::Activation::Pending) {
            client_.command(gaitd::monotonicNow_ns());
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        if (client_.activation() == gaitd::Activation::Refused) throw std::runtime_error(client_.activationError());
    }

    const std::vector<std::string> joints_;
    Client client_;
    gaitd::RobotState state_;
    std::uint64_t before_ = 0;  ///< Published before the session began.
    std::uint64_t damped_ = 0;
};

/// A policy server as people write it: a request with the observation as a list of floats, an answer with the action.
class RequestContender {
public:
    explicit RequestContender(const Options& options) {
        setUpThreads(options, &context_);
        socket_ = zmq::socket_t(context_, zmq::socket_type::req);
        socket_.set(zmq::sockopt::linger, 0);
        socket_.connect(endpoint(options, "policy"));
        for (int i = 0; newest() == 0; ++i) {
            if (i == 2000) throw std::runtime_error("no answer from the policy server");
            publish(1, 0);
            wait(std::chrono::milliseconds(10));
        }
    }

    /// Nothing while an answer is outstanding: the socket allows no second request.
    void publish(std::uint64_t seq, std::uint64_t) {
        if (asked_ != 0) return;
        buffer_.clear();
        msgpack::packer<msgpack::sbuffer> packer(buffer_);
        packer.pack_map(2);
        packer.pack(std::string("observation"));
        packer.pack(std::vector<double>(kObservation, 0.01 * static_cast<double>(seq % 7)));
        packer.pack(std::string("seq"));
        packer.pack(seq);
        if (socket_.send(zmq::buffer(buffer_.data(), buffer_.size()), zmq::send_flags::dontwait)) asked_ = seq;
    }

    void wait(std::chrono::milliseconds limit) {
        zmq_pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
        zmq_poll(&item, 1, static_cast<long>(limit.count()));
    }

    std::uint64_t newest() {
        zmq::message_t message;
        if (asked_ == 0 || !socket_.recv(message, zmq::recv_flags::dontwait)) return 0;
        const auto handle = msgpack::unpack(message.data<char>(), message.size());
        const auto action = handle.get().as<std::map<std::string, std::vector<double>>>().at("action");
        return !action.empty() ? std::exchange(asked_, 0) : 0;
    }

private:
    static constexpr std::size_t kObservation = 45;

    zmq::context_t context_;
    zmq::socket_t socket_;
    msgpack::sbuffer buffer_;
    std::uint64_t asked_ = 0;
};
