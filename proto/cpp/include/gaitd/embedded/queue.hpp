// A queue between two threads that never waits and never allocates: one puts, one takes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace gaitd::embedded {

template <class Item, std::size_t kRoom>
class Queue {
public:
    /// The place of the next item; nullptr when the queue is full. It is taken with put().
    [[nodiscard]] Item* room() noexcept {
        const std::size_t put = put_.load(std::memory_order_relaxed);
        return put - taken_.load(std::memory_order_acquire) == kRoom ? nullptr : &items_[put % kRoom];
    }
    void put() noexcept { put_.store(put_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

    /// The oldest item; nullptr when there is none. It is given back with pop().
    [[nodiscard]] const Item* front() const noexcept {
        const std::size_t taken = taken_.load(std::memory_order_relaxed);
        return taken == put_.load(std::memory_order_acquire) ? nullptr : &items_[taken % kRoom];
    }
    void pop() noexcept { taken_.store(taken_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

private:
    std::array<Item, kRoom> items_{};
    alignas(64) std::atomic<std::size_t> put_{0};
    alignas(64) std::atomic<std::size_t> taken_{0};
};

}  // namespace gaitd::embedded
