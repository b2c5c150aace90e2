// The client against a fake gaitd over real sockets.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <gaitd/client.hpp>

#include "client_scene.hpp"

using namespace gaitd;
using std::chrono::milliseconds;

namespace {

Config config(const SocketDir& dir) { return configOf(dir, Transport::Zmq); }

using Scene = ClientScene<Transport::Zmq>;

/// Stands between a client and one of gaitd's sockets. A connection can be muted: it lives on and delivers nothing, as
/// libzmq's does after one failed write.
class Relay {
public:
    Relay(const std::string& listen_path, const std::string& target_path) : target_path_(target_path) {
        const sockaddr_un address = addressOf(listen_path);
        CHECK(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
        CHECK(listen(listener_, 8) == 0);
        thread_ = std::thread([this] { run(); });
    }
    ~Relay() {
        stop_ = true;
        thread_.join();
        for (const Pair& pair : pairs_) {
            close(pair.client);
            close(pair.gaitd);
        }
        close(listener_);
    }

    /// Mutes every connection there is now.
    void mute() { muted_ = accepted_.load(); }
    [[nodiscard]] std::size_t accepted() const { return accepted_; }

private:
    struct Pair {
        int client;
        int gaitd;
    };

    static sockaddr_un addressOf(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof(address.sun_path) - 1);
        return address;
    }

    void run() {
        while (!stop_) {
            std::vector<pollfd> fds{{listener_, POLLIN, 0}};
            for (const Pair& pair : pairs_) {
                fds.push_back({pair.client, POLLIN, 0});
                fds.push_back({pair.gaitd, POLLIN, 0});
            }
            poll(fds.data(), fds.size(), 5);
            for (std::size_t i = 0; i < pairs_.size(); ++i) {
                if (fds[1 + 2 * i].revents != 0) pass(pairs_[i].client, pairs_[i].gaitd, true);
                if (fds[2 + 2 * i].revents != 0) pass(pairs_[i].gaitd, pairs_[i].client, i >= muted_);
            }
            if (fds[0].revents != 0) accept();
        }
    }

