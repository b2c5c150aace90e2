// A client's way to gaitd through shared memory: its own ring of states, the rings of commands, and the eventfds that
// wake their readers. gaitd hands them out at a Unix socket, and the connection stays open for as long as they are used.
//
// What comes is held against the contract before it is touched: a file that can still shrink would kill this process.
#pragma once

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gaitd/errors.hpp>
#include <gaitd/ring.hpp>

namespace gaitd {

/// A descriptor that is closed with the object.
class Descriptor {
public:
    explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    [[nodiscard]] int get() const noexcept { return fd_; }

private:
    int fd_;
};

/// A ring's file in this process's memory.
class MappedRing {
public:
    /// Throws RefusedError when it is not as the contract has it.
    MappedRing(const Descriptor& file, ring::Kind kind) {
        const int seals = fcntl(file.get(), F_GET_SEALS);
        struct stat status {};
        if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW) ||
            fstat(file.get(), &status) != 0) {
            throw unusable("a file that may still shrink");
        }
        size_ = static_cast<std::size_t>(status.st_size);
        if (pread(file.get(), &head_, sizeof(head_), 0) != static_cast<ssize_t>(sizeof(head_)) ||
            head_.magic != kRingMagic || head_.kind != kind) {
            throw unusable("a file that is no ring of this version");
        }
        if (head_.records < 2 || head_.records > ring::kMaxRecords || head_.room < 1 || head_.room > kMaxMessageBytes ||
            size_ != ring::sizeOf(head_.records, head_.room)) {
            throw unusable("a ring of another size than it says");
        }
        const int access = kind == ring::Kind::State ? PROT_READ | PROT_WRITE : PROT_READ;
        memory_ = mmap(nullptr, size_, access, MAP_SHARED | MAP_POPULATE, file.get(), 0);
        if (memory_ == MAP_FAILED) throw UnreachableError(std::string("shared memory: mmap: ") + std::strerror(errno));
    }
    MappedRing(MappedRing&& other) noexcept
        : head_(other.head_), size_(other.size_), memory_(std::exchange(other.memory_, MAP_FAILED)) {}
    MappedRing(const MappedRing&) = delete;
    MappedRing& operator=(const MappedRing&) = delete;
    MappedRing& operator=(MappedRing&&) = delete;
    ~MappedRing() {
        if (memory_ != MAP_FAILED) munmap(memory_, size_);
    }

    [[nodiscard]] const ring::Head& head() const noexcept { return head_; }
    [[nodiscard]] void* memory() const noexcept { return memory_; }

    static RefusedError unusable(const std::string& what) {
        return {Reason::Contract, "gaitd's shared memory: " + what};
    }

private:
    ring::Head head_;
    std::size_t size_ = 0;
    void* memory_ = MAP_FAILED;
};

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
    [[nodiscard]] bool isGone() const noexcept {
        char byte = 0;
        const ssize_t got = recv(connection_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    }

private:
    static constexpr std::size_t kMostFds = 3 + 2 * kMaxSlots;
    static constexpr const char* kGreeting = "gaitd-shm 1";

    struct Handed {
        Descriptor connection;
        std::vector<Descriptor> fds;
    };

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

    static Handed connectTo(const std::string& path, std::chrono::milliseconds limit) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof(address.sun_path)) throw ConfigError(path + ": too long for a Unix socket");
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        Descriptor connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (connection.get() < 0 ||
            connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
            throw UnreachableError(path + ": " + std::strerror(errno));
        }
        pollfd item{connection.get(), POLLIN, 0};
        if (poll(&item, 1, static_cast<int>(limit.count())) <= 0) {
            throw UnreachableError(path + ": gaitd handed out no lane within " + std::to_string(limit.count()) + " ms");
        }
        return receive(std::move(connection), path);
    }

    static Handed receive(Descriptor connection, const std::string& path) {
        std::array<char, 512> text{};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostFds * sizeof(int))> control{};
        iovec part{text.data(), text.size()};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t got = recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC);
        Handed handed{std::move(connection), {}};
        for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
            if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
            for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= head->cmsg_len; at += sizeof(int)) {
                int fd = -1;
                std::memcpy(&fd, reinterpret_cast<const char*>(head) + at, sizeof(fd));
                handed.fds.emplace_back(fd);
            }
        }
        if (got <= 0) throw UnreachableError(path + ": gaitd closed the connection");
        const std::string said(text.data(), static_cast<std::size_t>(got));
        if (said != kGreeting) throw RefusedError(Reason::Contract, said);
        const std::size_t count = handed.fds.size();
        if ((message.msg_flags & MSG_CTRUNC) != 0 || count < 5 || count % 2 == 0) {
            throw MappedRing::unusable(std::to_string(count) + " descriptors");
        }
        return handed;
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
