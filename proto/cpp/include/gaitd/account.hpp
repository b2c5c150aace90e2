// What the client tells gaitd of itself, with hello: who drives the joints, and how its newest session ended in damping.
// For people and tools (`gaitctl rehearse`); nothing in gaitd acts on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include <sys/syscall.h>
#include <unistd.h>

#include <gaitd/messages.hpp>

namespace gaitd {

/// Times are of CLOCK_MONOTONIC.
struct AccountEntry {
    std::uint64_t thread = 0;      ///< The kernel's id of the thread that calls command(); 0 before the first session.
    std::uint64_t session = 0;     ///< The newest one that ended in damping; 0: none yet, and what follows is 0 too.
    std::uint64_t reason = 0;      ///< A Reason.
    std::uint64_t command_ns = 0;  ///< When the last command came into force before that; 0: the session had none.
    std::uint64_t damped_ns = 0;   ///< When the motors were first given damping, by the loop or by the watchdog.

    bool operator==(const AccountEntry& other) const noexcept {
        return thread == other.thread && session == other.session;
    }
};

/// Written without waiting by the control thread and the watchdog's, read by the link thread.
class Account {
public:
    // ---- the control thread ----

    void begin() noexcept {
        thread_.store(static_cast<std::uint64_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
        command_ns_.store(0, std::memory_order_relaxed);
    }

    void commandInForce(std::uint64_t now_ns) noexcept { command_ns_.store(now_ns, std::memory_order_relaxed); }

    // ---- the control thread or the watchdog's ----

    /// Of each session the first call counts.
    void damped(std::uint64_t session, Reason reason, std::uint64_t now_ns) noexcept {
        std::uint64_t before = claimed_.load();
        if (session == 0 || before == session || !claimed_.compare_exchange_strong(before, session)) return;
        reason_.store(static_cast<std::uint64_t>(reason));
        last_command_ns_.store(command_ns_.load(std::memory_order_relaxed));
        damped_ns_.store(now_ns);
        complete_.store(session);
    }

    // ---- the link thread ----

    /// Nothing while it is being written.
    [[nodiscard]] std::optional<AccountEntry> newest() const noexcept {
        AccountEntry entry;
        entry.session = complete_.load();
        entry.thread = thread_.load(std::memory_order_relaxed);
        entry.reason = reason_.load();
        entry.command_ns = last_command_ns_.load();
        entry.damped_ns = damped_ns_.load();
        if (claimed_.load() != entry.session) return std::nullopt;
        return entry;
    }

private:
    std::atomic<std::uint64_t> thread_{0};
    std::atomic<std::uint64_t> command_ns_{0};  ///< Of the running session.
    std::atomic<std::uint64_t> claimed_{0};     ///< The session whose damping is written, or being written.
    std::atomic<std::uint64_t> complete_{0};    ///< The same, once it is.
    std::atomic<std::uint64_t> reason_{0};
    std::atomic<std::uint64_t> last_command_ns_{0};
    std::atomic<std::uint64_t> damped_ns_{0};
};

}  // namespace gaitd
