// What the tests of the client begin with: a fake gaitd, a client that said hello, and its loop.
#pragma once

#include <optional>

#include "check.hpp"
#include "fake_gaitd.hpp"

inline gaitd::Config configOf(const SocketDir& dir, gaitd::Transport transport) {
    gaitd::Config config;
    config.endpoint_dir = dir.path();
    config.joints = lite3Joints();
    config.transport = transport;
    return config;
}

inline bool active(const gaitd::JointCommand& command) { return command.mode == gaitd::Mode::Active; }
inline bool damped(const gaitd::JointCommand& command) { return command.mode == gaitd::Mode::Damping; }

template <gaitd::Transport transport>
struct ClientScene {
    SocketDir dir;
    std::optional<FakeGaitd> gaitd{std::in_place, dir.path(), transport == gaitd::Transport::Shm};
    gaitd::Client client{configOf(dir, transport)};
    Loop loop{client};

    ClientScene() { client.hello(std::chrono::milliseconds(5000)); }
    explicit ClientScene(std::uint64_t deadline_ns) {
        gaitd->deadline_ns = deadline_ns;
        client.hello(std::chrono::milliseconds(5000));
    }

    std::uint64_t walk() {
        const std::uint64_t session = client.activate();
        CHECK(loop.until(active));
        return session;
    }

    void expectDamping(gaitd::Reason reason) {
        const gaitd::JointCommand& command = client.command(gaitd::monotonicNow_ns());
        CHECK_EQUAL(command.mode, gaitd::Mode::Damping);
        CHECK_EQUAL(command.reason, reason);
        CHECK_EQUAL(command.stiffness[0], 0.0F);
        CHECK_EQUAL(command.damping[0], 3.0F);
    }

    FakeLanes& lanes() { return *gaitd->lanes; }
};
