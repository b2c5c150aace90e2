// The sockets of the data path, as one that the link thread opens and the control thread uses.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <zmq.hpp>

#include <gaitd/messages.hpp>
#include <gaitd/route.hpp>

namespace gaitd {

class DataSockets {
public:
    /// Connects to slot 0's channels and the guardian's. Throws zmq::error_t.
    DataSockets(zmq::context_t& context, const Route& route)
        : state(context, zmq::socket_type::pub), command(context, zmq::socket_type::sub) {
        state.set(zmq::sockopt::sndhwm, 64);
        state.set(zmq::sockopt::linger, 0);
        route.connect(state, Channel::State);
        command.set(zmq::sockopt::conflate, true);
        command.set(zmq::sockopt::linger, 0);
        command.set(zmq::sockopt::subscribe, "");
        route.connect(command, Channel::Command);
        route.connect(command, Channel::Guard);
        settle();
    }

    /// Connects to every slot's channels, to each once. Throws zmq::error_t.
    void connect(const Route& route, const std::vector<Endpoint>& endpoints) {
        for (const Endpoint& endpoint : endpoints) {
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
            for (const auto& [socket, name] : {std::pair{&state, endpoint.state}, std::pair{&command, endpoint.command}}) {
                if (std::find(connected_.begin(), connected_.end(), name) != connected_.end()) continue;
                route.connect(*socket, name);
                connected_.push_back(name);
            }
        }
        settle();
    }

    /// Endpoints that this client does not know how to use.
    [[nodiscard]] const std::vector<std::string>& warnings() const noexcept { return warnings_; }

    zmq::socket_t state;
    zmq::socket_t command;

private:
    /// Lets the sockets take in their own connecting here, where allocation is allowed.
    void settle() {
        static_cast<void>(state.get(zmq::sockopt::events));
        static_cast<void>(command.get(zmq::sockopt::events));
    }

    void warn(const std::string& warning) {
        if (std::find(warnings_.begin(), warnings_.end(), warning) == warnings_.end()) warnings_.push_back(warning);
    }

    std::vector<std::string> connected_{kChannelNames[0], kChannelNames[1]};
    std::vector<std::string> warnings_;
};

/// What a session begins with when something is to be new: the link thread makes it, the control thread takes it up.
struct Renewal {
    Contract contract;
    std::unique_ptr<DataSockets> sockets;
};

}  // namespace gaitd
