// A client's way to gaitd through shared memory: its own ring of states, the rings of commands, and the eventfds that
// wake their readers. gaitd hands them out at a Unix socket, and the connection stays open for as long as they are used.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <unistd.h>

#include <gaitd/errors.hpp>
#include <gaitd/handover.hpp>
#include <gaitd/ring.hpp>

namespace gaitd {

class Lane {
public:
    /// Asks gaitd for a lane at its socket; waits for `limit`. Throws UnreachableError, or RefusedError with gaitd's text
    /// or with what is wrong in what it handed out.
    Lane(const std::string& path, std::chrono::milliseconds limit) : Lane(connectTo(path, limit)) {}

    // ---- the control thread: neither waits nor allocates ----

    /// Publishes what `encode(buffer, size)` writes; false when that is nothing, or not `size` bytes long.
    template <class Encode>
    bool publish(std::size_t size, Encode encode) noexcept {
        if (size > writer_.room() || encode(writer_.buffer(), size) != size) return false;
        writer_.append(size);
        const std::uint64_t one = 1;
        for (const Descriptor& worker : workers_) {
            // Full: it has not looked for 2^64 states, and finds this one when it does.
            if (write(worker.get(), &one, sizeof(one)) < 0) continue;
        }
        return true;
    }

    /// Calls `handle(bytes, size)` with the newest message of each ring that was not taken before.
    template <class Handle>
    void drain(Handle handle) noexcept {
        for (ring::NewestReader& reader : readers_) {
            if (const std::size_t size = reader.take(); size != 0) handle(reader.data(), size);
        }
    }

    /// Until something may have come, at most `limit`.
    void wait(std::chrono::milliseconds limit) const noexcept {
        epoll_event event{};
        epoll_wait(wake_.get(), &event, 1, static_cast<int>(limit.count()));
    }

    // ---- any thread ----

    /// gaitd has closed its end: what is read here will never be written again.
    [[nodiscard]] bool isGone() const noexcept { return hungUp(connection_); }

private:
    static Handed connectTo(const std::string& path, std::chrono::milliseconds limit) {
        Handed handed = handedFrom(path, "", "gaitd-shm 1", limit);
        const std::size_t count = handed.fds.size();
        if (count < 5 || count % 2 == 0) throw MappedRing::unusable(std::to_string(count) + " descriptors");
        return handed;
    }

    /// In the order of proto/README.md: states, our eventfd, the guardian's ring, then ring and eventfd of each worker.
    explicit Lane(Handed handed)
        : connection_(std::move(handed.connection)),
          states_(handed.fds[0], ring::Kind::State),
          own_(std::move(handed.fds[1])),
          writer_(states_.memory(), states_.head().records, states_.head().room),
          wake_(epoll_create1(EPOLL_CLOEXEC)) {
        for (std::size_t i = 2; i < handed.fds.size(); ++i) {
            const bool ring_of_worker = i % 2 == 1;
            if (i != 2 && !ring_of_worker) {
                workers_.push_back(std::move(handed.fds[i]));
                continue;
            }
            commands_.emplace_back(handed.fds[i], i == 2 ? ring::Kind::Guard : ring::Kind::Command);
            const ring::Head& head = commands_.back().head();
            readers_.emplace_back(commands_.back().memory(), head.records, head.room);
        }
        epoll_event event{};
        event.events = EPOLLIN | EPOLLET;  // Each write wakes anew, and nothing has to be read.
        if (wake_.get() < 0 || epoll_ctl(wake_.get(), EPOLL_CTL_ADD, own_.get(), &event) != 0) {
            throw UnreachableError(std::string("shared memory: epoll: ") + std::strerror(errno));
        }
    }

    Descriptor connection_;
    MappedRing states_;
    Descriptor own_;
    std::vector<Descriptor> workers_;
    std::vector<MappedRing> commands_;
    ring::Writer writer_;
    std::vector<ring::NewestReader> readers_;
    Descriptor wake_;
};

}  // namespace gaitd
