// A small gaitd for the tests: it binds the four endpoints, answers the control channel and, if told to, every state.
#pragma once

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <unistd.h>
#include <zmq.hpp>

#include <gaitd/client.hpp>

#include "fake_lanes.hpp"

/// A fresh directory for sockets, removed with the object.
class SocketDir {
public:
    SocketDir() {
        std::string pattern = (std::filesystem::temp_directory_path() / "gaitd-XXXXXX").string();
        if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = pattern;
    }
    SocketDir(const SocketDir&) = delete;
    SocketDir& operator=(const SocketDir&) = delete;
    ~SocketDir() { std::filesystem::remove_all(path_); }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

inline const std::vector<std::string>& lite3Joints() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> all;
        for (const char* leg : {"FL", "FR", "HL", "HR"}) {
            for (const char* joint : {"HipX", "HipY", "Knee"}) all.push_back(std::string(leg) + "_" + joint + "_joint");
        }
        return all;
    }();
    return names;
}

struct DampRequest {
    std::uint64_t session;
    gaitd::Reason reason;
    std::string detail;
};

class FakeGaitd {
public:
    static constexpr std::size_t kJoints = 12;
    static constexpr std::uint64_t kPeriod_ns = 12'000'000;
    static constexpr std::uint64_t kDeadline_ns = 5 * kPeriod_ns;

    // Set before the client is started, or between its requests.
    std::atomic<bool> answers_control{true};
    std::atomic<int> answers_after_ms{0};      ///< The control channel.
    std::atomic<bool> answers_states{true};
    std::atomic<bool> ready{true};             ///< false: activate is refused.
    /// Far beyond what a busy test machine stalls; tests of the deadline itself set kDeadline_ns.
    std::atomic<std::uint64_t> deadline_ns{3'000'000'000};
    std::atomic<std::uint64_t> first_command_ns{gaitd::kFirstCommand_ns};
    std::atomic<std::uint64_t> stance_ns{0};
    std::atomic<std::uint64_t> epoch{5};       ///< Of activate's reply and of the worker's commands.
    std::atomic<std::uint8_t> slot{0};         ///< The same.
    std::atomic<std::size_t> action_dim{kJoints};
    std::atomic<std::uint64_t> reply_version{gaitd::kProtocolVersion};
    std::vector<std::string> joint_targets = std::vector<std::string>(kJoints, "position");
    std::vector<std::string> inputs;           ///< Their names; each has two values.
    float brake_stiffness = 0.0F;              ///< Of the first joint, which then is a wheel.
    /// Slot, transport and the names of its channels.
    std::vector<std::tuple<unsigned, std::string, std::string, std::string>> endpoints{
        {0, "zmq", "state", "command"}};
    std::atomic<std::uint64_t> next_session{100};
    std::atomic<char> policy{'a'};             ///< The policy's id is 16 times this letter.
    std::atomic<bool> two_policies{false};     ///< Beside that one there is `other`, of 16 times z.
    std::atomic<std::uint8_t> first_policy{0};  ///< What a session begins with.
    std::atomic<std::uint8_t> walking{0};       ///< The policy in the worker's commands.
    std::string refuses_switch;                ///< Not empty: a change of policy is refused with this text.
    std::atomic<std::size_t> observation_dim{45};
    std::string refuses_hello;                 ///< Not empty: hello is refused with this text.
    std::atomic<const char*> misses{""};       ///< A key that hello's reply does not have.

    // What came.
    std::atomic<std::uint64_t> hellos{0};
    std::atomic<std::uint64_t> switches{0};
    std::atomic<bool> switchable{false};       ///< As the newest hello has it.
    std::atomic<std::uint64_t> activates{0};
    std::atomic<std::uint64_t> released_session{0};
    std::atomic<std::uint64_t> states{0};
    std::atomic<std::uint64_t> raw_observations{0};
    std::atomic<std::uint64_t> malformed{0};

    std::optional<FakeLanes> lanes;            ///< Of one with shared memory.

    explicit FakeGaitd(const std::string& dir, bool shared_memory = false)
        : control_(context_, zmq::socket_type::router),
          state_(context_, zmq::socket_type::sub),
          command_(context_, zmq::socket_type::pub),
          guard_(context_, zmq::socket_type::pub) {
        for (zmq::socket_t* socket : {&control_, &state_, &command_, &guard_}) socket->set(zmq::sockopt::linger, 0);
        state_.set(zmq::sockopt::subscribe, "");
        control_.bind("ipc://" + dir + "/control.sock");
        state_.bind("ipc://" + dir + "/state.sock");
        command_.bind("ipc://" + dir + "/command.sock");
        guard_.bind("ipc://" + dir + "/guard.sock");
        if (shared_memory) {
            lanes.emplace(dir);
            endpoints.emplace_back(0, "shm", "shm", "shm");
        }
        thread_ = std::thread([this] { run(); });
    }

    ~FakeGaitd() {
        stop_.store(true);
        thread_.join();
    }

    [[nodiscard]] gaitd::StateMessage lastState() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return last_state_;
    }