    void accept() {
        const int gaitd = socket(AF_UNIX, SOCK_STREAM, 0);
        const sockaddr_un address = addressOf(target_path_);
        CHECK(connect(gaitd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
        pairs_.push_back({::accept(listener_, nullptr, nullptr), gaitd});
        ++accepted_;
    }

    static void pass(int from, int to, bool deliver) {
        std::array<char, 65536> bytes{};
        const ssize_t size = recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (size <= 0) return static_cast<void>(shutdown(to, SHUT_RDWR));
        if (deliver && ::send(to, bytes.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) < 0) return;
    }

    const std::string target_path_;
    const int listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
    std::vector<Pair> pairs_;
    std::atomic<std::size_t> accepted_{0};
    std::atomic<std::size_t> muted_{0};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace

CASE(a_connection_that_delivers_nothing_more_ends_one_session_not_all) {
    SocketDir real;
    SocketDir dir;
    FakeGaitd gaitd(real.path());
    gaitd.deadline_ns = 200'000'000;
    for (const char* name : {"control", "state", "guard"}) {
        const std::string file = std::string("/") + name + ".sock";
        std::filesystem::create_symlink(real.path() + file, dir.path() + file);
    }
    Relay relay(dir.path() + "/command.sock", real.path() + "/command.sock");
    Client client(config(dir));
    client.hello(milliseconds(5000));
    Loop loop(client);
    client.activate();
    CHECK(loop.until(active));
    CHECK_EQUAL(relay.accepted(), 1U);
    relay.mute();
    CHECK(loop.until(damped));
    client.activate();
    CHECK(loop.until(active));
    CHECK_EQUAL(relay.accepted(), 2U);
    // After a session that ended well the connections stay.
    client.requestRelease();
    CHECK(loop.until([](const JointCommand& command) { return command.mode == Mode::Idle; }));
    client.activate();
    CHECK(loop.until(active));
    CHECK_EQUAL(relay.accepted(), 2U);
}

CASE(without_a_file_descriptor_left_an_activation_still_ends_in_time) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Config quick = config(dir);
    quick.request_timeout = milliseconds(100);
    Client client(quick);
    Loop loop(client);
    client.hello(milliseconds(5000));
    gaitd.answers_control = false;
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const rlimit few{128, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    std::vector<int> taken;
    for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY)) taken.push_back(fd);
    for (int i = 0; i < 3; ++i) {
        client.requestActivate();
        CHECK(check::eventually([&] { return client.activation() == Activation::Refused; }));
        CHECK(client.activationError().find("did not answer") != std::string::npos);
    }
    CHECK(client.activationError().find("Too many open files") != std::string::npos);
    // Where new data sockets are wanted and there are none, that is said, too.
    client.requestDamping("no");
    CHECK(damped(client.command(monotonicNow_ns())));
    for (const int fd : taken) close(fd);
    setrlimit(RLIMIT_NOFILE, &before);
    gaitd.answers_control = true;
    CHECK(check::eventually([&] {
        client.requestActivate();
        return loop.until(active, milliseconds(500));
    }));
}

CASE(a_child_of_a_fork_is_refused_and_leaves_the_parents_session_alone) {
    Scene scene;
    scene.walk();
    for (const bool destroys : {true, false}) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(5);
            Client& client = scene.client;
            client.requestActivate();
            bool right = client.activation() == Activation::Refused;
            right = right && client.activationError().find("made before a fork") != std::string::npos;
            right = right && client.obstacle().find("made before a fork") != std::string::npos;
            for (int i = 0; i < 20; ++i) {
                RobotState state;
                state.stamp_ns = monotonicNow_ns();
                right = right && !client.publish(state);
                client.command(monotonicNow_ns());
            }
            for (const bool hello : {true, false}) {
                try {
                    if (hello) client.hello(milliseconds(1000));
                    if (!hello) client.activate();
                    right = false;
                } catch (const RefusedError&) {
                }
            }
            client.requestDamping("child");
            client.requestRelease();
            client.wait(milliseconds(1));
            if (destroys) client.~Client();
            // Another program's exit status: a leak checker has nothing to say about this one's threads.
            execl(right ? "/bin/true" : "/bin/false", "", nullptr);
            _exit(2);
        }
        int status = -1;
        CHECK(scene.loop.until([&](const JointCommand& command) {
            CHECK(active(command));
            return waitpid(child, &status, WNOHANG) == child;
        }, milliseconds(10000)));
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    const std::uint64_t seq = scene.client.command(monotonicNow_ns()).seq;
    CHECK(scene.loop.until([&](const JointCommand& command) { return active(command) && command.seq > seq + 5; }));
    CHECK(scene.gaitd->damps().empty());
}

CASE(gaitd_is_told_how_each_session_ended_in_damping) {
    Scene scene;
    CHECK_EQUAL(scene.gaitd->told().entry.session, 0U);
    CHECK(!scene.gaitd->told().watched);
    CHECK(!scene.gaitd->told().simulated);
    for (const Reason reason : {Reason::WorkerDied, Reason::Operator}) {
        const std::uint64_t began_ns = monotonicNow_ns();
        const std::uint64_t session = scene.walk();
        if (reason == Reason::Operator) scene.client.requestDamping("a button");
        if (reason != Reason::Operator) scene.gaitd->sendAsGuardian(FakeGaitd::damping(session, reason));
        CHECK(scene.loop.until(damped));
        const std::uint64_t damped_ns = monotonicNow_ns();
        CHECK(check::eventually([&] { return scene.gaitd->told().entry.session == session; }));
        const AccountEntry entry = scene.gaitd->told().entry;
        CHECK_EQUAL(entry.reason, static_cast<std::uint64_t>(reason));
        CHECK_EQUAL(entry.thread, static_cast<std::uint64_t>(syscall(SYS_gettid)));
        CHECK(entry.command_ns > began_ns);
        CHECK(entry.command_ns <= entry.damped_ns);
        CHECK(entry.damped_ns <= damped_ns);
    }
}

CASE(what_was_told_to_a_gaitd_that_went_is_told_to_the_next_one_and_another_policy_is_not_taken_up) {
    Scene scene(FakeGaitd::kDeadline_ns);
    const std::uint64_t session = scene.walk();
    scene.gaitd.reset();
    CHECK(scene.loop.until(damped, milliseconds(2000)));
    scene.gaitd.emplace(scene.dir.path());
    scene.gaitd->policy = 'b';
    CHECK(check::eventually([&] { return scene.gaitd->told().entry.session == session; }));
    CHECK_EQUAL(scene.gaitd->told().entry.reason, static_cast<std::uint64_t>(Reason::ClientDeadline));
    CHECK_THROWS(RefusedError, "call hello() again", scene.client.activate());
}

CASE(a_session_without_a_command_is_told_as_such) {
    Scene scene;
    scene.gaitd->answers_states = false;
    const std::uint64_t session = scene.client.activate();
    scene.gaitd->sendAsGuardian(FakeGaitd::damping(session, Reason::Limit));
    CHECK(scene.loop.until(damped));
    CHECK(check::eventually([&] { return scene.gaitd->told().entry.session == session; }));
    CHECK_EQUAL(scene.gaitd->told().entry.command_ns, 0U);
}

CASE(a_loop_that_stands_still_is_told_while_it_does) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.deadline_ns = 100'000'000;
    Config simulated = config(dir);
    simulated.simulated = true;
    Client client(simulated);
    client.watch([](const JointCommand&) {});
    client.hello(milliseconds(5000));
    Loop loop(client);
    const std::uint64_t session = client.activate();
    CHECK(loop.until(active));
    CHECK(check::eventually([&] { return gaitd.told().entry.session == session; }));
    const FakeGaitd::Told told = gaitd.told();
    CHECK(told.watched);
    CHECK(told.simulated);
    CHECK_EQUAL(told.entry.reason, static_cast<std::uint64_t>(Reason::ClientDeadline));
    CHECK(told.entry.damped_ns > told.entry.command_ns);
    client.command(monotonicNow_ns());
    CHECK_EQUAL(client.command(monotonicNow_ns()).mode, Mode::Damping);
    client.hello(milliseconds(5000));
    CHECK_EQUAL(gaitd.told().entry.damped_ns, told.entry.damped_ns);  // The first counts.
}

