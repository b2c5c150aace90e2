// Damps when the controller's loop stands still: a thread with a timer of its own.
//
// Many controllers come round only when their robot has sent a state. When the states stop, nobody asks the client any
// more what the motors are to do, and they keep the last stiff command. Here that command ends by itself.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include <time.h>

#include <gaitd/messages.hpp>
#include <gaitd/realtime.hpp>
#include <gaitd/time.hpp>

namespace gaitd {

class Watchdog {
public:
    /// Sends a damping command to the motors; on the watchdog's thread.
    using Send = std::function<void(const JointCommand&)>;

    /// `expired` is called first, once each time; it must not wait. `priority`: SCHED_FIFO, 0 leaves it alone.
    Watchdog(std::size_t joints, Send send, std::function<void()> expired, int priority)
        : joints_(joints), send_(std::move(send)), expired_(std::move(expired)), priority_(priority) {
        thread_ = realtime::quietThread("gaitd-watchdog", [this] { run(); });
    }

    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    /// Waits for a call of Send that is under way, and else at most 10 ms.
    ~Watchdog() {
        stop_.store(true);
        thread_.join();
    }

    /// What damping is: Nm s/rad, and Nm/rad of a wheel's brake. From any thread.
    void setDamping(const JointArray& damping, const JointArray& brake_stiffness = {}) noexcept {
        for (std::size_t i = 0; i < joints_; ++i) {
            damping_[i].store(damping[i], std::memory_order_relaxed);
            stiffness_[i].store(brake_stiffness[i], std::memory_order_relaxed);
        }
    }

    /// Where the brakes hold: rad. From any thread.
    void hold(const JointArray& position) noexcept {
        for (std::size_t i = 0; i < joints_; ++i) position_[i].store(position[i], std::memory_order_relaxed);
    }

    /// The control thread gives a command that holds until `until_ns` (0: for ever, it asks nothing of the joints).
    /// False when damping has been sent instead: the command must not be used.
    [[nodiscard]] bool extend(std::uint64_t until_ns) noexcept {
        std::uint64_t before = until_ns_.load();
        do {
            if (before == kExpired) return false;
        } while (!until_ns_.compare_exchange_weak(before, until_ns));
        return true;
    }

    /// Forgets what was: from any thread, for a new session or the end of one.
    void restart(std::uint64_t until_ns) noexcept { until_ns_.store(until_ns); }

    /// How often damping is sent while the loop stands still: a packet may be lost, and a loop that was interrupted
    /// between asking and sending may still send what it has. Not for ever: the controller may be doing something else.
    static constexpr int kRepeats = 10;
    static constexpr std::uint64_t kRepeat_ns = 10'000'000;

private:
    static constexpr std::uint64_t kExpired = ~std::uint64_t{0};
    static constexpr std::uint64_t kLook_ns = 5'000'000;

    void run() noexcept {
        // Refused as for ZeroMQ's I/O thread, of which the client warns.
        if (priority_ > 0) static_cast<void>(realtime::useFifo(priority_));
        while (!stop_.load()) {
            std::uint64_t until_ns = until_ns_.load();
            const std::uint64_t now_ns = monotonicNow_ns();
            if (until_ns != 0 && until_ns != kExpired && now_ns > until_ns &&
                until_ns_.compare_exchange_strong(until_ns, kExpired)) {
                expired_();
                sendWhileExpired();
                continue;
            }
            const bool soon = until_ns > now_ns && until_ns < now_ns + kLook_ns;
            sleepUntil(soon ? until_ns + 1 : now_ns + kLook_ns);
        }
    }

    void sendWhileExpired() noexcept {
        int left = kRepeats;
        do {  // Once at least: a loop that is back may be lost again before it has sent what it was told.
            try {
                send_(command());
            } catch (...) {
                // The controller's own error. The next try may do better, and the process must live on.
            }
            sleepUntil(monotonicNow_ns() + kRepeat_ns);
        } while (--left > 0 && until_ns_.load() == kExpired && !stop_.load());
    }

    [[nodiscard]] JointCommand command() const noexcept {
        JointCommand command;
        command.mode = Mode::Damping;
        command.reason = Reason::ClientDeadline;
        for (std::size_t i = 0; i < joints_; ++i) {
            command.damping[i] = damping_[i].load(std::memory_order_relaxed);
            command.stiffness[i] = stiffness_[i].load(std::memory_order_relaxed);
            command.joint_position[i] = position_[i].load(std::memory_order_relaxed);
        }
        return command;
    }

    static void sleepUntil(std::uint64_t time_ns) noexcept {
        const timespec time{static_cast<time_t>(time_ns / 1'000'000'000U), static_cast<long>(time_ns % 1'000'000'000U)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
    }

    const std::size_t joints_;
    const Send send_;
    const std::function<void()> expired_;
    const int priority_;
    std::array<std::atomic<float>, kMaxJoints> damping_{};
    std::array<std::atomic<float>, kMaxJoints> stiffness_{};
    std::array<std::atomic<float>, kMaxJoints> position_{};
    std::atomic<std::uint64_t> until_ns_{0};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace gaitd
