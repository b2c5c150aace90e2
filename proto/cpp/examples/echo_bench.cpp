// Measures round trips: a bare C++ <-> C++ ZeroMQ echo (roles `serve` and `bare`) and this client with a running gaitd
// (role `gaitd`), at the same message sizes, the same pace and with the same way of waiting.
//
// One run is one short block and prints one line of JSON, so that a script can run the contenders in turns.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <time.h>

#include <gaitd/client.hpp>
#include <gaitd/explain.hpp>

#include "options.hpp"
#include "remote_options.hpp"

namespace {

constexpr std::size_t kJoints = 12;
constexpr std::size_t kStateBytes = gaitd::stateSize(kJoints, false);
constexpr std::size_t kCommandBytes = gaitd::commandSizeBound(kJoints, kJoints);

const char* const kUsage = R"(usage: echo_bench serve|bare|gaitd [options]
  serve   answers every message with one of a command's size until it is stopped
  bare    measures against `serve`
  gaitd   measures against a running gaitd (a Lite3 policy)
  --endpoint-dir DIR   (default /run/gaitd)
  --robot HOST[:PORT]  (role gaitd) over TCP instead, with --server-key FILE and --key FILE
  --transport zmq|shm  (role gaitd) how states and commands travel (default zmq)
  --rate HZ            round trips per second (default 1 / the control period, 83.3)
  --count N            round trips that are measured (default 500)
  --warm-up N          round trips before those (default 50)
  --priority N         SCHED_FIFO priority of this program's threads
  --cpu N              pin the measuring thread
  --samples FILE       append every latency in microseconds, one a line
)";

volatile std::sig_atomic_t stop_requested = 0;

std::string endpoint(const Options& options, const char* name) {
    return "ipc://" + options.text("--endpoint-dir", "/run/gaitd") + "/" + name + ".sock";
}

void warn(const std::optional<std::string>& refused) {
    if (refused) std::cerr << "warning: " << *refused << '\n';
}

/// Before the first socket of `context`, as gaitd does for its own.
void setUpThreads(const Options& options, zmq::context_t* context) {
    const int priority = options.integer("--priority", 0);
    const int cpu = options.integer("--cpu", -1);
    if (cpu >= 0) warn(gaitd::realtime::pinTo(cpu));
    if (priority <= 0) return;
    const auto refused = gaitd::realtime::useFifo(priority);
    warn(refused);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) warn("mlockall refused");
    if (refused || context == nullptr) return;
    context->set(zmq::ctxopt::thread_sched_policy, SCHED_FIFO);
    context->set(zmq::ctxopt::thread_priority, priority);
}

/// Round trips at a fixed pace. A contender has publish(seq), wait(limit) and newest(): the newest seq answered.
template <class Contender>
int measure(Contender& contender, const char* name, double rate_hz, const Options& options) {
    const auto warm_up = static_cast<std::uint64_t>(options.integer("--warm-up", 50));
    const auto count = static_cast<std::uint64_t>(options.integer("--count", 500));
    const auto period_ns = static_cast<std::uint64_t>(std::llround(1e9 / rate_hz));
    std::vector<std::uint64_t> sent_ns(warm_up + count + 1);
    std::vector<double> latency_us;
    latency_us.reserve(count);
    std::uint64_t answered = 0;
    std::uint64_t next_ns = gaitd::monotonicNow_ns() + period_ns;
    for (std::uint64_t seq = 1; seq <= warm_up + count; ++seq, next_ns += period_ns) {
        const timespec wake{static_cast<time_t>(next_ns / 1'000'000'000), static_cast<long>(next_ns % 1'000'000'000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr);
        sent_ns[seq] = gaitd::monotonicNow_ns();
        contender.publish(seq, sent_ns[seq]);
        // Until the answer, or until shortly before the next one is due; a late answer counts when it comes.
        while (answered < seq) {
            const std::uint64_t now_ns = gaitd::monotonicNow_ns();
            const std::uint64_t end_ns = next_ns + period_ns - std::min<std::uint64_t>(period_ns / 4, 500'000);
            if (now_ns >= end_ns) break;
            contender.wait(std::chrono::milliseconds(1));
            const std::uint64_t newest = contender.newest();
            if (newest <= answered || newest > seq) continue;
            answered = newest;
            if (newest > warm_up) {
                latency_us.push_back(static_cast<double>(gaitd::monotonicNow_ns() - sent_ns[newest]) / 1000.0);
            }
        }
    }
    std::sort(latency_us.begin(), latency_us.end());
    const auto quantile = [&](double part) {
        if (latency_us.empty()) return 0.0;
        const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(latency_us.size())));
        return latency_us[std::max<std::size_t>(rank, 1) - 1];
    };
    std::cout << "{\"contender\": \"" << name << "\", \"rate_hz\": " << rate_hz << ", \"count\": " << count
              << ", \"p50_us\": " << quantile(0.5) << ", \"p99_us\": " << quantile(0.99)
              << ", \"p999_us\": " << quantile(0.999) << ", \"max_us\": " << quantile(1.0)
              << ", \"lost\": " << count - latency_us.size() << "}" << std::endl;
    if (options.has("--samples")) {
        std::ofstream file(options.text("--samples", ""), std::ios::app);
        for (const double latency : latency_us) file << latency << '\n';
        if (!file.flush()) throw std::runtime_error("cannot write " + options.text("--samples", ""));
    }
    return latency_us.empty() ? 1 : 0;
}