CASE(a_loop_that_stands_still_is_damped_by_the_watchdog) {
    std::atomic<int> sent{0};
    std::atomic<bool> soft{true};
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.deadline_ns = 100'000'000;
    gaitd.stance_ns = kMaxStance_ns;
    Client client(config(dir));
    client.watch([&](const JointCommand& command) {
        soft = soft && command.mode == Mode::Damping && command.stiffness[0] == 0.0F && command.damping[11] == 3.0F;
        ++sent;
        throw std::runtime_error("the controller's own trouble");
    });
    client.hello(milliseconds(5000));
    Loop loop(client);
    for (const bool in_stance : {false, true}) {
        sent = 0;
        client.activate();
        CHECK(loop.until(active));
        if (in_stance) {
            gaitd.sendAsGuardian(FakeGaitd::damping(client.session(), Reason::WorkerDied));
            CHECK(loop.until(damped));
            CHECK_EQUAL(client.command(monotonicNow_ns()).stiffness[0], 30.0F);
        }
        CHECK(check::eventually([&] { return sent == Watchdog::kRepeats; }));
        CHECK(soft);
        // No stance begins, or goes on, in a robot that has let go.
        const JointCommand& command = client.command(monotonicNow_ns());
        CHECK_EQUAL(command.mode, Mode::Damping);
        CHECK_EQUAL(command.reason, in_stance ? Reason::WorkerDied : Reason::ClientDeadline);
        CHECK_EQUAL(command.stiffness[0], 0.0F);
    }
    const int before = sent;
    std::this_thread::sleep_for(milliseconds(250));
    CHECK_EQUAL(sent.load(), before);  // Nothing to watch in damping.
}

CASE(a_changed_policy_is_taken_up_by_a_client_that_renews) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Config renewing = config(dir);
    renewing.renew = milliseconds(20);
    Client client(renewing);
    client.hello(milliseconds(5000));
    Loop loop(client);
    client.activate();
    CHECK(loop.until(active));
    const std::uint64_t hellos = gaitd.hellos;
    gaitd.policy = 'b';
    gaitd.stance_ns = 100'000'000;
    loop.during(milliseconds(100));
    CHECK(gaitd.hellos <= hellos + 1);  // Not while the policy moves the robot.
    CHECK_EQUAL(client.contract().firstPolicy().id, std::string(16, 'a'));
    client.requestRelease();
    CHECK(loop.until([&](const JointCommand&) { return client.contract().firstPolicy().id == std::string(16, 'b'); }));
    CHECK_EQUAL(client.contract().times.stance_ns, 100'000'000U);
    gaitd.misses = "stiffness";
    CHECK(check::eventually([&] { return client.obstacle() == "gaitd's reply has no `stiffness`"; }));
    gaitd.misses = "";
    gaitd.policy = 'c';
    client.activate();
    CHECK(loop.until(active));
    CHECK_EQUAL(client.contract().firstPolicy().id, std::string(16, 'c'));
    CHECK_EQUAL(client.obstacle(), "");
}

CASE(an_answer_to_hello_that_comes_too_late_is_taken_up_before_the_next_session) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.answers_after_ms = 100;
    Client client(config(dir));
    CHECK_EQUAL(client.obstacle(), "gaitd has not answered hello yet");
    CHECK_THROWS(UnreachableError, "did not answer hello", client.hello(milliseconds(30)));
    CHECK(check::eventually([&] { return client.obstacle().empty(); }));
    gaitd.answers_after_ms = 0;
    Loop loop(client);
    client.activate();
    CHECK(loop.until(active));
    CHECK_EQUAL(client.contract().period_ns, FakeGaitd::kPeriod_ns);
}

CASE(hello_brings_the_contract) {
    Scene scene(FakeGaitd::kDeadline_ns);
    const Contract& contract = scene.client.contract();
    CHECK_EQUAL(contract.firstPolicy().name, "fake");
    CHECK_EQUAL(contract.period_ns, FakeGaitd::kPeriod_ns);
    CHECK_EQUAL(contract.times.deadline_ns, FakeGaitd::kDeadline_ns);
    CHECK_EQUAL(contract.joints.size(), 12U);
    CHECK_EQUAL(contract.observation_dim, 45U);
    CHECK_EQUAL(contract.velocity_command_min[0], -1.0F);
    CHECK_EQUAL(contract.default_joint_position[11], 0.7F);
    CHECK_EQUAL(scene.client.command(1).damping[0], 3.0F);
}

CASE(a_refused_hello_gives_gaitds_own_text) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.refuses_hello = "joint FL_HipX_joint is missing";
    Client client(config(dir));
    CHECK_THROWS(RefusedError, "joint FL_HipX_joint is missing", client.hello(milliseconds(5000)));
    try {
        client.hello(milliseconds(5000));
    } catch (const RefusedError& error) {
        CHECK_EQUAL(error.reason(), Reason::Contract);
    }
}

CASE(a_contract_with_something_missing_is_refused_by_name) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    for (const char* key : {"gaitd", "policies", "policy", "period_ns", "times", "deadline_ns", "first_command_ns",
                            "stance_ns", "endpoints", "joints", "joint_targets", "fields", "inputs", "observation_dim",
                            "action_dim", "velocity_command", "default_joint_position", "stiffness", "damping",
                            "fallback_damping"}) {
        gaitd.misses = key;
        CHECK_THROWS(RefusedError, key, client.hello(milliseconds(5000)));
    }
}

CASE(a_stance_of_more_than_half_a_second_is_refused) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    gaitd.stance_ns = kMaxStance_ns + 1;
    CHECK_THROWS(RefusedError, "stance_ns", client.hello(milliseconds(5000)));
    gaitd.stance_ns = kMaxStance_ns;
    CHECK_EQUAL(client.hello(milliseconds(5000)).times.stance_ns, 500'000'000U);
}

