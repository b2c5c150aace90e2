// The client over shared memory, against a fake gaitd.
#include <filesystem>

#include <sys/wait.h>

#include <gaitd/client.hpp>

#include "client_scene.hpp"

using namespace gaitd;
using std::chrono::milliseconds;

namespace {

Config config(const SocketDir& dir) { return configOf(dir, Transport::Shm); }

using Scene = ClientScene<Transport::Shm>;

std::size_t openDescriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
}

/// What a lane says that is handed out with one thing wrong.
template <class Spoil>
std::string refusalOf(Spoil spoil) {
    const SocketDir dir;
    FakeLanes lanes(dir.path());
    spoil(lanes);
    std::atomic<bool> done{false};
    std::thread desk([&] {
        while (!done) lanes.serve(), std::this_thread::sleep_for(milliseconds(1));
    });
    std::string text = "nothing";
    try {
        const Lane lane(dir.path() + "/shm.sock", milliseconds(2000));
    } catch (const Error& error) {
        text = check::textOf(error);
    }
    done = true;
    desk.join();
    return text;
}

#define CHECK_REFUSED(text, ...)                                                                   \
    do {                                                                                           \
        const std::size_t before = openDescriptors();                                              \
        const std::string said = refusalOf([](FakeLanes & lanes) { __VA_ARGS__ });                  \
        if (said.find(text) == std::string::npos) check::fail(__FILE__, __LINE__, "text is: " + said); \
        CHECK_EQUAL(openDescriptors(), before);                                                    \
    } while (false)

}  // namespace

CASE(a_session_over_shared_memory) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    CHECK(scene.loop.until([](const JointCommand& command) { return command.seq >= 5; }));
    CHECK_EQUAL(scene.gaitd->lastState().session, session);
    CHECK_EQUAL(scene.client.command(monotonicNow_ns()).stiffness[0], 30.0F);
    CHECK_EQUAL(scene.gaitd->malformed.load(), 0U);
    CHECK_EQUAL(scene.client.counters().unpublished, 0U);
}

CASE(wait_ends_when_a_command_comes) {
    Scene scene;
    scene.walk();
    RobotState state;
    for (int i = 0; i < 3; ++i) {
        const std::uint64_t seq = scene.client.command(monotonicNow_ns()).seq;
        state.stamp_ns = monotonicNow_ns();
        CHECK(scene.client.publish(state));
        while (scene.client.command(monotonicNow_ns()).seq <= seq) {
            const std::uint64_t began_ns = monotonicNow_ns();
            scene.client.wait(milliseconds(20'000));
            CHECK(monotonicNow_ns() - began_ns < 15'000'000'000);
        }
    }
}

CASE(the_guardians_damping_wins) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    scene.gaitd->sendAsGuardian(FakeGaitd::damping(session, Reason::Deadline));
    CHECK(scene.loop.until(damped));
    CHECK_EQUAL(scene.client.command(monotonicNow_ns()).reason, Reason::Deadline);
    CommandMessage late = scene.gaitd->answerTo(scene.gaitd->lastState());
    late.session = session;
    scene.gaitd->sendAsWorker(late);  // Nothing leads back.
    CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.counters().of(Refusal::Latched) > 0; }));
    CHECK(damped(scene.client.command(monotonicNow_ns())));
}

CASE(after_damping_there_is_a_fresh_lane) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    scene.gaitd->sendAsGuardian(FakeGaitd::damping(session, Reason::Deadline));
    CHECK(scene.loop.until(damped));
    CHECK_EQUAL(scene.lanes().accepted.load(), 1);
    CHECK(scene.walk() > session);
    CHECK_EQUAL(scene.lanes().accepted.load(), 2);
}

CASE(a_frozen_ring_ends_in_damping) {
    Scene scene(100'000'000);
    scene.walk();
    scene.gaitd->answers_states = false;
    CHECK(scene.loop.until(damped));
    CHECK_EQUAL(scene.client.command(monotonicNow_ns()).reason, Reason::ClientDeadline);
}

CASE(a_scrambled_ring_ends_in_damping) {
    for (const bool counter : {true, false}) {
        Scene scene(100'000'000);
        scene.walk();
        scene.gaitd->answers_states = false;
        // The counter runs on without records, or the records are overwritten under it.
        std::uint64_t number = 1'000'000;
        CHECK(scene.loop.until([&](const JointCommand& command) {
            unsigned char* const memory = scene.lanes().commands.memory;
            if (counter) {
                __atomic_store_n(reinterpret_cast<std::uint64_t*>(memory + ring::kCounterAt), ++number, __ATOMIC_RELEASE);
            } else {
                auto* words = reinterpret_cast<std::uint64_t*>(memory + ring::kCounterAt);
                for (std::size_t i = 0; i < 500; ++i) __atomic_store_n(words + i, ++number * 0x9e3779b97f4a7c15U, __ATOMIC_RELAXED);
            }
            return damped(command);
        }));
        CHECK_EQUAL(scene.client.command(monotonicNow_ns()).reason, Reason::ClientDeadline);
        CHECK_EQUAL(scene.client.command(monotonicNow_ns()).stiffness[0], 0.0F);
    }
}

