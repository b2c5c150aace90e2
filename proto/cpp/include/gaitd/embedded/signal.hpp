// Wakes another thread of this process.
#pragma once

#include <cerrno>
#include <cstdint>

#include <semaphore.h>
#include <time.h>

namespace gaitd::embedded {

/// One thread waits; post() never does.
class Signal {
public:
    Signal() { sem_init(&semaphore_, 0, 0); }
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;
    ~Signal() { sem_destroy(&semaphore_); }

    void post() noexcept { sem_post(&semaphore_); }
    void wait() noexcept {
        while (sem_wait(&semaphore_) != 0) continue;
    }
    void waitUntil(std::uint64_t time_ns) noexcept {
        const timespec time{static_cast<time_t>(time_ns / 1'000'000'000U), static_cast<long>(time_ns % 1'000'000'000U)};
        while (sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &time) != 0 && errno == EINTR) continue;
    }
    /// Takes one post, if there is one.
    void forget() noexcept { static_cast<void>(sem_trywait(&semaphore_)); }

private:
    sem_t semaphore_{};
};

}  // namespace gaitd::embedded
