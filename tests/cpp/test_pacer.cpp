// Which samples become states: pure, with made-up times.
#include <vector>

#include <gaitd/pacer.hpp>

#include "check.hpp"

using gaitd::Pacer;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kPeriod_ns = 12 * kMs;
constexpr std::uint64_t kStart_ns = 1'000'000 * kMs;

}  // namespace

CASE(one_sample_a_period_whatever_the_loops_small_delays) {
    Pacer pacer(kPeriod_ns);
    int due = 0;
    for (std::uint64_t ms = 0; ms < 1200; ++ms) due += pacer.due(kStart_ns + ms * kMs + ms % 3 * kMs / 3);
    CHECK_EQUAL(due, 100);
}

CASE(a_sample_from_before_a_standstill_is_none_to_publish_after_it) {
    Pacer pacer(kPeriod_ns);
    CHECK(pacer.due(kStart_ns));
    // Read 5 ms later, when none was due; then the loop stands for 10 ms, and the robot has sent nothing new.
    CHECK(!pacer.due(kStart_ns + 5 * kMs));
    CHECK(!pacer.due(kStart_ns + 5 * kMs));
    CHECK(pacer.due(kStart_ns + 16 * kMs));
}

CASE(published_samples_keep_the_distance_that_gaitd_asks_for) {
    Pacer pacer(kPeriod_ns);
    std::vector<std::uint64_t> stamps;
    std::uint64_t stamp_ns = kStart_ns;
    for (std::uint64_t step = 0; step < 3000; ++step) {
        stamp_ns += kMs + (step % 97 == 0 ? 7 * kMs : 0) + (step % 401 == 0 ? 60 * kMs : 0);
        if (pacer.due(stamp_ns)) stamps.push_back(stamp_ns);
    }
    for (std::size_t i = 1; i < stamps.size(); ++i) CHECK(stamps[i] - stamps[i - 1] >= kPeriod_ns * 3 / 4);
    CHECK(stamps.size() > 200);
}

int main() { return check::run(); }
