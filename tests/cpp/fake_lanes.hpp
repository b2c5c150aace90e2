// The shared memory of a small gaitd: one lane, one worker, handed out to whoever connects.
#pragma once

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gaitd/lane.hpp>

/// A ring's file as gaitd makes it; every part of it can be made wrong.
struct RingFile {
    gaitd::ring::Head head;
    gaitd::Descriptor fd;
    unsigned char* memory = nullptr;
    std::size_t size = 0;

    RingFile(gaitd::ring::Kind kind, std::size_t records, std::size_t room, int seals = F_SEAL_SHRINK | F_SEAL_GROW)
        : fd(memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING)), size(gaitd::ring::sizeOf(records, room)) {
        head.kind = kind;
        head.records = records;
        head.room = room;
        if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw std::runtime_error("ftruncate");
        fcntl(fd.get(), F_ADD_SEALS, seals);
        memory = static_cast<unsigned char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
        std::memcpy(memory, &head, sizeof(head));
    }
    RingFile(const RingFile&) = delete;
    RingFile& operator=(const RingFile&) = delete;
    ~RingFile() { munmap(memory, size); }

    [[nodiscard]] gaitd::ring::Writer writer() const { return {memory, head.records, head.room}; }
    [[nodiscard]] gaitd::ring::NewestReader reader() const { return {memory, head.records, head.room}; }
    /// Ends: the writer's next message is number 1 again.
    void clear() const { std::memset(memory + sizeof(head), 0, size - sizeof(head)); }
};

class FakeLanes {
public:
    static constexpr std::size_t kRoom = 1024;

    RingFile states{gaitd::ring::Kind::State, 64, kRoom};
    RingFile guard{gaitd::ring::Kind::Guard, 8, kRoom};
    RingFile commands{gaitd::ring::Kind::Command, 8, kRoom};
    gaitd::Descriptor controller{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    gaitd::Descriptor worker{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    std::string greeting = "gaitd-shm 1";
    std::vector<int> fds{states.fd.get(), controller.get(), guard.fd.get(), commands.fd.get(), worker.get()};
    std::atomic<int> accepted{0};
    std::atomic<bool> full{false};  ///< Nothing is handed out.

    explicit FakeLanes(const std::string& dir)
        : listener_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        (dir + "/shm.sock").copy(address.sun_path, sizeof(address.sun_path) - 1);
        unlink(address.sun_path);
        if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
            listen(listener_.get(), 8) != 0) {
            throw std::runtime_error("shm.sock");
        }
    }

    /// Hands out to one who has connected; the lane is a fresh one then.
    void serve() {
        const int peer = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (peer < 0) return;
        connections_.emplace_back(peer);
        states.clear();
        state_reader_ = states.reader();
        std::string said = full ? "all lanes are taken" : greeting;
        iovec part{said.data(), said.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(16 * sizeof(int))> control{};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (!fds.empty() && !full) {
            message.msg_control = control.data();
            message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
            cmsghdr* head = CMSG_FIRSTHDR(&message);
            head->cmsg_level = SOL_SOCKET;
            head->cmsg_type = SCM_RIGHTS;
            head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
            std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
        }
        sendmsg(peer, &message, MSG_NOSIGNAL);
        ++accepted;
    }

    /// The newest state: its bytes, empty when there is none.
    std::string takeState() {
        const std::size_t size = state_reader_.take();
        return size == 0 ? std::string() : std::string(static_cast<const char*>(state_reader_.data()), size);
    }

    void sendAsWorker(const std::string& bytes) { send(command_writer_, bytes); }
    void sendAsGuardian(const std::string& bytes) { send(guard_writer_, bytes); }

private:
    void send(gaitd::ring::Writer& writer, const std::string& bytes) const {
        std::memcpy(writer.buffer(), bytes.data(), bytes.size());
        writer.append(bytes.size());
        eventfd_write(controller.get(), 1);
    }

    gaitd::Descriptor listener_;
    std::vector<gaitd::Descriptor> connections_;
    gaitd::ring::NewestReader state_reader_ = states.reader();
    gaitd::ring::Writer command_writer_ = commands.writer();
    gaitd::ring::Writer guard_writer_ = guard.writer();
};
