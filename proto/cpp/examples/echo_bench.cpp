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
#include <type_traits>
#include <vector>

#include <time.h>

#include "contenders.hpp"

namespace {

const char* const kUsage = R"(usage: echo_bench serve|bare|request|gaitd [options]
  serve   answers every message with one of a command's size until it is stopped
  bare    measures against `serve`
  request measures against a policy server that is asked (REQ) at DIR/policy.sock, with lists of floats
  gaitd   measures against a running gaitd (a Lite3 policy)
  --endpoint-dir DIR   (default /run/gaitd)
  --robot HOST[:PORT]  (role gaitd) over TCP instead, with --server-key FILE and --key FILE
  --transport zmq|shm  (role gaitd) how states and commands travel (default zmq)
  --rate HZ            round trips per second (default 1 / the control period, 83.3); 0: one right after the other
  --count N            round trips that are measured (default 500)
  --warm-up N          round trips before those (default 50)
  --priority N         SCHED_FIFO priority of this program's threads
  --cpu N              pin the measuring thread
  --samples FILE       append every latency in microseconds, one a line
)";

volatile std::sig_atomic_t stop_requested = 0;

constexpr std::uint64_t kPatience_ns = 100'000'000;  // Of a round trip that nothing follows at a pace.

/// Goes on in a new session when one has ended.
template <class Contender>
std::uint64_t newestOf(Contender& contender, std::uint64_t seq, std::uint64_t& dampings) {
    if constexpr (std::is_same_v<Contender, GaitdContender>) {
        try {
            return contender.newest();
        } catch (const Damped&) {
            ++dampings;
            contender.beginAnew(seq);
            return 0;
        }
    }
    return contender.newest();
}

/// Round trips at a fixed pace, or one right after the other.
template <class Contender>
int measure(Contender& contender, const char* name, double rate_hz, const Options& options) {
    const auto warm_up = static_cast<std::uint64_t>(options.integer("--warm-up", 50));
    const auto count = static_cast<std::uint64_t>(options.integer("--count", 500));
    const auto period_ns = rate_hz > 0 ? static_cast<std::uint64_t>(std::llround(1e9 / rate_hz)) : 0;
    std::vector<std::uint64_t> sent_ns(warm_up + count + 1);
    std::vector<double> latency_us;
    latency_us.reserve(count);
    std::uint64_t answered = 0;
    std::uint64_t dampings = 0;
    std::uint64_t next_ns = gaitd::monotonicNow_ns() + period_ns;
    for (std::uint64_t seq = 1; seq <= warm_up + count; ++seq, next_ns += period_ns) {
        if (period_ns > 0) {
            const timespec wake{static_cast<time_t>(next_ns / 1'000'000'000),
                                static_cast<long>(next_ns % 1'000'000'000)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr);
        }
        sent_ns[seq] = gaitd::monotonicNow_ns();
        contender.publish(seq, sent_ns[seq]);
        // Until the answer, or until shortly before the next one is due; a late answer counts when it comes.
        while (answered < seq) {
            const std::uint64_t now_ns = gaitd::monotonicNow_ns();
            const std::uint64_t end_ns =
                period_ns > 0 ? next_ns + period_ns - std::min<std::uint64_t>(period_ns / 4, 500'000)
                              : sent_ns[seq] + kPatience_ns;
            if (now_ns >= end_ns) break;
            contender.wait(std::chrono::milliseconds(1));
            const std::uint64_t newest = newestOf(contender, seq, dampings);
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
              << ", \"dampings\": " << dampings << ", \"lost\": " << count - latency_us.size() << "}" << std::endl;
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
    if (role == "request") {
        RequestContender contender(options);
        return measure(contender, "request", rate(options, 12'000'000), options);
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
