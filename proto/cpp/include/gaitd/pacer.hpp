// When the next state is due.
#pragma once

#include <algorithm>
#include <cstdint>

#include <gaitd/contract.hpp>

namespace gaitd {

/// One step every period, in a loop that turns faster than that.
class Pacer {
public:
    explicit Pacer(std::uint64_t period_ns) noexcept : period_ns_(period_ns) {}

    /// True once a period. Small delays do not add up; after a large one the steps keep at least three quarters of a
    /// period apart, since gaitd refuses states that follow each other too closely.
    bool due(std::uint64_t now_ns) noexcept {
        if (now_ns < next_ns_) return false;
        static_assert(kMinStateSpacingPeriods < 0.75);
        next_ns_ = std::max(next_ns_ + period_ns_, now_ns + period_ns_ - period_ns_ / 4);
        return true;
    }

    /// When the next step is due, for loops that sleep until then.
    [[nodiscard]] std::uint64_t next_ns() const noexcept { return next_ns_; }

private:
    std::uint64_t period_ns_;
    std::uint64_t next_ns_ = 0;
};

}  // namespace gaitd
