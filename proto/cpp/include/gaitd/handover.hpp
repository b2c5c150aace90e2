// What gaitd hands out at a Unix socket of its group: sealed memory files with rings in them, and eventfds (SCM_RIGHTS).
//
// What comes is held against the contract before it is touched: a file that can still shrink would kill this process.
#pragma once

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
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
        const bool written = kind == ring::Kind::State || kind == ring::Kind::Stream;
        const int access = written ? PROT_READ | PROT_WRITE : PROT_READ;
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

/// What gaitd has handed out, and the connection that stays open for as long as it is used.
struct Handed {
    Descriptor connection;
    std::vector<Descriptor> fds;
};

/// The other end of a connection is closed.
inline bool hungUp(const Descriptor& connection) noexcept {
    char byte = 0;
    const ssize_t got = recv(connection.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

namespace detail {

inline constexpr std::size_t kMostFds = 3 + 2 * kMaxSlots;

inline Handed receiveHanded(Descriptor connection, const std::string& path, const std::string& greeting) {
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
    if (said != greeting) throw RefusedError(Reason::Contract, said);
    if ((message.msg_flags & MSG_CTRUNC) != 0) throw MappedRing::unusable("more descriptors than it may have");
    return handed;
}

}  // namespace detail

/// Connects, sends `request` unless it is empty, and waits `limit` for descriptors that come with `greeting`. Throws
/// UnreachableError, or RefusedError with gaitd's text.
inline Handed handedFrom(const std::string& path, const std::string& request, const std::string& greeting,
                         std::chrono::milliseconds limit) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) throw ConfigError(path + ": too long for a Unix socket");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    Descriptor connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connection.get() < 0 ||
        connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        throw UnreachableError(path + ": " + std::strerror(errno));
    }
    if (!request.empty() && send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
        throw UnreachableError(path + ": " + std::strerror(errno));
    }
    pollfd item{connection.get(), POLLIN, 0};
    if (poll(&item, 1, static_cast<int>(limit.count())) <= 0) {
        throw UnreachableError(path + ": gaitd handed out nothing within " + std::to_string(limit.count()) + " ms");
    }
    return detail::receiveHanded(std::move(connection), path, greeting);
}

}  // namespace gaitd