CASE(forged_commands_are_refused) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    CHECK(scene.loop.until([](const JointCommand& command) { return command.seq >= 3; }));
    scene.gaitd->answers_states = false;
    const StateMessage state = scene.gaitd->lastState();
    scene.loop.publishes = false;
    const auto refused = [&](Refusal refusal, auto change) {
        CommandMessage command = scene.gaitd->answerTo(state);
        change(command);
        const std::uint64_t before = scene.client.counters().of(refusal);
        scene.gaitd->sendAsWorker(command);
        CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.counters().of(refusal) > before; }));
    };
    refused(Refusal::ForeignSession, [&](CommandMessage& command) { command.session = session + 1; });
    refused(Refusal::OldEpoch, [](CommandMessage& command) { --command.epoch; });
    refused(Refusal::ForeignSlot, [](CommandMessage& command) { command.slot = 2; });
    refused(Refusal::Unpublished, [](CommandMessage& command) { command.seq += 1000; });
    refused(Refusal::Replayed, [](CommandMessage&) {});
    const std::uint64_t malformed = scene.client.counters().of(Refusal::Malformed);
    scene.gaitd->sendAsWorker("\xff\xff");
    CHECK(scene.loop.until(
        [&](const JointCommand&) { return scene.client.counters().of(Refusal::Malformed) > malformed; }));
    CHECK(active(scene.client.command(monotonicNow_ns())));
}

CASE(without_shared_memory_in_gaitd_hello_says_what_to_do) {
    const SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    CHECK_THROWS(RefusedError, "set transport = \"shm\" in the section [daemon]", client.hello(milliseconds(5000)));
}

CASE(without_a_lane_hello_says_why_and_activate_tries_again) {
    const SocketDir dir;
    FakeGaitd gaitd(dir.path(), true);
    gaitd.lanes->full = true;
    Client client(config(dir));
    Loop loop(client);
    CHECK_THROWS(RefusedError, "all lanes are taken", client.hello(milliseconds(5000)));
    CHECK_THROWS(RefusedError, "all lanes are taken", client.activate());
    gaitd.lanes->full = false;
    client.activate();
    CHECK(loop.until(active));
}

CASE(shared_memory_is_not_for_another_machine) {
    const SocketDir dir;
    Config remote = config(dir);
    remote.remote.host = "192.0.2.1";
    CHECK_THROWS(ConfigError, "shared memory needs gaitd on this machine", Client{remote});
}

CASE(when_gaitd_is_gone_it_damps_and_finds_the_next_one) {
    Scene scene(100'000'000);
    scene.walk();
    scene.gaitd.reset();
    CHECK(scene.loop.until(damped));
    CHECK_EQUAL(scene.client.command(monotonicNow_ns()).reason, Reason::ClientDeadline);
    scene.gaitd.emplace(scene.dir.path(), true);
    scene.gaitd->deadline_ns = 100'000'000;
    scene.gaitd->next_session = 500;
    std::uint64_t session = 0;
    CHECK(check::eventually([&] {
        try {
            session = scene.client.activate();
        } catch (const Error&) {
            return false;
        }
        return true;
    }));
    CHECK_EQUAL(session, 500U);
    CHECK(scene.loop.until(active));
}

CASE(what_is_handed_out_is_held_against_the_contract) {
    CHECK_REFUSED("nothing", static_cast<void>(lanes););
    CHECK_REFUSED("all 8 lanes", lanes.greeting = "all 8 lanes are taken"; lanes.fds.clear(););
    CHECK_REFUSED("4 descriptors", lanes.fds.pop_back(););
    CHECK_REFUSED("0 descriptors", lanes.fds.clear(););
    static const RingFile shrinks(ring::Kind::Guard, 8, 1024, F_SEAL_GROW);
    CHECK_REFUSED("may still shrink", lanes.fds[2] = shrinks.fd.get(););
    CHECK_REFUSED("may still shrink", lanes.fds[3] = lanes.worker.get(););
    CHECK_REFUSED("no ring of this version", lanes.fds[3] = lanes.guard.fd.get(););
    CHECK_REFUSED("no ring of this version", lanes.guard.memory[0] ^= 1;);
    CHECK_REFUSED("another size", lanes.guard.memory[24] = 9;);
    CHECK_REFUSED("another size", lanes.guard.memory[24] = 0;);
    CHECK_REFUSED("another size", lanes.guard.memory[32] = 255; lanes.guard.memory[39] = 255;);
}

CASE(a_state_that_does_not_fit_is_not_published) {
    const SocketDir dir;
    FakeLanes lanes(dir.path());
    std::thread desk([&] {
        while (lanes.accepted == 0) lanes.serve(), std::this_thread::sleep_for(milliseconds(1));
    });
    Lane lane(dir.path() + "/shm.sock", milliseconds(2000));
    desk.join();
    const auto whole = [](void*, std::size_t size) { return size; };
    CHECK(lane.publish(FakeLanes::kRoom, whole));
    CHECK(!lane.publish(FakeLanes::kRoom + 1, whole));
    CHECK(!lane.publish(10, [](void*, std::size_t size) { return size - 1; }));
}

CASE(a_child_leaves_the_lane_alone) {
    Scene scene;
    scene.walk();
    const pid_t child = fork();
    if (child == 0) {
        RobotState state;
        state.stamp_ns = monotonicNow_ns();
        const bool published = scene.client.publish(state);
        _exit(published ? 1 : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(scene.loop.until([](const JointCommand& command) { return command.seq >= 5; }));
}

int main() { return check::run(); }