    /// What the newest hello told of the controller.
    struct Told {
        gaitd::AccountEntry entry;
        bool watched = false;
        bool simulated = false;
    };

    [[nodiscard]] Told told() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return told_;
    }

    [[nodiscard]] std::vector<DampRequest> damps() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return damps_;
    }

    /// The command that a healthy worker sends for a state.
    gaitd::CommandMessage answerTo(const gaitd::StateMessage& message) {
        gaitd::CommandMessage command;
        command.session = message.session;
        command.epoch = epoch.load();
        command.slot = slot.load();
        command.seq = message.seq;
        command.state_stamp_ns = message.state.stamp_ns;
        command.publish_stamp_ns = gaitd::monotonicNow_ns();
        command.mode = gaitd::Mode::Active;
        command.policy = walking.load();
        command.joint_position.fill(0.1F);
        command.stiffness.fill(30.0F);
        command.damping.fill(1.0F);
        return command;
    }

    static gaitd::CommandMessage damping(std::uint64_t session, gaitd::Reason reason) {
        gaitd::CommandMessage command;
        command.session = session;
        command.slot = gaitd::kGuardSlot;
        command.mode = gaitd::Mode::Damping;
        command.reason = reason;
        command.publish_stamp_ns = gaitd::monotonicNow_ns();
        command.damping.fill(3.0F);
        return command;
    }

    void sendAsWorker(const gaitd::CommandMessage& command) { sendAsWorker(encoded(command)); }
    void sendAsWorker(const std::string& bytes) {
        const std::lock_guard<std::mutex> lock(mutex_);
        command_.send(zmq::buffer(bytes), zmq::send_flags::dontwait);
        if (lanes) lanes->sendAsWorker(bytes);
    }
    void sendAsGuardian(const gaitd::CommandMessage& command) {
        const std::string bytes = encoded(command);
        const std::lock_guard<std::mutex> lock(mutex_);
        guard_.send(zmq::buffer(bytes), zmq::send_flags::dontwait);
        if (lanes) lanes->sendAsGuardian(bytes);
    }

