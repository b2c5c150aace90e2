// Which samples are published as states.
#pragma once

#include <algorithm>
#include <cstdint>

#include <gaitd/contract.hpp>

namespace gaitd {

/// One step every period, in a loop that turns faster than that.
class Pacer {
public:
    explicit Pacer(std::uint64_t period_ns) noexcept : period_ns_(period_ns) {}

    /// True once a period, for a sample taken at `stamp_ns`: its stamp counts, not the time, for a loop that was kept from
    /// running may come back to a sample from before. Small delays do not add up; after a large one the samples keep at
    /// least three quarters of a period apart, since gaitd refuses states that follow each other too closely.
    bool due(std::uint64_t stamp_ns) noexcept {
        if (stamp_ns < next_ns_) return false;
        static_assert(kMinStateSpacingPeriods < 0.75);
        const std::uint64_t due_ns = next_ns_ == 0 ? stamp_ns : next_ns_;
        next_ns_ = std::max(due_ns + period_ns_, stamp_ns + period_ns_ - period_ns_ / 4);
        return true;
    }

    /// When the next step is due, for loops that sleep until then.
    [[nodiscard]] std::uint64_t next_ns() const noexcept { return next_ns_; }

private:
    std::uint64_t period_ns_;
    std::uint64_t next_ns_ = 0;
};

}  // namespace gaitd
