// When a sample was really taken, by the robot's own clock.
//
// A controller that stamps a state when it reads it cannot see how long the state lay in a socket: with one packet read
// a tick, each missed tick makes every later state a tick older, and all of them look fresh.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace gaitd {

/// Puts the robot's clock beside CLOCK_MONOTONIC. The least delay seen so far is taken for none, so a delay that never
/// changes is invisible; one that grows is not, unless it grows as slowly as two clocks drift apart (0.02 %).
class RobotClock {
public:
    /// CLOCK_MONOTONIC when the sample was taken that says `robot_s` and is seen at `now_ns`. Never later than now; the
    /// same for a robot's time that stands still. A robot's clock that is set anew (a jump of 0.1 s) begins anew.
    std::uint64_t stamp(double robot_s, std::uint64_t now_ns) noexcept {
        const std::int64_t robot_ns = std::abs(robot_s) < kMost_s ? static_cast<std::int64_t>(robot_s * 1e9) : robot_ns_;
        const std::int64_t now = static_cast<std::int64_t>(now_ns);
        const std::int64_t apart_ns = now - robot_ns;
        const bool jumped = robot_ns < robot_ns_ - kJump_ns || apart_ns < least_apart_ns_ - kJump_ns;
        if (known_ && !jumped) {
            least_apart_ns_ = std::min(least_apart_ns_ + (now - seen_ns_) / kDrift, apart_ns);
        } else {
            least_apart_ns_ = apart_ns;
            jumps_ += known_ ? 1 : 0;
        }
        known_ = true;
        robot_ns_ = robot_ns;
        seen_ns_ = now;
        behind_ns_ = static_cast<std::uint64_t>(apart_ns - least_apart_ns_);
        return now_ns - behind_ns_;
    }

    /// How long the newest sample was under way, beyond the least.
    [[nodiscard]] std::uint64_t behind_ns() const noexcept { return behind_ns_; }
    /// How often the robot's clock was set anew.
    [[nodiscard]] std::uint64_t jumps() const noexcept { return jumps_; }

private:
    static constexpr std::int64_t kDrift = 5000;  // One in so many.
    static constexpr std::int64_t kJump_ns = 100'000'000;
    static constexpr double kMost_s = 4e9;  // Any more is no time, and does not fit.

    bool known_ = false;
    std::int64_t robot_ns_ = 0;
    std::int64_t seen_ns_ = 0;
    std::int64_t least_apart_ns_ = 0;
    std::uint64_t behind_ns_ = 0;
    std::uint64_t jumps_ = 0;
};

}  // namespace gaitd