CASE(a_first_command_of_more_than_five_seconds_is_refused) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    for (const std::uint64_t wrong : {std::uint64_t{0}, kMaxFirstCommand_ns + 1}) {
        gaitd.first_command_ns = wrong;
        CHECK_THROWS(RefusedError, "first_command_ns", client.hello(milliseconds(5000)));
    }
    gaitd.first_command_ns = kMaxFirstCommand_ns;
    CHECK_EQUAL(client.hello(milliseconds(5000)).times.first_command_ns, 5'000'000'000U);
}

CASE(the_first_command_may_take_as_long_as_gaitd_says) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.first_command_ns = 2'500'000'000;
    gaitd.answers_states = false;
    Client client(config(dir));
    client.hello(milliseconds(5000));
    client.activate();
    Loop loop(client);
    const std::uint64_t began_ns = monotonicNow_ns();
    CHECK(loop.until(damped));
    CHECK(monotonicNow_ns() - began_ns >= 2'500'000'000);
    CHECK_EQUAL(client.command(monotonicNow_ns()).reason, Reason::ClientDeadline);
}

CASE(a_joint_target_that_the_client_does_not_know_is_refused_with_its_joint) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    gaitd.joint_targets[4] = "prayer";
    CHECK_THROWS(RefusedError, "joint FR_HipY_joint is to follow `prayer`", client.hello(milliseconds(5000)));
    gaitd.joint_targets[4] = "velocity";
    gaitd.joint_targets[5] = "torque";
    const Contract& contract = client.hello(milliseconds(5000));
    CHECK(contract.joint_targets[3] == JointTarget::Position);
    CHECK(contract.joint_targets[4] == JointTarget::Velocity);
    CHECK(contract.joint_targets[5] == JointTarget::Torque);
    gaitd.joint_targets = std::vector<std::string>(11, "position");
    CHECK_THROWS(RefusedError, "11 entries for 12 joints", client.hello(milliseconds(5000)));
}

CASE(named_inputs_that_the_client_does_not_send_are_refused_by_name) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    gaitd.inputs = {"gait_phase", "height_map"};
    CHECK_THROWS(RefusedError, "the input gait_phase, which Config::inputs does not name",
                 client.hello(milliseconds(5000)));
}

CASE(named_inputs_have_their_places_in_the_state) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Config named = config(dir);
    named.inputs = {"gait_phase", "height_map", "another"};
    Client client(named);
    gaitd.inputs = {"height_map", "gait_phase"};
    const Contract& contract = client.hello(milliseconds(5000));
    CHECK_EQUAL(contract.inputs.size(), 2U);
    CHECK_EQUAL(contract.inputs[1].name, std::string("gait_phase"));
    CHECK_EQUAL(contract.inputs[1].offset, 2U);
    CHECK_EQUAL(contract.inputs[1].length, 2U);
    const InputSizes sizes = contract.inputSizes();
    RobotState state;
    state.stamp_ns = 7;
    for (std::size_t i = 0; i < 4; ++i) state.inputs[i] = static_cast<float>(i) + 0.5F;
    std::vector<std::uint8_t> bytes(stateSize(12, false, sizes));
    CHECK_EQUAL(encodeState(state, 1, 2, 12, false, bytes.data(), bytes.size(), sizes), bytes.size());
    StateMessage read;
    CHECK_EQUAL(decodeState(bytes.data(), bytes.size(), 12, read), Refusal::Malformed);
    CHECK_EQUAL(decodeState(bytes.data(), bytes.size(), 12, read, sizes), Refusal::None);
    for (std::size_t i = 0; i < 4; ++i) CHECK_EQUAL(read.state.inputs[i], state.inputs[i]);
}

CASE(a_gaitd_of_another_version_is_named_with_both_versions) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    gaitd.reply_version = 3;
    CHECK_THROWS(RefusedError, "speaks version 3 of the wire contract, this client version 2",
                 client.hello(milliseconds(5000)));
}

CASE(an_endpoint_with_an_unknown_transport_is_skipped_with_a_warning) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.endpoints = {{0, "zmq", "state", "command"}, {1, "shared_memory", "../there", "command1"}};
    Client client(config(dir));
    client.hello(milliseconds(5000));
    client.hello(milliseconds(5000));
    CHECK_EQUAL(client.warnings().size(), 1U);
    CHECK(client.warnings().at(0).find("slot 1: transport `shared_memory`") != std::string::npos);
    Loop loop(client);
    client.activate();
    CHECK(loop.until(active));
}

CASE(endpoints_that_cannot_be_used_are_refused) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    gaitd.endpoints = {};
    CHECK_THROWS(RefusedError, "none with transport zmq", client.hello(milliseconds(5000)));
    gaitd.endpoints = {{0, "carrier pigeon", "state", "command"}};
    CHECK_THROWS(RefusedError, "none with transport zmq", client.hello(milliseconds(5000)));
    gaitd.endpoints = {{4, "zmq", "state", "command"}};
    CHECK_THROWS(RefusedError, "slot 4", client.hello(milliseconds(5000)));
    gaitd.endpoints = {{1, "zmq", "../../tmp/state", "command"}};
    CHECK_THROWS(RefusedError, "not a channel's name", client.hello(milliseconds(5000)));
    gaitd.endpoints = {{1, "zmq", "state", ""}};
    CHECK_THROWS(RefusedError, "not a channel's name", client.hello(milliseconds(5000)));
    gaitd.endpoints.assign(9, {0, "zmq", "state", "command"});
    CHECK_THROWS(RefusedError, "more than 8", client.hello(milliseconds(5000)));
}

