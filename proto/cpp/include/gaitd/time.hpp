// The one clock of the contract.
#pragma once

#include <cstdint>

#include <time.h>

namespace gaitd {

/// CLOCK_MONOTONIC in nanoseconds: the time that publish() stamps and command() are given in.
inline std::uint64_t monotonicNow_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace gaitd
