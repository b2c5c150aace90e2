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
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <time.h>

#include <gaitd/pacer.hpp>

#include "contenders.hpp"

namespace {

const char* const kUsage = R"(usage: echo_bench serve|bare|request|onnx|thread|embedded|gaitd [options]
  serve   answers every message with one of a command's size until it is stopped; with --model after an inference
  bare    measures against `serve`
  request measures against a policy server that is asked (REQ) at DIR/policy.sock, with lists of floats
  onnx    measures inference in this very thread: needs --model
  thread  measures inference in a thread of its own that looks for states: needs --model
  embedded measures a policy in this process, checks and all: needs --policy
  gaitd   measures against a running gaitd
  --endpoint-dir DIR   (default /run/gaitd)
  --robot HOST[:PORT]  (role gaitd) over TCP instead, with --server-key FILE and --key FILE
  --transport zmq|shm  (role gaitd) how states and commands travel (default zmq)
  --joints N           of the robot, joint_0 and on (default: the Lite3's 12)
  --model FILE         model.onnx (roles serve, onnx and thread), run by onnxruntime's C library:
  --onnxruntime FILE     where it is (default libonnxruntime.so.1)
  --input, --output NAME   the model's tensors (default obs, action)
  --observation, --action N   their lengths (default 45, 12)
  --policy FILE        (role embedded) what `gaitctl embed` wrote, run by that library
  --rate HZ            round trips per second (default 1 / the control period, 83.3); 0: one right after the other
  --count N            round trips that are measured (default 500)
  --warm-up N          round trips before those (default 50)
  --priority N         SCHED_FIFO priority of this program's threads
  --cpu N              pin the measuring or serving thread
  --io-cpu N           pin ZeroMQ's I/O thread (role gaitd) or the one that infers (thread, embedded)
  --samples FILE       append every latency in microseconds, one a line
)";

volatile std::sig_atomic_t stop_requested = 0;

constexpr std::uint64_t kPatience_ns = 100'000'000;  // With a round trip that nothing follows at a pace.
constexpr std::uint64_t kGrain_ns = 1'000'000;       // Of a contender's wait.
constexpr std::uint64_t kNap_ns = 50'000;            // Between two looks where less is left.

void sleepUntil(std::uint64_t time_ns) {
    const timespec wake{static_cast<time_t>(time_ns / 1'000'000'000), static_cast<long>(time_ns % 1'000'000'000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr);
}

template <class Contender>
constexpr bool kHasSessions = false;
template <class Client>
constexpr bool kHasSessions<ClientContender<Client>> = true;

/// A block of round trips, and what became of each state: answered, passed over (a newer one was answered, and it was
/// not), or lost.
template <class Contender>
class Block {
public:
    Block(Contender& contender, std::uint64_t warm_up, std::uint64_t count)
        : contender_(contender), warm_up_(warm_up), sent_ns_(warm_up + count + 1) {
        latency_us_.reserve(count);
    }

    void publish(std::uint64_t seq, std::uint64_t now_ns) {
        published_ = seq;
        sent_ns_[seq] = now_ns;
        contender_.publish(seq, now_ns);
    }

    /// Looks until the newest state is answered, or that time.
    void awaitAnswer(std::uint64_t end_ns) {
        for (look(); settled_ < published_; look()) {
            const std::uint64_t now_ns = gaitd::monotonicNow_ns();
            if (now_ns >= end_ns) return;
            if (end_ns - now_ns >= kGrain_ns) {
                contender_.wait(std::chrono::milliseconds(1));
            } else {
                sleepUntil(now_ns + std::min(end_ns - now_ns, kNap_ns));
            }
        }
    }

    [[nodiscard]] std::vector<double>& latency_us() noexcept { return latency_us_; }
    [[nodiscard]] std::uint64_t answered() const noexcept { return answered_; }
    [[nodiscard]] std::uint64_t passed() const noexcept { return passed_; }
    [[nodiscard]] std::uint64_t lost() const noexcept { return published_ - answered_ - passed_; }
    [[nodiscard]] std::uint64_t dampings() const noexcept { return dampings_; }

private:
    void look() {
        std::uint64_t newest = 0;
        try {
            newest = contender_.newest();
        } catch (const Damped&) {  // Goes on in a new session: what was under way is lost.
            ++dampings_;
            settled_ = published_;
            if constexpr (kHasSessions<Contender>) contender_.beginAnew(published_);
            return;
        }
        if (newest <= settled_ || newest > published_) return;
        ++answered_;
        passed_ += newest - settled_ - 1;
        settled_ = newest;
        if (newest > warm_up_) {
            latency_us_.push_back(static_cast<double>(gaitd::monotonicNow_ns() - sent_ns_[newest]) / 1000.0);
        }
    }

    Contender& contender_;
    const std::uint64_t warm_up_;
    std::vector<std::uint64_t> sent_ns_;
    std::vector<double> latency_us_;
    std::uint64_t published_ = 0;
    std::uint64_t settled_ = 0;  ///< Up to here it is known what became of each.
    std::uint64_t answered_ = 0;
    std::uint64_t passed_ = 0;
    std::uint64_t dampings_ = 0;
};

/// Round trips at a fixed pace, or one right after the other. After a late wake-up the pace shifts, as a controller's
/// does: states that follow each other too closely are refused.
template <class Contender>
int measure(Contender& contender, const char* name, double rate_hz, const Options& options) {
    const auto warm_up = static_cast<std::uint64_t>(options.integer("--warm-up", 50));
    const auto count = static_cast<std::uint64_t>(options.integer("--count", 500));
    Block<Contender> block(contender, warm_up, count);
    gaitd::Pacer pacer(rate_hz > 0 ? static_cast<std::uint64_t>(std::llround(1e9 / rate_hz)) : 0);
    for (std::uint64_t seq = 1; seq <= warm_up + count; ++seq) {
        if (rate_hz > 0) sleepUntil(pacer.next_ns());
        const std::uint64_t now_ns = gaitd::monotonicNow_ns();
        pacer.due(now_ns);
        block.publish(seq, now_ns);
        const bool followed = rate_hz > 0 && seq < warm_up + count;
        block.awaitAnswer(followed ? pacer.next_ns() : now_ns + kPatience_ns);
    }
    std::vector<double>& latency_us = block.latency_us();
    std::sort(latency_us.begin(), latency_us.end());
    const auto quantile = [&](double part) {
        if (latency_us.empty()) return 0.0;
        const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(latency_us.size())));
        return latency_us[std::max<std::size_t>(rank, 1) - 1];
    };
    std::cout << "{\"contender\": \"" << name << "\", \"rate_hz\": " << rate_hz << ", \"count\": " << latency_us.size()
              << ", \"p50_us\": " << quantile(0.5) << ", \"p99_us\": " << quantile(0.99)
              << ", \"p999_us\": " << quantile(0.999) << ", \"max_us\": " << quantile(1.0)
              << ", \"published\": " << warm_up + count << ", \"answered\": " << block.answered()
              << ", \"passed\": " << block.passed() << ", \"lost\": " << block.lost()
              << ", \"dampings\": " << block.dampings() << "}" << std::endl;
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

int serve(const Options& options) {
    const Sizes sizes(options);
    zmq::context_t context;
    setUpThreads(options, &context);
    std::optional<BareOnnx> model;
    if (options.has("--model")) model.emplace(options);
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
            if (!state.recv(message) || message.size() != sizes.state) continue;
        } catch (const zmq::error_t& error) {
            if (error.num() == EINTR) continue;
            throw;
        }
        std::uint64_t seq = 0;
        std::memcpy(&seq, message.data(), sizeof(seq));
        if (model) model->infer(seq);
        zmq::message_t answer(sizes.command);
        std::memcpy(answer.data(), &seq, sizeof(seq));
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
    if (role == "request") {
        RequestContender contender(options);
        return measure(contender, "request", rate(options, 12'000'000), options);
    }
    if (role == "onnx") {
        InProcessContender contender(options);
        return measure(contender, "onnx", rate(options, 12'000'000), options);
    }
    if (role == "thread") {
        ThreadContender contender(options);
        return measure(contender, "thread", rate(options, 12'000'000), options);
    }
    if (role == "embedded") {
        ClientContender<gaitd::EmbeddedClient> contender(options, embeddedConfig(options));
        return measure(contender, "embedded", rate(options, contender.period_ns()), options);
    }
    if (role == "gaitd") {
        ClientContender<gaitd::Client> contender(options, clientConfig(options));
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
             "--cpu", "--samples", "--io-cpu", "--policy", "--joints", "--model", "--onnxruntime", "--input", "--output", "--observation", "--action"},
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