private:
    using Packer = msgpack::packer<msgpack::sbuffer>;

    static std::string encoded(const gaitd::CommandMessage& command) {
        std::array<char, 4096> buffer{};
        return {buffer.data(), gaitd::encodeCommand(command, kJoints, kJoints, buffer.data(), buffer.size())};
    }

    void run() {
        std::array<zmq::pollitem_t, 2> items{{{control_.handle(), 0, ZMQ_POLLIN, 0}, {state_.handle(), 0, ZMQ_POLLIN, 0}}};
        while (!stop_.load()) {
            zmq::poll(items.data(), items.size(), std::chrono::milliseconds(2));
            if (lanes) lanes->serve();
            receiveStates();
            receiveRequests();
        }
    }

    void receiveStates() {
        zmq::message_t bytes;
        while (state_.recv(bytes, zmq::recv_flags::dontwait)) takeState(bytes.data(), bytes.size());
        while (lanes) {
            const std::string state = lanes->takeState();
            if (state.empty()) return;
            takeState(state.data(), state.size());
        }
    }

    void takeState(const void* data, std::size_t size) {
        gaitd::StateMessage message;
        const gaitd::Refusal refusal = gaitd::decodeState(data, size, kJoints, message);
        if (refusal == gaitd::Refusal::Type) {
            ++raw_observations;
            return;
        }
        if (refusal != gaitd::Refusal::None) {
            ++malformed;
            return;
        }
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            last_state_ = message;
        }
        ++states;
        if (answers_states.load() && message.session != 0) sendAsWorker(answerTo(message));
    }

    void receiveRequests() {
        zmq::message_t identity;
        zmq::message_t bytes;
        while (control_.recv(identity, zmq::recv_flags::dontwait)) {
            if (!control_.recv(bytes)) return;
            if (!answers_control.load()) continue;
            std::this_thread::sleep_for(std::chrono::milliseconds(answers_after_ms.load()));
            const auto handle = msgpack::unpack(bytes.data<char>(), bytes.size());
            const msgpack::object* request = handle.get().via.array.ptr;
            const msgpack::sbuffer reply = answer(request[2].as<std::uint64_t>(), request[3].as<std::string>(), request[4]);
            control_.send(identity, zmq::send_flags::sndmore);
            control_.send(zmq::buffer(reply.data(), reply.size()));
        }
    }

    msgpack::sbuffer answer(std::uint64_t id, const std::string& name, const msgpack::object& body) {
        msgpack::sbuffer buffer;
        Packer packer(buffer);
        packer.pack_array(5);
        packer.pack(reply_version.load());
        packer.pack(5);
        packer.pack(id);
        if (name == "hello") {
            ++hellos;
            switchable = false;
            for (std::uint32_t i = 0; i < body.via.map.size; ++i) {
                if (body.via.map.ptr[i].key.as<std::string>() == "switchable") switchable = body.via.map.ptr[i].val.as<bool>();
            }
            noteAccount(gaitd::control::field(body, "account"));
            refuses_hello.empty() ? packContract(packer) : refuse(packer, gaitd::Reason::Contract, refuses_hello);
        } else if (name == "activate") {
            ++activates;
            if (!ready.load()) {
                refuse(packer, gaitd::Reason::BackendError, "worker is not ready: self-test runs");
            } else {
                packer.pack(true);
                packer.pack_map(3);
                packer.pack(std::string("session"));
                packer.pack(next_session++);
                packer.pack(std::string("epoch"));
                packer.pack(epoch.load());
                packer.pack(std::string("slot"));
                packer.pack(slot.load());
            }
        } else if (name == "switch") {
            ++switches;
            const bool other = gaitd::control::value<std::string>(body, "policy") == "other";
            if (!refuses_switch.empty()) {
                refuse(packer, gaitd::Reason::BackendError, refuses_switch);
            } else {
                const bool in_session = lastState().session != 0;
                (in_session ? walking : first_policy) = other ? 1 : 0;
                packer.pack(true);
                packer.pack_map(1);
                packer.pack(std::string("session"));
                packer.pack(in_session ? lastState().session : 0);
            }
        } else {
            using gaitd::control::value;
            if (name == "release") released_session = value<std::uint64_t>(body, "session");
            if (name == "damp") {
                const std::lock_guard<std::mutex> lock(mutex_);
                damps_.push_back({value<std::uint64_t>(body, "session"),
                                  static_cast<gaitd::Reason>(value<std::uint8_t>(body, "reason")),
                                  value<std::string>(body, "detail")});
            }
            packer.pack(true);
            packer.pack_map(0);
        }
        return buffer;
    }

    void noteAccount(const msgpack::object& account) {
        using gaitd::control::value;
        const std::lock_guard<std::mutex> lock(mutex_);
        told_.watched = value<bool>(account, "watched");
        told_.simulated = value<bool>(account, "simulated");
        told_.entry = {value<std::uint64_t>(account, "thread"), value<std::uint64_t>(account, "session"),
                       value<std::uint64_t>(account, "reason"), value<std::uint64_t>(account, "command_ns"),
                       value<std::uint64_t>(account, "damped_ns")};
    }

    static void refuse(Packer& packer, gaitd::Reason reason, const std::string& text) {
        packer.pack(false);
        packer.pack_map(2);
        packer.pack(std::string("reason"));
        packer.pack(static_cast<int>(reason));
        packer.pack(std::string("error"));
        packer.pack(text);
    }

    /// The key, unless it is the one to be missed.
    [[nodiscard]] std::string named(const char* key) const { return std::strcmp(key, misses) == 0 ? "something else" : key; }

    void packContract(Packer& packer) {
        const auto pack = [&](const char* key, const std::vector<float>& values) {
            packer.pack(named(key));
            packer.pack_bin(kJoints * sizeof(float));
            packer.pack_bin_body(reinterpret_cast<const char*>(values.data()), kJoints * sizeof(float));
        };
        const auto blob = [&](const char* key, float number) { pack(key, std::vector<float>(kJoints, number)); };
        packer.pack(true);
        packer.pack_map(brake_stiffness > 0.0F ? 19 : 17);
        packer.pack(named("gaitd"));
        packer.pack(std::string("0.0.0"));
        packer.pack(named("policies"));
        std::vector<std::map<std::string, std::string>> policies{
            {{"id", std::string(16, policy.load())}, {"name", "fake"}, {"version", "1"}}};
        if (two_policies.load()) policies.push_back({{"id", std::string(16, 'z')}, {"name", "other"}, {"version", "1"}});
        packer.pack(policies);
        packer.pack(named("policy"));
        packer.pack(first_policy.load());
        packer.pack(named("period_ns"));
        packer.pack(kPeriod_ns);
        packer.pack(named("times"));
        packer.pack_map(3);
        packer.pack(named("deadline_ns"));
        packer.pack(deadline_ns.load());
        packer.pack(named("first_command_ns"));
        packer.pack(first_command_ns.load());
        packer.pack(named("stance_ns"));
        packer.pack(stance_ns.load());
        packer.pack(named("endpoints"));
        packer.pack_array(static_cast<std::uint32_t>(endpoints.size()));
        for (const auto& [number, transport, state, command] : endpoints) {
            packer.pack_map(4);
            packer.pack(std::string("slot"));
            packer.pack(number);
            packer.pack(std::string("transport"));
            packer.pack(transport);
            packer.pack(std::string("state"));
            packer.pack(state);
            packer.pack(std::string("command"));
            packer.pack(command);
        }
        packer.pack(named("joint_targets"));
        packer.pack(joint_targets);
        packer.pack(named("inputs"));
        packer.pack_array(static_cast<std::uint32_t>(inputs.size()));
        for (const std::string& input : inputs) {
            packer.pack_map(5);
            packer.pack(std::string("name"));
            packer.pack(input);
            packer.pack(std::string("length"));
            packer.pack(2);
            packer.pack(std::string("unit"));
            packer.pack(std::string("m"));
            packer.pack(std::string("min"));
            packer.pack(-1.0);
            packer.pack(std::string("max"));
            packer.pack(1.0);
        }
        packer.pack(named("action_dim"));
        packer.pack(action_dim.load());
        packer.pack(named("joints"));
        packer.pack(lite3Joints());
        packer.pack(named("fields"));
        packer.pack(std::vector<std::string>{"angular_velocity"});
        packer.pack(named("observation_dim"));
        packer.pack(observation_dim.load());
        packer.pack(named("velocity_command"));
        packer.pack_map(3);
        packer.pack(std::string("unit"));
        packer.pack(std::string("m/s"));
        packer.pack(std::string("min"));
        packer.pack(std::vector<int>{-1, -1, -1});
        packer.pack(std::string("max"));
        packer.pack(std::vector<float>{1.0F, 1.0F, 1.0F});
        blob("default_joint_position", 0.7F);
        blob("stiffness", 30.0F);
        blob("damping", 1.0F);
        blob("fallback_damping", 3.0F);
        if (brake_stiffness > 0.0F) {
            for (const char* key : {"brake_stiffness", "brake_torque"}) {
                std::vector<float> values(kJoints);
                values[0] = brake_stiffness;
                pack(key, values);
            }
        }
    }

    zmq::context_t context_;
    zmq::socket_t control_;
    zmq::socket_t state_;
    std::mutex mutex_;
    zmq::socket_t command_;
    zmq::socket_t guard_;
    gaitd::StateMessage last_state_;
    Told told_;
    std::vector<DampRequest> damps_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

