// The robot's clock beside ours: pure, with made-up times.
#include <limits>

#include <gaitd/robot_clock.hpp>

#include "check.hpp"

using gaitd::RobotClock;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kStart_ns = 1'000'000 * kMs;

double robotTime(std::uint64_t ms) { return 50.0 + static_cast<double>(ms) * 1e-3; }

bool near(std::uint64_t left, std::uint64_t right) { return left < right + 1000 && right < left + 1000; }

}  // namespace

CASE(without_delay_a_sample_is_as_old_as_its_reading) {
    RobotClock clock;
    for (std::uint64_t ms = 0; ms < 1000; ++ms) CHECK(near(clock.stamp(robotTime(ms), kStart_ns + ms * kMs), kStart_ns + ms * kMs));
    CHECK(clock.behind_ns() < 1000);
    CHECK_EQUAL(clock.jumps(), 0U);
}

CASE(one_packet_a_tick_with_missed_ticks_grows_older_and_older) {
    RobotClock clock;
    std::uint64_t packet = 0;
    std::uint64_t now_ns = 0;
    for (std::uint64_t ms = 0; ms < 6200; ++ms) {
        if (ms % 100 == 99) continue;  // The reader missed this tick; the robot did not.
        now_ns = kStart_ns + ms * kMs;
        clock.stamp(robotTime(packet++), now_ns);
    }
    CHECK(clock.behind_ns() > 59 * kMs);
    CHECK(clock.behind_ns() < 63 * kMs);
    // A reader that catches up is in time again.
    CHECK(near(clock.stamp(robotTime(6200), kStart_ns + 6200 * kMs), kStart_ns + 6200 * kMs));
}

CASE(clocks_that_drift_apart_are_no_backlog) {
    for (const double drift : {1e-4, -1e-4}) {
        RobotClock clock;
        for (std::uint64_t ms = 0; ms < 600'000; ++ms) {
            clock.stamp(50.0 + static_cast<double>(ms) * 1e-3 * (1.0 + drift), kStart_ns + ms * kMs);
            if (clock.behind_ns() > kMs) return check::fail(__FILE__, __LINE__, "behind by more than 1 ms");
        }
        CHECK_EQUAL(clock.jumps(), 0U);
    }
}

CASE(a_robots_time_that_stands_still_leaves_the_stamp_where_it_was) {
    RobotClock clock;
    const std::uint64_t stamp_ns = clock.stamp(robotTime(0), kStart_ns);
    for (std::uint64_t ms = 1; ms < 200; ++ms) CHECK(clock.stamp(robotTime(0), kStart_ns + ms * kMs) < stamp_ns + kMs);
    for (const double none : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e300, -1e300}) {
        CHECK(clock.stamp(none, kStart_ns + 300 * kMs) < stamp_ns + kMs);
    }
}

CASE(a_clock_that_is_set_anew_begins_anew) {
    RobotClock clock;
    clock.stamp(robotTime(0), kStart_ns);
    CHECK(near(clock.stamp(0.001, kStart_ns + kMs), kStart_ns + kMs));
    CHECK(near(clock.stamp(0.002, kStart_ns + 2 * kMs), kStart_ns + 2 * kMs));
    CHECK(near(clock.stamp(1000.0, kStart_ns + 3 * kMs), kStart_ns + 3 * kMs));
    CHECK_EQUAL(clock.jumps(), 2U);
    // A packet that was overtaken is only late.
    CHECK(near(clock.stamp(999.995, kStart_ns + 3 * kMs), kStart_ns + 3 * kMs - 5 * kMs));
    CHECK_EQUAL(clock.jumps(), 2U);
}

int main() { return check::run(); }