double rate(const Options& options, std::uint64_t period_ns) {
    return options.number("--rate", 1e9 / static_cast<double>(period_ns));
}

/// The sockets of the client, without anything else of it.
class BareContender {
public:
    explicit BareContender(const Options& options) {
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
        zmq::message_t message(kStateBytes);
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
            if (message.size() == kCommandBytes) std::memcpy(&seq, message.data(), sizeof(seq));
        }
        return seq;
    }

private:
    zmq::context_t context_;
    zmq::socket_t state_;
    zmq::socket_t command_;
};

/// The client in a session; the robot stands and its sensors are a little noisy.
class GaitdContender {
public:
    explicit GaitdContender(const Options& options) : client_(config(options)) {
        setUpThreads(options, nullptr);
        const gaitd::Contract& contract = client_.hello(std::chrono::seconds(30));
        for (const std::string& warning : client_.warnings()) std::cerr << "warning: " << warning << '\n';
        state_.joint_position = contract.default_joint_position;
        state_.linear_acceleration = {0.0F, 0.0F, 9.81F};
        client_.activate();
    }
    ~GaitdContender() {
        client_.requestRelease();
        client_.command(gaitd::monotonicNow_ns());
    }
    GaitdContender(const GaitdContender&) = delete;
    GaitdContender& operator=(const GaitdContender&) = delete;

    void publish(std::uint64_t seq, std::uint64_t now_ns) {
        state_.stamp_ns = now_ns;
        state_.angular_velocity[0] = 0.01F * static_cast<float>(seq % 7);
        client_.publish(state_);
    }

    void wait(std::chrono::milliseconds limit) { client_.wait(limit); }

    std::uint64_t newest() {
        const gaitd::JointCommand& command = client_.command(gaitd::monotonicNow_ns());
        if (command.mode == gaitd::Mode::Damping) {
            throw std::runtime_error("damping: " + gaitd::explain(command, joints()));
        }
        return command.mode == gaitd::Mode::Active ? command.seq : 0;
    }

    [[nodiscard]] std::uint64_t period_ns() const { return client_.contract().period_ns; }

private:
    static gaitd::Config config(const Options& options) {
        gaitd::Config config;
        config.endpoint_dir = options.text("--endpoint-dir", config.endpoint_dir);
        config.remote = remoteOf(options);
        config.transport = transportOf(options);
        config.controller = "echo_bench";
        config.io_priority = options.integer("--priority", 0);
        config.joints = joints();
        return config;
    }

    static std::vector<std::string> joints() {
        std::vector<std::string> names;
        for (const char* leg : {"FL", "FR", "HL", "HR"}) {
            for (const char* joint : {"HipX", "HipY", "Knee"}) names.push_back(std::string(leg) + "_" + joint + "_joint");
        }
        return names;
    }

    gaitd::Client client_;
    gaitd::RobotState state_;
};

int serve(const Options& options) {
    zmq::context_t context;
    setUpThreads(options, &context);
    zmq::socket_t state(context, zmq::socket_type::sub);
    state.set(zmq::sockopt::subscribe, "");
    state.set(zmq::sockopt::rcvtimeo, 50);
    state.bind(endpoint(options, "state"));
    zmq::socket_t command(context, zmq::socket_type::pub);
    command.set(zmq::sockopt::linger, 0);
    command.bind(endpoint(options, "command"));
    zmq::message_t message;
    while (stop_requested == 0) {
        try {
            if (!state.recv(message) || message.size() != kStateBytes) continue;
        } catch (const zmq::error_t& error) {
            if (error.num() == EINTR) continue;
            throw;
        }
        zmq::message_t answer(kCommandBytes);
        std::memcpy(answer.data(), message.data(), sizeof(std::uint64_t));
        command.send(answer, zmq::send_flags::dontwait);
    }
    return 0;
}

int run(const std::string& role, const Options& options) {
    if (role == "serve") return serve(options);
    if (role == "bare") {
        BareContender contender(options);
        return measure(contender, "bare", rate(options, 12'000'000), options);
    }
    if (role == "gaitd") {
        GaitdContender contender(options);
        return measure(contender, "gaitd", rate(options, contender.period_ns()), options);
    }
    throw std::invalid_argument("unknown role `" + role + "`");
}

}  // namespace

int main(int argc, char** argv) {
    struct sigaction action {};
    action.sa_handler = [](int) { stop_requested = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    try {
        if (argc < 2) throw std::invalid_argument("a role is needed");
        const Options options(
            argc - 1, argv + 1,
            {"--endpoint-dir", "--transport", "--robot", "--server-key", "--key", "--rate", "--count", "--warm-up", "--priority",
             "--cpu", "--samples"},
            {});
        return run(argv[1], options);
    } catch (const std::invalid_argument& error) {
        std::cerr << "error: " << error.what() << '\n' << kUsage;
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
