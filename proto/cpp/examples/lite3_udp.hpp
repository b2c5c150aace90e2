// The UDP packets of the Lite3 simulators: state in, commands out, newest packet wins.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lite3 {

inline constexpr std::size_t kJoints = 12;
using Joints = std::array<float, kJoints>;

#pragma pack(push, 1)
/// One sample of the simulated robot, 188 bytes.
struct StatePacket {
    double time_s;
    float rpy[3];    ///< rad
    float acc[3];    ///< m/s^2, base frame
    float omega[3];  ///< rad/s, base frame
    Joints position;  ///< rad
    Joints velocity;  ///< rad/s
    Joints torque;    ///< Nm
};
/// One joint command, 240 bytes.
struct CommandPacket {
    Joints stiffness;  ///< Nm/rad
    Joints position;   ///< rad
    Joints damping;    ///< Nm s/rad
    Joints velocity;   ///< rad/s
    Joints torque;     ///< Nm, feed-forward
};
/// What the operator's stick says.
struct OperatorPacket {
    float velocity[3];  ///< Forward, left, turn left, in the unit of the policy's contract.
};
#pragma pack(pop)
static_assert(sizeof(StatePacket) == 188 && sizeof(CommandPacket) == 240 && sizeof(OperatorPacket) == 12);

/// A non-blocking UDP socket on loopback.
class UdpSocket {
public:
    /// Receives on `port`; 0 lets the system choose (a socket that only sends).
    explicit UdpSocket(std::uint16_t port) : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        const sockaddr_in address = loopback(port);
        if (fd_ < 0 || bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
            throw std::runtime_error("UDP port " + std::to_string(port) + " on 127.0.0.1: " + std::strerror(errno));
        }
    }
    UdpSocket(const UdpSocket&) = delete;
    UdpSocket& operator=(const UdpSocket&) = delete;
    ~UdpSocket() { close(fd_); }

    /// Empties the socket, up to a bound that a flood cannot stretch; true if a packet of the right size came, the
    /// newest of which is kept.
    template <class Packet>
    bool newest(Packet& packet) const {
        bool received = false;
        // One byte more than a packet shows the ones that are too long.
        std::array<char, sizeof(Packet) + 1> buffer;
        for (int i = 0; i < 1000; ++i) {
            const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
            if (size < 0) break;
            if (size != sizeof(Packet)) continue;
            std::memcpy(&packet, buffer.data(), sizeof(Packet));
            received = true;
        }
        return received;
    }

    /// Sends to a loopback port. A packet that the system does not take is lost, as UDP packets are.
    template <class Packet>
    void send(const Packet& packet, std::uint16_t port) const {
        const sockaddr_in address = loopback(port);
        sendto(fd_, &packet, sizeof(packet), 0, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    }

private:
    static sockaddr_in loopback(std::uint16_t port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return address;
    }

    int fd_;
};

}  // namespace lite3
