// --robot HOST[:PORT], --server-key FILE and --key FILE: gaitd over TCP. --transport zmq|shm: how states travel.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

#include <gaitd/data_path.hpp>
#include <gaitd/route.hpp>

#include "options.hpp"

/// Throws std::invalid_argument.
inline gaitd::Remote remoteOf(const Options& options) {
    gaitd::Remote remote;
    for (const char* name : {"--robot", "--server-key", "--key"}) {
        if (options.has(name) != options.has("--robot")) {
            throw std::invalid_argument("--robot, --server-key and --key belong together");
        }
    }
    const std::string robot = options.text("--robot", "");
    const std::size_t colon = robot.find(':');
    remote.host = robot.substr(0, colon);
    remote.server_key = options.text("--server-key", "");
    remote.key = options.text("--key", "");
    if (colon != std::string::npos) {
        const std::string text = robot.substr(colon + 1);
        const long port = text.find_first_not_of("0123456789") == std::string::npos ? std::atol(text.c_str()) : 0;
        if (port < 1 || port > 65532) throw std::invalid_argument("--robot needs HOST or HOST:PORT, not `" + robot + "`");
        remote.port = static_cast<std::uint16_t>(port);
    }
    return remote;
}

/// Throws std::invalid_argument.
inline gaitd::Transport transportOf(const Options& options) {
    const std::string name = options.text("--transport", "zmq");
    if (name == "zmq") return gaitd::Transport::Zmq;
    if (name == "shm") return gaitd::Transport::Shm;
    throw std::invalid_argument("--transport is zmq or shm, not `" + name + "`");
}
