// How gaitd is reached: by the sockets on its own machine, or over TCP with keys.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <zmq.hpp>

#include <gaitd/errors.hpp>

namespace gaitd {

/// A gaitd on the network. The key files are those that `gaitctl keygen` writes.
struct Remote {
    std::string host;           ///< The robot's address; empty: gaitd is on this machine.
    std::uint16_t port = 9460;  ///< `network.port` of its gaitd: the first of four.
    std::string server_key;     ///< File with the robot's public key, ROBOT.pub.
    std::string key;            ///< File with this controller's secret key, NAME.key; mode 0600.
};

enum class Channel : std::uint8_t { State, Command, Guard, Control };

class Route {
public:
    /// Reads the key files. Throws ConfigError.
    Route(const std::string& directory, const Remote& remote) {
        constexpr std::array<const char*, 4> kNames{"state", "command", "guard", "control"};
        if (remote.host.empty()) {
            for (std::size_t i = 0; i < kNames.size(); ++i) {
                endpoints_[i] = "ipc://" + directory + "/" + kNames[i] + ".sock";
            }
            return;
        }
        if (remote.port == 0 || remote.port > 65536 - kNames.size()) {
            throw ConfigError("Config::remote.port is " + std::to_string(remote.port) + "; 1 to 65532 are possible");
        }
        for (std::size_t i = 0; i < kNames.size(); ++i) {
            endpoints_[i] = "tcp://" + remote.host + ":" + std::to_string(remote.port + i);
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
    void connect(zmq::socket_t& socket, Channel channel) const {
        socket.set(zmq::sockopt::reconnect_ivl, secret_key_.empty() ? 5 : kRemoteReconnect_ms);
        if (!secret_key_.empty()) {
            socket.set(zmq::sockopt::curve_serverkey, server_key_);
            socket.set(zmq::sockopt::curve_publickey, public_key_);
            socket.set(zmq::sockopt::curve_secretkey, secret_key_);
            socket.set(zmq::sockopt::heartbeat_ivl, kHeartbeat_ms);
        }
        socket.connect(endpoint(channel));
    }

    [[nodiscard]] const std::string& endpoint(Channel channel) const noexcept {
        return endpoints_[static_cast<std::size_t>(channel)];
    }

    /// What to look at when nobody answers.
    [[nodiscard]] std::string advice() const {
        if (secret_key_.empty()) return "is it running, and may this user open its sockets?";
        return "is it running, does its network.address fit, is the server key its own, and is " + public_key_ +
               " in its network.allowed_keys?";
    }

private:
    static constexpr std::size_t kKeyLength = 40;
    // With a wrong server key it goes on for ever, and each attempt costs the robot a handshake.
    static constexpr int kRemoteReconnect_ms = 100;
    // A robot that lost its power says no goodbye.
    static constexpr int kHeartbeat_ms = 1000;

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

    std::array<std::string, 4> endpoints_;
    std::string server_key_;
    std::string public_key_;
    std::string secret_key_;
};

}  // namespace gaitd
