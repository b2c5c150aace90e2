// How gaitd is reached: by the sockets on its own machine, or over TCP with keys.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <zmq.hpp>

#include <gaitd/contract.hpp>
#include <gaitd/errors.hpp>

namespace gaitd {

/// A gaitd on the network. The key files are those that `gaitctl keygen` writes.
struct Remote {
    std::string host;           ///< The robot's address; empty: gaitd is on this machine.
    std::uint16_t port = kDefaultPort;  ///< `network.port` of its gaitd: the first of four.
    std::string server_key;     ///< File with the robot's public key, ROBOT.pub.
    std::string key;            ///< File with this controller's secret key, NAME.key; mode 0600.
};

class Route {
public:
    /// Reads the key files. Throws ConfigError.
    Route(const std::string& directory, const Remote& remote)
        : directory_(directory), host_(remote.host), port_(remote.port) {
        if (remote.host.empty()) return;
        if (remote.port == 0 || remote.port > 65536 - kChannelNames.size()) {
            throw ConfigError("Config::remote.port is " + std::to_string(remote.port) + "; 1 to 65532 are possible");
        }
        if (remote.server_key.empty() || remote.key.empty()) {
            throw ConfigError(std::string("Config::remote.") + (remote.key.empty() ? "key" : "server_key") +
                              " is empty: there is no TCP without keys; gaitctl keygen makes them");
        }
        if (zmq_has("curve") == 0) throw ConfigError("this libzmq was built without CURVE: there is no TCP with it");
        server_key_ = readKey(remote.server_key, 2);
        secret_key_ = readKey(remote.key, 1);
        std::array<char, kKeyLength + 1> derived{};
        if (zmq_curve_public(derived.data(), secret_key_.c_str()) != 0) throw notAKey(remote.key);
        public_key_ = derived.data();
    }

    /// Set the socket's other options before. Throws zmq::error_t.
    void connect(zmq::socket_t& socket, Channel channel) const { connectTo(socket, endpoint(channel)); }

    /// Connects to a channel that hello's reply names and that this route reaches. Throws zmq::error_t.
    void connect(zmq::socket_t& socket, const std::string& channel) const { connectTo(socket, endpoint(channel)); }

    [[nodiscard]] std::string endpoint(Channel channel) const {
        return endpoint(kChannelNames[static_cast<std::size_t>(channel)]);
    }

    /// Whether that channel can be connected to: over TCP, only those of the contract's own table have ports.
    [[nodiscard]] bool reaches(const std::string& channel) const {
        return host_.empty() || std::find(kChannelNames.begin(), kChannelNames.end(), channel) != kChannelNames.end();
    }

    [[nodiscard]] std::string endpoint(const std::string& channel) const {
        if (host_.empty()) return "ipc://" + directory_ + "/" + channel + ".sock";
        const auto found = std::find(kChannelNames.begin(), kChannelNames.end(), channel);
        if (found == kChannelNames.end()) {
            throw RefusedError(Reason::Contract, "gaitd's reply: the channel `" + channel + "` has no TCP port");
        }
        return "tcp://" + host_ + ":" + std::to_string(port_ + (found - kChannelNames.begin()));
    }

    /// The file of a Unix socket of gaitd's that is none of ZeroMQ's.
    [[nodiscard]] std::string socketPath(const std::string& channel) const { return directory_ + "/" + channel + ".sock"; }

    /// What to look at when nobody answers.
    [[nodiscard]] std::string advice() const {
        if (secret_key_.empty()) {
            return "is it running, is its runtime directory " + directory_ + ", and may this user open its sockets?";
        }
        return "is it running, does its network.address fit, is the server key its own, and is " + public_key_ +
               " in its network.allowed_keys?";
    }

private:
    void connectTo(zmq::socket_t& socket, const std::string& endpoint) const {
        socket.set(zmq::sockopt::reconnect_ivl,
                   static_cast<int>(secret_key_.empty() ? kReconnect_ms : kRemoteReconnect_ms));
        if (!secret_key_.empty()) {
            socket.set(zmq::sockopt::curve_serverkey, server_key_);
            socket.set(zmq::sockopt::curve_publickey, public_key_);
            socket.set(zmq::sockopt::curve_secretkey, secret_key_);
            socket.set(zmq::sockopt::heartbeat_ivl, static_cast<int>(kHeartbeat_ms));
        }
        socket.connect(endpoint);
    }

    static constexpr std::size_t kKeyLength = 40;

    /// A secret key is the file's only word, a public one the second, after its name.
    static std::string readKey(const std::string& path, std::size_t words) {
        struct stat status {};
        std::ifstream file(path);
        if (!file || stat(path.c_str(), &status) != 0) {
            throw ConfigError("key file " + path + ": cannot be read: " + std::strerror(errno));
        }
        if (words == 1 && (status.st_mode & 077U) != 0) {
            throw ConfigError("key file " + path + ": others may use this secret key; chmod 600 " + path);
        }
        std::string key;
        std::string word;
        std::size_t found = 0;
        while (file >> word) {
            key = word;
            ++found;
        }
        std::array<std::uint8_t, 32> bytes{};
        if (found != words || key.size() != kKeyLength || zmq_z85_decode(bytes.data(), key.c_str()) == nullptr) {
            throw notAKey(path);
        }
        return key;
    }

    static ConfigError notAKey(const std::string& path) {
        return ConfigError("key file " + path +
                           ": not as gaitctl keygen writes it: NAME.key with a secret key alone, NAME.pub with a name "
                           "and a public key");
    }

    std::string directory_;
    std::string host_;
    std::uint16_t port_;
    std::string server_key_;
    std::string public_key_;
    std::string secret_key_;
};

}  // namespace gaitd