CASE(a_second_worker_gets_the_states_and_takes_over) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    gaitd.endpoints = {{0, "zmq", "state", "command"}, {1, "zmq", "state1", "command1"}};
    zmq::context_t context;
    zmq::socket_t states(context, zmq::socket_type::sub);
    zmq::socket_t commands(context, zmq::socket_type::pub);
    for (zmq::socket_t* socket : {&states, &commands}) socket->set(zmq::sockopt::linger, 0);
    states.set(zmq::sockopt::subscribe, "");
    states.bind("ipc://" + dir.path() + "/state1.sock");
    commands.bind("ipc://" + dir.path() + "/command1.sock");

    Client client(config(dir));
    client.hello(milliseconds(5000));
    Loop loop(client);
    client.activate();
    CHECK(loop.until(active));
    const auto second_answers = [&] {
        zmq::message_t bytes;
        while (states.recv(bytes, zmq::recv_flags::dontwait)) {
            StateMessage state;
            CHECK_EQUAL(decodeState(bytes.data(), bytes.size(), 12, state), Refusal::None);
            CommandMessage answer = gaitd.answerTo(state);
            answer.epoch = gaitd.epoch + 1;
            answer.slot = 1;
            answer.stiffness.fill(20.0F);
            std::array<char, 4096> buffer{};
            const std::size_t size = encodeCommand(answer, 12, 12, buffer.data(), buffer.size());
            commands.send(zmq::buffer(buffer.data(), size), zmq::send_flags::dontwait);
        }
    };
    gaitd.answers_states = false;
    CHECK(loop.until([&](const JointCommand& command) {
        second_answers();
        return command.stiffness[0] == 20.0F;
    }));
    // The first one wakes up and answers as before: too late.
    gaitd.answers_states = true;
    CHECK(loop.until([&](const JointCommand& command) {
        second_answers();
        CHECK_EQUAL(command.stiffness[0], 20.0F);
        return client.counters().of(Refusal::OldEpoch) > 5;
    }));
    CHECK_EQUAL(gaitd.malformed, 0U);
}

CASE(another_time_for_the_first_command_than_at_hello_is_not_activated) {
    Scene scene;
    scene.gaitd->first_command_ns = 700'000'000;
    CHECK_THROWS(RefusedError, "with other times: call hello() again", scene.client.activate());
    scene.gaitd->first_command_ns = kFirstCommand_ns;
    scene.gaitd->endpoints.push_back({1, "zmq", "state1", "command1"});
    CHECK_THROWS(RefusedError, "at other endpoints: call hello() again", scene.client.activate());
    scene.gaitd->endpoints.pop_back();
    scene.gaitd->action_dim = 13;
    CHECK_THROWS(RefusedError, "with other dimensions: call hello() again", scene.client.activate());
    scene.gaitd->action_dim = 12;
    scene.walk();
}

CASE(names_too_long_for_a_request_are_refused_at_once) {
    SocketDir dir;
    Config long_names = config(dir);
    long_names.controller = std::string(kMaxRequestBytes, 'x');
    CHECK_THROWS(ConfigError, "8192 are possible", Client{long_names});
}

CASE(without_gaitd_hello_says_so_and_command_stays_safe) {
    SocketDir dir;
    Client client(config(dir));
    CHECK_THROWS(UnreachableError, "control.sock", client.hello(milliseconds(50)));
    const JointCommand& command = client.command(monotonicNow_ns());
    CHECK_EQUAL(command.mode, Mode::Idle);
    CHECK_EQUAL(command.damping[0], 2.5F);
    CHECK_EQUAL(command.stiffness[0], 0.0F);
}

CASE(hello_waits_for_a_gaitd_that_starts_later) {
    SocketDir dir;
    Client client(config(dir));
    std::optional<FakeGaitd> gaitd;
    std::thread starter([&] {
        std::this_thread::sleep_for(milliseconds(100));
        gaitd.emplace(dir.path());
    });
    CHECK_EQUAL(client.hello(milliseconds(10000)).firstPolicy().name, "fake");
    starter.join();
}

CASE(a_client_without_joints_is_refused) { CHECK_THROWS(ConfigError, "0 names", Client{Config{}}); }

CASE(a_socket_path_that_is_too_long_is_refused) {
    Config config;
    config.joints = lite3Joints();
    config.endpoint_dir = "/" + std::string(200, 'x');
    CHECK_THROWS(ConfigError, config.endpoint_dir, Client{config});
}

CASE(states_arrive_as_they_were_published) {
    Scene scene;
    RobotState state;
    state.stamp_ns = 12345;
    state.angular_velocity = {1.0F, 2.0F, 3.0F};
    state.joint_torque[11] = 4.0F;
    CHECK(check::eventually([&] {
        scene.client.publish(state);
        return scene.gaitd->states > 0;
    }));
    const StateMessage received = scene.gaitd->lastState();
    CHECK_EQUAL(received.session, 0U);
    CHECK(!received.has_linear_velocity);
    CHECK_EQUAL(received.state.stamp_ns, 12345U);
    CHECK_EQUAL(received.state.angular_velocity[2], 3.0F);
    CHECK_EQUAL(received.state.joint_torque[11], 4.0F);
    CHECK_EQUAL(scene.gaitd->malformed, 0U);
}

