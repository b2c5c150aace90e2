// Whether this process is the child of a fork that came after something was made.
//
// A fork copies the client's memory, but none of its threads, and shares its descriptors. In the child a request would
// wait for ever, and a wake-up written to a shared eventfd would reach a thread of libzmq in the parent that finds no
// message behind it, and aborts. So the child leaves all of it alone.
#pragma once

#include <atomic>

#include <pthread.h>

namespace gaitd {

inline constexpr const char* kMadeBeforeFork =
    "this client was made before a fork: make it in the process that uses it, after daemon() or fork()";

class Origin {
public:
    /// True in a child of the process that made this.
    [[nodiscard]] bool isAnotherProcess() const noexcept { return made_ != forks().load(std::memory_order_relaxed); }

private:
    /// Forks between the program's first process and this one, as far as they concern an Origin.
    static std::atomic<unsigned>& forks() noexcept {
        static std::atomic<unsigned> count{0};
        static const int registered = pthread_atfork(nullptr, nullptr, [] { count.fetch_add(1); });
        static_cast<void>(registered);
        return count;
    }

    const unsigned made_ = forks().load();
};

}  // namespace gaitd