/// A control loop around a client: publishes every period, asks for the command in every round.
class Loop {
public:
    explicit Loop(gaitd::Client& client) : client_(client) {}

    /// Turns until the condition holds; false when it does not in time.
    bool until(const std::function<bool(const gaitd::JointCommand&)>& condition,
               std::chrono::milliseconds limit = std::chrono::milliseconds(5000)) {
        return check_([&] { return condition(turn()); }, limit);
    }

    /// Turns for a while.
    void during(std::chrono::milliseconds time) {
        const auto end = std::chrono::steady_clock::now() + time;
        until([&](const gaitd::JointCommand&) { return std::chrono::steady_clock::now() > end; }, 2 * time + time);
    }

    const gaitd::JointCommand& turn() {
        const std::uint64_t now_ns = gaitd::monotonicNow_ns();
        if (publishes && now_ns >= next_ns_) {
            gaitd::RobotState state;
            state.stamp_ns = now_ns;
            client_.publish(state);
            next_ns_ = now_ns + FakeGaitd::kPeriod_ns;
        }
        return client_.command(gaitd::monotonicNow_ns());
    }

    bool publishes = true;

private:
    static bool check_(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(std::chrono::microseconds(500));
        }
        return true;
    }

    gaitd::Client& client_;
    std::uint64_t next_ns_ = 0;
};