CASE(raw_observations_have_the_length_that_gaitd_says) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Config raw_config = config(dir);
    raw_config.message = MessageType::RawObservation;
    Client client(raw_config);
    const std::vector<float> values(270, 1.0F);
    RawObservation raw;
    raw.observation = values.data();
    CHECK(!client.publish(raw));
    client.hello(milliseconds(5000));
    CHECK(check::eventually([&] { return client.publish(raw) && gaitd.raw_observations > 0; }));
    gaitd.observation_dim = 270;
    client.hello(milliseconds(5000));
    const std::uint64_t before = gaitd.raw_observations;
    CHECK(check::eventually([&] { return client.publish(raw) && gaitd.raw_observations > before; }));
    CHECK_EQUAL(gaitd.malformed, 0U);
}

CASE(a_session_streams) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    CHECK_EQUAL(session, 100U);
    CHECK(scene.loop.until([](const JointCommand& command) { return command.seq >= 20; }));
    const JointCommand& command = scene.client.command(monotonicNow_ns());
    CHECK_EQUAL(command.session, session);
    CHECK_EQUAL(command.stiffness[0], 30.0F);
    CHECK_EQUAL(scene.gaitd->lastState().session, session);
}

CASE(an_activation_that_is_refused_tells_why_and_may_be_repeated) {
    Scene scene;
    scene.gaitd->ready = false;
    CHECK_THROWS(RefusedError, "self-test runs", scene.client.activate());
    CHECK_EQUAL(scene.client.activationError(), "worker is not ready: self-test runs");
    scene.gaitd->ready = true;
    scene.walk();
    CHECK_EQUAL(scene.client.activationError(), "");
}

CASE(activating_without_hello_is_refused) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Client client(config(dir));
    CHECK_THROWS(RefusedError, "call hello() first", client.activate());
    CHECK_EQUAL(gaitd.activates, 0U);
}

CASE(another_policy_than_at_hello_is_not_activated) {
    Scene scene;
    scene.gaitd->policy = 'b';
    CHECK_THROWS(RefusedError, "bbbbbbbbbbbbbbbb", scene.client.activate());
    CHECK_EQUAL(scene.gaitd->activates, 0U);
    scene.client.hello(milliseconds(5000));
    scene.walk();
}

CASE(an_activation_without_answer_ends_and_is_never_delivered_late) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Config quick = config(dir);
    quick.request_timeout = milliseconds(100);
    Client client(quick);
    client.hello(milliseconds(5000));
    gaitd.answers_control = false;
    CHECK_THROWS(UnreachableError, "did not answer", client.activate());
    gaitd.answers_control = true;
    const std::uint64_t hellos = gaitd.hellos;
    client.hello(milliseconds(5000));  // Anything still queued would have come before this.
    CHECK_EQUAL(gaitd.hellos, hellos + 1);
    CHECK_EQUAL(gaitd.activates, 0U);
}

CASE(the_guardians_damping_latches_and_wins_over_the_worker) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    scene.gaitd->sendAsGuardian(FakeGaitd::damping(session, Reason::Deadline));
    CHECK(scene.loop.until(damped));
    // The worker goes on as if nothing had happened.
    CommandMessage answer;
    answer.session = session;
    answer.epoch = scene.gaitd->epoch;
    answer.mode = Mode::Active;
    CHECK(scene.loop.until([&](const JointCommand&) {
        scene.gaitd->sendAsWorker(answer);
        return scene.client.counters().of(Refusal::Latched) > 5;
    }));
    scene.expectDamping(Reason::Deadline);
    CHECK(scene.gaitd->damps().empty());
}

CASE(the_workers_own_damping_latches_too) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    scene.gaitd->sendAsWorker(FakeGaitd::damping(session, Reason::ActionInvalid));
    CHECK(scene.loop.until(damped));
    scene.expectDamping(Reason::ActionInvalid);
}

CASE(damping_of_another_session_does_not_touch_ours) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    CHECK(scene.loop.until([&](const JointCommand&) {
        scene.gaitd->sendAsGuardian(FakeGaitd::damping(session - 1, Reason::Operator));
        return scene.client.counters().of(Refusal::ForeignSession) > 3;
    }));
    CHECK(active(scene.client.command(monotonicNow_ns())));
}

CASE(silence_damps_within_the_deadline_and_tells_gaitd) {
    Scene scene(FakeGaitd::kDeadline_ns);
    const std::uint64_t session = scene.walk();
    scene.gaitd->answers_states = false;
    CHECK(scene.loop.until(damped, milliseconds(2000)));
    scene.expectDamping(Reason::ClientDeadline);
    CHECK(check::eventually([&] { return !scene.gaitd->damps().empty(); }));
    CHECK_EQUAL(scene.gaitd->damps()[0].session, session);
    CHECK_EQUAL(scene.gaitd->damps()[0].reason, Reason::ClientDeadline);
    scene.gaitd->answers_states = true;
    scene.loop.during(milliseconds(100));
    scene.expectDamping(Reason::ClientDeadline);
    CHECK(scene.loop.until([&](const JointCommand& command) {
        scene.gaitd->sendAsGuardian(FakeGaitd::damping(session, Reason::StateLost));
        return command.gaitd_says.reason == Reason::StateLost;
    }));
    scene.expectDamping(Reason::ClientDeadline);
}

