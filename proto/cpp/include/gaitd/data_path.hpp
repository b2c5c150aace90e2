// The data path, as one that the link thread opens and the control thread uses: ZeroMQ sockets, or a lane of shared
// memory.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <zmq.hpp>

#include <gaitd/control.hpp>
#include <gaitd/errors.hpp>
#include <gaitd/lane.hpp>
#include <gaitd/messages.hpp>
#include <gaitd/pool.hpp>
#include <gaitd/route.hpp>

namespace gaitd {

/// How states and commands travel. Requests always go over ZeroMQ.
enum class Transport : std::uint8_t {
    Zmq,
    Shm,  ///< Shared memory: gaitd on this machine, with `transport = "shm"` in its gaitd.toml.
};

/// The data path of one connection. publish(), drain() and wait() are for the control thread.
class DataPath {
public:
    /// ZeroMQ: connects to slot 0's channels and the guardian's. Throws zmq::error_t.
    DataPath(zmq::context_t& context, const Route& route, Transport transport) : transport_(transport) {
        zmq_msg_init(&received_);
        if (transport == Transport::Shm) return;
        state_ = zmq::socket_t(context, zmq::socket_type::pub);
        command_ = zmq::socket_t(context, zmq::socket_type::sub);
        state_.set(zmq::sockopt::sndhwm, 64);
        state_.set(zmq::sockopt::linger, 0);
        route.connect(state_, Channel::State);
        command_.set(zmq::sockopt::conflate, true);
        command_.set(zmq::sockopt::linger, 0);
        command_.set(zmq::sockopt::subscribe, "");
        route.connect(command_, Channel::Command);
        route.connect(command_, Channel::Guard);
        settle();
    }
    DataPath(const DataPath&) = delete;
    DataPath& operator=(const DataPath&) = delete;
    ~DataPath() { zmq_msg_close(&received_); }

    /// Connects to every slot's channels, to each once; with shared memory gets a lane, once. Throws zmq::error_t,
    /// and UnreachableError or RefusedError where there is no lane.
    void connect(const Route& route, const std::vector<Endpoint>& endpoints) {
        if (transport_ == Transport::Shm) return openLane(route, endpoints);
        for (const Endpoint& endpoint : endpoints) {
            if (endpoint.transport == kShmTransport) continue;
            if (endpoint.transport != kTransport) {
                warn("slot " + std::to_string(endpoint.slot) + ": transport `" + endpoint.transport +
                     "` is not known to this client; no command will come from there");
                continue;
            }
            if (!route.reaches(endpoint.state) || !route.reaches(endpoint.command)) {
                warn("slot " + std::to_string(endpoint.slot) +
                     ": its channels have no TCP port; no command will come from there");
                continue;
            }
            for (const auto& [socket, name] : {std::pair{&state_, endpoint.state}, std::pair{&command_, endpoint.command}}) {
                if (std::find(connected_.begin(), connected_.end(), name) != connected_.end()) continue;
                route.connect(*socket, name);
                connected_.push_back(name);
            }
        }
        settle();
    }

    /// Endpoints that this client does not know how to use.
    [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }

    /// The lane, where there is one. It may be looked at by other threads, and outlives this.
    [[nodiscard]] std::shared_ptr<const Lane> lane() const noexcept { return lane_; }

    /// Sends the message of `size` bytes that `encode(buffer, size)` writes and returns the size of. False when it could
    /// not be sent. ZeroMQ's messages come from the pool.
    template <class Encode>
    bool publish(MessagePool& pool, std::size_t size, Encode encode) noexcept {
        if (transport_ == Transport::Shm) return lane_ != nullptr && lane_->publish(size, encode);
        zmq_msg_t* message = pool.front();
        // Made for another observation length: hello came again with another policy.
        while (message != nullptr && zmq_msg_size(message) != size) {
            zmq_msg_close(message);
            pool.pop();
            message = pool.front();
        }
        if (message == nullptr || encode(zmq_msg_data(message), size) != size ||
            zmq_msg_send(message, state_.handle(), ZMQ_DONTWAIT) < 0) {
            return false;
        }
        pool.pop();
        return true;
    }

    /// Calls `handle(bytes, size)` with what has come, a bounded number of messages.
    template <class Handle>
    void drain(Handle handle) noexcept {
        if (transport_ == Transport::Shm) {
            if (lane_ != nullptr) lane_->drain(handle);
            return;
        }
        for (int i = 0; i < kReceivesPerCall; ++i) {
            if (zmq_msg_recv(&received_, command_.handle(), ZMQ_DONTWAIT) < 0) return;
            handle(zmq_msg_data(&received_), zmq_msg_size(&received_));
        }
    }

    /// Sleeps until something may have come, at most `limit`.
    void wait(std::chrono::milliseconds limit) noexcept {
        if (lane_ != nullptr) return lane_->wait(limit);
        if (transport_ == Transport::Shm) return std::this_thread::sleep_for(limit);
        zmq_pollitem_t item{command_.handle(), 0, ZMQ_POLLIN, 0};
        zmq_poll(&item, 1, static_cast<long>(limit.count()));
    }

private:
    // Two connections with one message each; more only if a publisher is faster than this loop.
    static constexpr int kReceivesPerCall = 8;
    static constexpr std::chrono::milliseconds kLaneLimit{250};

    void openLane(const Route& route, const std::vector<Endpoint>& endpoints) {
        if (lane_ != nullptr && !lane_->isGone()) return;
        for (const Endpoint& endpoint : endpoints) {
            if (endpoint.transport != kShmTransport) continue;
            lane_ = std::make_shared<Lane>(route.socketPath(endpoint.state), kLaneLimit);
            return;
        }
        throw RefusedError(Reason::Contract,
                           "this gaitd serves no shared memory, which Config::transport asks for: set transport = "
                           "\"shm\" in the section [daemon] of its gaitd.toml, or Config::transport to Zmq");
    }

    /// Lets the sockets take in their own connecting here, where allocation is allowed.
    void settle() {
        static_cast<void>(state_.get(zmq::sockopt::events));
        static_cast<void>(command_.get(zmq::sockopt::events));
    }

    void warn(const std::string& warning) {
        if (std::find(warnings_.begin(), warnings_.end(), warning) == warnings_.end()) warnings_.push_back(warning);
    }

    const Transport transport_;
    zmq::socket_t state_;
    zmq::socket_t command_;
    zmq_msg_t received_{};
    std::shared_ptr<Lane> lane_;
    std::vector<std::string> connected_{kChannelNames[0], kChannelNames[1]};
    std::vector<std::string> warnings_;
};

/// What a session begins with when something is to be new: the link thread makes it, the control thread takes it up.
struct Renewal {
    Contract contract;
    std::unique_ptr<DataPath> path;
};

}  // namespace gaitd
