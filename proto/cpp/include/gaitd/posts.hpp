// What any thread may ask of the link thread. Posting neither waits nor allocates.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/eventfd.h>
#include <unistd.h>

#include <gaitd/errors.hpp>
#include <gaitd/messages.hpp>

namespace gaitd {

struct DampPost {
    std::uint64_t session;
    Reason reason;
    std::string detail;
};

/// Bytes of a policy's name that may be asked for.
inline constexpr std::size_t kMaxPolicyName = 128;

class Posts {
public:
    Posts() {
        if (wake_fd_ < 0) throw Error("eventfd: no file descriptor left");
    }
    Posts(const Posts&) = delete;
    Posts& operator=(const Posts&) = delete;
    ~Posts() { close(wake_fd_); }

    // ---- any thread ----

    void activate() noexcept {
        activate_cancellations_.store(cancellations());
        activate_.store(true);
        wake();
    }

    /// From now on an activation asked for before does not count.
    void cancelActivation() noexcept { cancellations_.fetch_add(1); }

    /// Grows with every cancelActivation().
    [[nodiscard]] std::uint64_t cancellations() const noexcept { return cancellations_.load(); }

    void release(std::uint64_t session) noexcept {
        if (session == 0) return;
        release_.store(session);
        wake();
    }

    /// One at a time: while an earlier one is under way, gaitd is about to damp anyway.
    void damp(std::uint64_t session, Reason reason, std::string_view detail) noexcept {
        Slot free = Slot::Free;
        if (!damp_.compare_exchange_strong(free, Slot::Writing)) return;
        damp_session_ = session;
        damp_reason_ = reason;
        damp_detail_size_ = std::min(detail.size(), damp_detail_.size());
        std::copy_n(detail.begin(), damp_detail_size_, damp_detail_.begin());
        damp_.store(Slot::Posted);
        wake();
    }

    /// One at a time: false while an earlier one has not been taken, and for a name of more than kMaxPolicyName bytes.
    bool select(std::string_view policy) noexcept {
        Slot free = Slot::Free;
        if (policy.size() > select_policy_.size() || !select_.compare_exchange_strong(free, Slot::Writing)) return false;
        select_size_ = policy.size();
        std::copy_n(policy.begin(), select_size_, select_policy_.begin());
        select_.store(Slot::Posted);
        wake();
        return true;
    }

    /// Ends the link thread's wait. Writing to an eventfd neither blocks nor allocates.
    void wake() noexcept {
        const std::uint64_t one = 1;
        if (write(wake_fd_, &one, sizeof(one)) < 0) return;  // Full: it is awake already.
    }

    // ---- the link thread ----

    /// Readable after wake().
    [[nodiscard]] int wakeFd() const noexcept { return wake_fd_; }

    void clearWake() noexcept {
        std::uint64_t count = 0;
        if (read(wake_fd_, &count, sizeof(count)) < 0) return;  // Empty already.
    }

    [[nodiscard]] bool activateIsWaiting() const noexcept { return activate_.load(); }
    bool takeActivate() noexcept { return activate_.exchange(false); }
    /// cancellations() when the activation was asked for.
    [[nodiscard]] std::uint64_t activateCancellations() const noexcept { return activate_cancellations_.load(); }

    [[nodiscard]] bool selectIsWaiting() const noexcept { return select_.load() == Slot::Posted; }

    /// The policy asked for, once.
    std::optional<std::string> takeSelect() {
        if (!selectIsWaiting()) return std::nullopt;
        std::string policy(select_policy_.data(), select_size_);
        select_.store(Slot::Free);
        return policy;
    }

    /// The session to release; 0 for none.
    std::uint64_t takeRelease() noexcept { return release_.exchange(0); }

    /// The damping asked for, until dampingIsDone().
    [[nodiscard]] std::optional<DampPost> damping() const {
        if (damp_.load() != Slot::Posted) return std::nullopt;
        return DampPost{damp_session_, damp_reason_, std::string(damp_detail_.data(), damp_detail_size_)};
    }
    [[nodiscard]] bool dampingIsWaiting() const noexcept { return damp_.load() != Slot::Free; }
    void dampingIsDone() noexcept { damp_.store(Slot::Free); }

private:
    enum class Slot { Free, Writing, Posted };

    const int wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    std::atomic<bool> activate_{false};
    std::atomic<std::uint64_t> activate_cancellations_{0};
    std::atomic<std::uint64_t> cancellations_{0};
    std::atomic<std::uint64_t> release_{0};
    std::atomic<Slot> damp_{Slot::Free};
    std::uint64_t damp_session_ = 0;
    Reason damp_reason_ = Reason::None;
    std::array<char, kMaxDetailBytes> damp_detail_{};
    std::size_t damp_detail_size_ = 0;
    std::atomic<Slot> select_{Slot::Free};
    std::array<char, kMaxPolicyName> select_policy_{};
    std::size_t select_size_ = 0;
};

}  // namespace gaitd