CASE(gaitd_gone_altogether_damps_and_a_new_one_needs_an_activate) {
    Scene scene(FakeGaitd::kDeadline_ns);
    const std::uint64_t session = scene.walk();
    const std::uint64_t killed_ns = monotonicNow_ns();
    scene.gaitd.reset();
    CHECK(scene.loop.until(damped, milliseconds(2000)));
    scene.expectDamping(Reason::ClientDeadline);
    CHECK(monotonicNow_ns() - killed_ns < 1'000'000'000);
    scene.gaitd.emplace(scene.dir.path());
    scene.gaitd->deadline_ns = FakeGaitd::kDeadline_ns;
    scene.gaitd->next_session = session + 1;
    CHECK(scene.loop.until([&](const JointCommand&) { return scene.gaitd->states > 10; }));
    scene.expectDamping(Reason::ClientDeadline);
    // The new gaitd never saw a hello from this client: activate brings its own.
    CHECK_EQUAL(scene.client.activate(), session + 1);
    CHECK(scene.loop.until(active));
}

CASE(the_stance_needs_no_gaitd_and_ends_by_itself) {
    SocketDir dir;
    std::optional<FakeGaitd> gaitd{std::in_place, dir.path()};
    gaitd->deadline_ns = 500'000'000;
    gaitd->stance_ns = 300'000'000;
    Client client(config(dir));
    client.hello(milliseconds(5000));
    Loop loop(client);
    client.activate();
    CHECK(loop.until(active));
    gaitd.reset();
    CHECK(loop.until(damped));
    const std::uint64_t began_ns = monotonicNow_ns();
    const JointCommand& command = client.command(began_ns);
    CHECK_EQUAL(command.reason, Reason::ClientDeadline);
    CHECK_EQUAL(command.joint_position[0], 0.7F);
    CHECK_EQUAL(command.stiffness[0], 30.0F);
    CHECK_EQUAL(command.damping[0], 1.0F);
    CHECK(loop.until([](const JointCommand& now) { return now.stiffness[0] == 0.0F; }));
    CHECK(monotonicNow_ns() - began_ns >= 280'000'000);
    CHECK_EQUAL(client.command(monotonicNow_ns()).mode, Mode::Damping);
    CHECK_EQUAL(client.command(monotonicNow_ns()).damping[0], 3.0F);
}

CASE(a_person_ends_the_stance_here_or_by_gaitd) {
    for (const bool here : {true, false}) {
        SocketDir dir;
        FakeGaitd gaitd(dir.path());
        gaitd.stance_ns = kMaxStance_ns;
        Client client(config(dir));
        client.hello(milliseconds(5000));
        Loop loop(client);
        const std::uint64_t session = client.activate();
        CHECK(loop.until(active));
        gaitd.sendAsGuardian(FakeGaitd::damping(session, Reason::WorkerDied));
        CHECK(loop.until(damped));
        const std::uint64_t began_ns = monotonicNow_ns();
        CHECK_EQUAL(client.command(began_ns).stiffness[0], 30.0F);
        here ? client.requestDamping("enough") : gaitd.sendAsGuardian(FakeGaitd::damping(session, Reason::Operator));
        CHECK(loop.until([](const JointCommand& now) { return now.stiffness[0] == 0.0F; }));
        CHECK(monotonicNow_ns() - began_ns < kMaxStance_ns);
        CHECK_EQUAL(client.command(monotonicNow_ns()).reason, Reason::WorkerDied);
    }
}

CASE(another_stance_than_at_hello_is_not_activated) {
    Scene scene;
    scene.gaitd->stance_ns = 200'000'000;
    CHECK_THROWS(RefusedError, "call hello() again", scene.client.activate());
    scene.client.hello(milliseconds(5000));
    scene.walk();
}

CASE(a_person_may_ask_for_damping_at_any_time) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    std::thread([&] { scene.client.requestDamping("red button"); }).join();
    scene.expectDamping(Reason::Operator);
    CHECK(check::eventually([&] { return !scene.gaitd->damps().empty(); }));
    const DampRequest damp = scene.gaitd->damps()[0];
    CHECK_EQUAL(damp.session, session);
    CHECK_EQUAL(damp.reason, Reason::Operator);
    CHECK_EQUAL(damp.detail, "red button");
}

CASE(damping_cancels_an_activation_that_is_under_way) {
    Scene scene;
    for (int i = 0; i < 20; ++i) {
        scene.client.requestActivate();
        scene.client.requestDamping("no");
        CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.activation() != Activation::Pending; }));
        scene.loop.during(milliseconds(5));
        scene.expectDamping(Reason::Operator);
        CHECK_EQUAL(scene.client.session(), 0U);
    }
}

CASE(release_ends_the_session_here_and_there) {
    Scene scene;
    const std::uint64_t session = scene.walk();
    scene.client.requestRelease();
    const JointCommand& command = scene.client.command(monotonicNow_ns());
    CHECK_EQUAL(command.mode, Mode::Idle);
    CHECK_EQUAL(command.stiffness[0], 0.0F);
    CHECK_EQUAL(scene.client.session(), 0U);
    CHECK(check::eventually([&] { return scene.gaitd->released_session == session; }));
    scene.loop.during(milliseconds(50));
    CHECK_EQUAL(scene.client.command(monotonicNow_ns()).mode, Mode::Idle);
}

