// Messages allocated ahead: the link thread fills, the control thread sends. Single producer, single consumer,
// lock-free.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include <zmq.h>

namespace gaitd {

class MessagePool {
public:
    static constexpr std::size_t kCapacity = 256;  ///< 3 s of states at 12 ms; enough for a starved link thread.

    MessagePool() = default;
    MessagePool(const MessagePool&) = delete;
    MessagePool& operator=(const MessagePool&) = delete;
    ~MessagePool() {
        for (std::size_t i = consumed_.load(); i != filled_.load(); ++i) zmq_msg_close(&messages_[i % kCapacity]);
    }

    /// Producer: allocates messages of `size` bytes until the pool is full.
    void fill(std::size_t size) noexcept {
        std::size_t filled = filled_.load(std::memory_order_relaxed);
        while (filled - consumed_.load(std::memory_order_acquire) < kCapacity) {
            if (zmq_msg_init_size(&messages_[filled % kCapacity], size) != 0) return;  // Tried again at the next fill.
            filled_.store(++filled, std::memory_order_release);
        }
    }

    /// Consumer: the next message to write into, or nullptr when the link thread is behind.
    zmq_msg_t* front() noexcept {
        const std::size_t consumed = consumed_.load(std::memory_order_relaxed);
        return consumed == filled_.load(std::memory_order_acquire) ? nullptr : &messages_[consumed % kCapacity];
    }

    /// Consumer: front() was sent; its slot may be filled again.
    void pop() noexcept { consumed_.store(consumed_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

private:
    std::array<zmq_msg_t, kCapacity> messages_{};
    alignas(64) std::atomic<std::size_t> filled_{0};
    alignas(64) std::atomic<std::size_t> consumed_{0};
};

}  // namespace gaitd