CASE(a_released_session_is_told_even_if_the_client_ends_at_once) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    std::uint64_t session = 0;
    {
        Client client(config(dir));
        client.hello(milliseconds(5000));
        session = client.activate();
        client.requestRelease();
    }
    CHECK(check::eventually([&] { return gaitd.released_session == session; }));
}

CASE(sessions_follow_each_other) {
    Scene scene;
    for (int i = 0; i < 5; ++i) {
        const std::uint64_t session = scene.walk();
        CHECK_EQUAL(session, 100U + static_cast<unsigned>(i));
        CHECK(scene.loop.until([](const JointCommand& command) { return command.seq >= 3; }));
        scene.gaitd->sendAsGuardian(FakeGaitd::damping(session, Reason::Limit));
        CHECK(scene.loop.until(damped));
        scene.expectDamping(Reason::Limit);
    }
}

CASE(junk_on_the_command_socket_is_counted_and_changes_nothing) {
    Scene scene;
    scene.walk();
    const std::vector<std::string> junk = {"", "junk", std::string(1000, '\xff'), std::string(5, '\x9f'),
                                           std::string("\x95\x02\x03\x00\x00\x00", 6), std::string("\xdc\x00\x14\x01\x03", 5)};
    for (const std::string& bytes : junk) {
        const std::uint64_t before = scene.client.counters().of(Refusal::Malformed) + scene.client.counters().of(Refusal::Version);
        CHECK(scene.loop.until([&](const JointCommand&) {
            scene.gaitd->sendAsWorker(bytes);
            return scene.client.counters().of(Refusal::Malformed) + scene.client.counters().of(Refusal::Version) > before;
        }));
        CHECK(scene.loop.until(active));
    }
}

// The sockets set no ZMQ_MAXMSGSIZE: libzmq would close the connection for good, and the robot would get no command.
CASE(what_is_larger_than_any_message_is_refused_and_the_robot_walks_on) {
    Scene scene;
    scene.walk();
    const std::string large(std::size_t{kMaxMessageBytes} + 1, '\x90');
    CHECK(scene.loop.until([&](const JointCommand&) {
        scene.gaitd->sendAsWorker(large);
        return scene.client.counters().of(Refusal::Malformed) > 10;
    }));
    const std::uint64_t seq = scene.client.command(monotonicNow_ns()).seq;
    CHECK(scene.loop.until([&](const JointCommand& command) { return active(command) && command.seq > seq + 5; }));
}

CASE(while_idle_the_next_session_begins_with_the_policy_that_was_selected) {
    Scene scene;
    scene.gaitd->two_policies = true;
    scene.client.hello(milliseconds(5000));
    CHECK_EQUAL(scene.client.selection(), Selection::None);
    CHECK(scene.client.select("other"));
    CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.selection() == Selection::Granted; }));
    CHECK_EQUAL(scene.client.selectionError(), "");
    CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.contract().firstPolicy().name == "other"; }));
    scene.gaitd->walking = 1;
    scene.walk();  // Without a renewal, and though gaitd's contract is another one than at hello().
    CHECK_EQUAL(scene.client.command(monotonicNow_ns()).policy, 1);
}

CASE(in_mid_walk_the_session_goes_on_with_the_policy_that_is_selected) {
    Scene scene;
    scene.gaitd->two_policies = true;
    scene.client.hello(milliseconds(5000));
    const std::uint64_t session = scene.walk();
    CHECK(scene.client.select("other"));
    CHECK(scene.loop.until([](const JointCommand& command) { return active(command) && command.policy == 1; }));
    CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.selection() == Selection::Granted; }));
    CHECK_EQUAL(scene.client.session(), session);
    CHECK_EQUAL(scene.client.contract().policy, 0U);
}

CASE(a_change_of_policy_that_is_refused_says_why_and_the_robot_walks_on) {
    Scene scene;
    scene.gaitd->refuses_switch = "no change to policy other: its worker is not ready";
    const std::uint64_t session = scene.walk();
    CHECK(scene.client.select("other"));
    CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.selection() == Selection::Refused; }));
    CHECK(scene.client.selectionError().find("its worker is not ready") != std::string::npos);
    CHECK(scene.loop.until(active));
    CHECK_EQUAL(scene.client.session(), session);
    CHECK_EQUAL(scene.client.obstacle(), "");
    CHECK_EQUAL(scene.gaitd->switches.load(), 1U);
}

CASE(a_change_of_policy_that_nobody_answers_ends_in_time) {
    Scene scene;
    scene.walk();
    scene.gaitd->answers_control = false;
    CHECK(scene.client.select("other"));
    CHECK(scene.loop.until([&](const JointCommand&) { return scene.client.selection() == Selection::Refused; }));
    CHECK(scene.client.selectionError().find("did not answer") != std::string::npos);
    CHECK(!scene.client.select(std::string(kMaxPolicyName + 1, 'x')));
    CHECK_EQUAL(scene.client.selection(), Selection::Refused);
}

CASE(only_a_controller_that_agrees_says_so_in_its_hello) {
    Scene scene;
    CHECK(!scene.gaitd->switchable.load());
    Config agrees = config(scene.dir);
    agrees.switchable = true;
    Client other(agrees);
    other.hello(milliseconds(5000));
    CHECK(scene.gaitd->switchable.load());
}

int main() { return check::run(); }
