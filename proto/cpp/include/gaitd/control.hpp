// Requests and replies of the control channel. They are exchanged by the link thread, outside the control loop, and
// may allocate.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gaitd/account.hpp>
#include <gaitd/errors.hpp>
#include <gaitd/messages.hpp>
#include <gaitd/wire.hpp>

namespace gaitd {

/// One of the policies that gaitd may run.
struct Policy {
    std::string id;  ///< 16 hex digits of its bundle's digest.
    std::string name;
    std::string version;
};

/// The times of a session.
struct Times {
    std::uint64_t deadline_ns = 0;       ///< No command whose state is older than this is applied.
    std::uint64_t first_command_ns = 0;  ///< How long a session may go without its first active command.
    std::uint64_t stance_ns = 0;         ///< How long damping may begin with the default pose at the policy's gains.
};

/// Where the worker of one slot is reached.
struct Endpoint {
    std::uint8_t slot = 0;
    std::string transport;  ///< kTransport or kShmTransport; of others, the names of the channels are not read.
    std::string state;      ///< Name of the channel.
    std::string command;
};

/// What a joint follows: a command holds 0 for the others.
enum class JointTarget : std::uint8_t { Position, Velocity, Torque };

/// Values that the controller sends with each state (RobotState::inputs).
struct Input {
    std::string name;
    std::size_t length = 0;  ///< Number of values.
    std::size_t offset = 0;  ///< Of the first one in RobotState::inputs.
    std::string unit;        ///< For people.
    float min = 0.0F;        ///< What lies outside is clipped.
    float max = 0.0F;
};

/// What gaitd answers to hello: everything a controller must know before its policy may move a joint.
/// Joint values are in the controller's order.
struct Contract {
    std::string gaitd_version;
    std::vector<Policy> policies;         ///< At least one.
    std::size_t policy = 0;               ///< The one that a session begins with.
    std::uint64_t period_ns = 0;          ///< Publish one state this often.
    Times times;
    std::vector<Endpoint> endpoints;      ///< At least one over ZeroMQ.
    std::vector<std::string> joints;      ///< The policy's order.
    std::vector<JointTarget> joint_targets;  ///< The controller's order.
    std::vector<std::string> fields;      ///< State fields that the policy reads.
    std::vector<Input> inputs;            ///< Named inputs that the policy reads.
    std::size_t observation_dim = 0;      ///< Length of a raw observation.
    std::size_t action_dim = 0;           ///< Length of a command's action.
    std::string velocity_command_unit;
    Vector3 velocity_command_min{};
    Vector3 velocity_command_max{};
    JointArray default_joint_position{};  ///< rad
    JointArray stiffness{};               ///< Nm/rad, of the policy
    JointArray damping{};                 ///< Nm s/rad, of the policy
    JointArray fallback_damping{};        ///< Nm s/rad, in damping
    JointArray brake_stiffness{};         ///< Nm/rad, of wheels in damping; 0: no brake
    JointArray brake_torque{};            ///< Nm, the most that the brake holds with

    /// As the codec wants them.
    [[nodiscard]] InputSizes inputSizes() const noexcept {
        InputSizes sizes;
        for (const Input& input : inputs) sizes.values[sizes.count++] = input.length;
        return sizes;
    }

    /// The policy that a session begins with.
    [[nodiscard]] const Policy& firstPolicy() const { return policies.at(policy); }
};

namespace control {

/// Body of a hello.
struct Introduction {
    std::string controller;
    std::vector<std::string> joints;
    std::vector<std::string> fields;
    MessageType message = MessageType::State;
    bool simulated = false;
    bool switchable = false;
    std::vector<std::string> inputs;
};

using BodyPacker = msgpack::packer<msgpack::sbuffer>;

/// [version, REQUEST, id, name, body]; `pack_body` packs the body map.
template <class PackBody>
msgpack::sbuffer request(std::uint64_t id, const std::string& name, PackBody pack_body) {
    msgpack::sbuffer buffer;
    BodyPacker packer(buffer);
    packer.pack_array(5);
    packer.pack(kProtocolVersion);
    packer.pack(static_cast<std::uint64_t>(MessageType::Request));
    packer.pack(id);
    packer.pack(name);
    pack_body(packer);
    return buffer;
}

inline void packAccount(BodyPacker& packer, const AccountEntry& account, bool watched, bool simulated) {
    packer.pack_map(7);
    for (const auto& [key, number] : {std::pair{"thread", account.thread}, std::pair{"session", account.session},
                                      std::pair{"reason", account.reason}, std::pair{"command_ns", account.command_ns},
                                      std::pair{"damped_ns", account.damped_ns}}) {
        packer.pack(std::string(key));
        packer.pack(number);
    }
    packer.pack(std::string("watched"));
    packer.pack(watched);
    packer.pack(std::string("simulated"));
    packer.pack(simulated);
}

inline msgpack::sbuffer hello(std::uint64_t id, const Introduction& introduction, const AccountEntry& account,
                              bool watched) {
    return request(id, "hello", [&](BodyPacker& packer) {
        // An earlier gaitd does not know these two keys.
        packer.pack_map(5 + (introduction.switchable ? 1 : 0) + (introduction.inputs.empty() ? 0 : 1));
        if (!introduction.inputs.empty()) {
            packer.pack(std::string("inputs"));
            packer.pack(introduction.inputs);
        }
        if (introduction.switchable) {
            packer.pack(std::string("switchable"));
            packer.pack(true);
        }
        packer.pack(std::string("controller"));
        packer.pack(introduction.controller);
        packer.pack(std::string("joints"));
        packer.pack(introduction.joints);
        packer.pack(std::string("fields"));
        packer.pack(introduction.fields);
        packer.pack(std::string("message"));
        packer.pack(std::string(introduction.message == MessageType::State ? "state" : "raw_observation"));
        packer.pack(std::string("account"));
        packAccount(packer, account, watched, introduction.simulated);
    });
}

inline msgpack::sbuffer activate(std::uint64_t id) {
    return request(id, "activate", [](BodyPacker& packer) { packer.pack_map(0); });
}

inline msgpack::sbuffer select(std::uint64_t id, const std::string& policy) {
    return request(id, "switch", [&](BodyPacker& packer) {
        packer.pack_map(1);
        packer.pack(std::string("policy"));
        packer.pack(policy);
    });
}

inline msgpack::sbuffer release(std::uint64_t id, std::uint64_t session) {
    return request(id, "release", [&](BodyPacker& packer) {
        packer.pack_map(1);
        packer.pack(std::string("session"));
        packer.pack(session);
    });
}

inline msgpack::sbuffer damp(std::uint64_t id, std::uint64_t session, Reason reason, const std::string& detail) {
    return request(id, "damp", [&](BodyPacker& packer) {
        packer.pack_map(3);
        packer.pack(std::string("session"));
        packer.pack(session);
        packer.pack(std::string("reason"));
        packer.pack(static_cast<std::uint64_t>(reason));
        packer.pack(std::string("detail"));
        packer.pack(detail);
    });
}

/// One reply, its body still packed in `handle`. Of another version only the id is read.
struct Reply {
    std::uint64_t version = 0;
    std::uint64_t id = 0;
    bool ok = false;
    msgpack::object body;
    msgpack::object_handle handle;
};

/// The value of a key; nullptr without it.
inline const msgpack::object* optionalField(const msgpack::object& map, const char* key) {
    const msgpack::object* found = nullptr;
    if (map.type == msgpack::type::MAP) {
        for (std::uint32_t i = 0; i < map.via.map.size; ++i) {
            const auto& entry = map.via.map.ptr[i];
            if (entry.key.type == msgpack::type::STR && entry.key.via.str.size == std::strlen(key) &&
                std::memcmp(entry.key.via.str.ptr, key, entry.key.via.str.size) == 0) {
                if (found != nullptr) throw RefusedError(Reason::Contract, std::string("gaitd's reply: two `") + key + "`");
                found = &entry.val;
            }
        }
    }
    return found;
}

inline const msgpack::object& field(const msgpack::object& map, const char* key) {
    const msgpack::object* found = optionalField(map, key);
    if (found == nullptr) throw RefusedError(Reason::Contract, std::string("gaitd's reply has no `") + key + "`");
    return *found;
}

template <class T>
T value(const msgpack::object& map, const char* key) {
    try {
        return field(map, key).as<T>();
    } catch (const msgpack::type_error&) {
        throw RefusedError(Reason::Contract, std::string("gaitd's reply: `") + key + "` has an unexpected type");
    }
}

/// Bounds on what a reply may announce: arrays and maps are allocated before their elements are seen.
inline msgpack::unpack_limit limits() {
    return {kMaxControlLength, kMaxControlLength, kMaxMessageBytes, kMaxMessageBytes, kMaxMessageBytes, kMaxControlDepth};
}

/// Reads a reply, of which one in another version has only its version and id; false when the bytes are not one.
inline bool parseReply(const void* data, std::size_t size, Reply& reply) {
    try {
        if (size > kMaxMessageBytes) return false;
        std::size_t offset = 0;
        reply.handle = msgpack::unpack(static_cast<const char*>(data), size, offset, nullptr, nullptr, limits());
        const msgpack::object& object = reply.handle.get();
        if (offset != size || object.type != msgpack::type::ARRAY || object.via.array.size < 3) return false;
        const msgpack::object* element = object.via.array.ptr;
        reply.version = element[0].as<std::uint64_t>();
        if (element[1].as<std::uint64_t>() != static_cast<std::uint64_t>(MessageType::Reply)) return false;
        reply.id = element[2].as<std::uint64_t>();
        if (reply.version != kProtocolVersion) return true;
        if (object.via.array.size != 5) return false;
        reply.ok = element[3].as<bool>();
        reply.body = element[4];
        return reply.body.type == msgpack::type::MAP;
    } catch (const std::exception&) {
        return false;
    }
}

/// Of a reply that is not ok.
inline RefusedError refusal(const Reply& reply) {
    if (reply.version != kProtocolVersion) {
        return {Reason::Contract, "gaitd speaks version " + std::to_string(reply.version) +
                                      " of the wire contract, this client version " + std::to_string(kProtocolVersion) +
                                      ": build the controller with the client of that gaitd's release"};
    }
    return {static_cast<Reason>(value<std::uint8_t>(reply.body, "reason")), value<std::string>(reply.body, "error")};
}

inline JointArray jointValues(const msgpack::object& body, const char* key, std::size_t joints) {
    const msgpack::object& object = field(body, key);
    if (object.type != msgpack::type::BIN || object.via.bin.size != joints * sizeof(float)) {
        throw RefusedError(Reason::Contract, std::string("gaitd's reply: `") + key + "` is not a blob of " +
                                                 std::to_string(joints) + " float32");
    }
    JointArray values{};
    std::memcpy(values.data(), object.via.bin.ptr, object.via.bin.size);
    for (std::size_t i = 0; i < joints; ++i) {
        if (!std::isfinite(values[i])) {
            throw RefusedError(Reason::Contract, std::string("gaitd's reply: `") + key + "` is not finite");
        }
    }
    return values;
}

inline Vector3 vector3(const msgpack::object& map, const char* key) {
    const auto numbers = value<std::vector<float>>(map, key);
    if (numbers.size() != 3) throw RefusedError(Reason::Contract, std::string("gaitd's reply: `") + key + "` is not 3 numbers");
    return {numbers[0], numbers[1], numbers[2]};
}

inline RefusedError unusable(const std::string& what) { return {Reason::Contract, "gaitd's reply: " + what}; }

/// The elements of an array of maps.
inline std::vector<msgpack::object> entries(const msgpack::object& body, const char* key, std::size_t most) {
    const msgpack::object& array = field(body, key);
    if (array.type != msgpack::type::ARRAY) throw unusable(std::string("`") + key + "` is not an array");
    if (array.via.array.size > most) throw unusable(std::string("`") + key + "` has more than " + std::to_string(most));
    return {array.via.array.ptr, array.via.array.ptr + array.via.array.size};
}

/// A channel's name becomes part of a path.
inline std::string channelName(const msgpack::object& endpoint, const char* key) {
    const auto name = value<std::string>(endpoint, key);
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
    if (name.empty() || !plain) throw unusable(std::string("`endpoints`: `") + key + "` is not a channel's name");
    return name;
}

inline std::vector<Endpoint> parseEndpoints(const msgpack::object& body) {
    std::vector<Endpoint> endpoints;
    bool usable = false;
    for (const msgpack::object& entry : entries(body, "endpoints", 2 * kMaxSlots)) {
        Endpoint endpoint;
        endpoint.slot = value<std::uint8_t>(entry, "slot");
        endpoint.transport = value<std::string>(entry, "transport");
        if (endpoint.slot >= kMaxSlots) {
            throw unusable("`endpoints`: slot " + std::to_string(endpoint.slot) + "; there are " +
                           std::to_string(kMaxSlots));
        }
        if (endpoint.transport == kTransport || endpoint.transport == kShmTransport) {
            endpoint.state = channelName(entry, "state");
            endpoint.command = channelName(entry, "command");
            usable = usable || endpoint.transport == kTransport;
        }
        endpoints.push_back(std::move(endpoint));
    }
    if (!usable) throw unusable(std::string("`endpoints` has none with transport ") + kTransport +
                                ", which every gaitd serves");
    return endpoints;
}

inline std::vector<Policy> parsePolicies(const msgpack::object& body) {
    std::vector<Policy> policies;
    for (const msgpack::object& entry : entries(body, "policies", kMaxPolicies)) {
        policies.push_back({value<std::string>(entry, "id"), value<std::string>(entry, "name"),
                            value<std::string>(entry, "version")});
    }
    return policies;
}

inline Times parseTimes(const msgpack::object& body) {
    const msgpack::object& times = field(body, "times");
    return {value<std::uint64_t>(times, "deadline_ns"), value<std::uint64_t>(times, "first_command_ns"),
            value<std::uint64_t>(times, "stance_ns")};
}

/// What the joints follow; refuses what this client does not know.
inline std::vector<JointTarget> parseTargets(const msgpack::object& body, const std::vector<std::string>& joints) {
    const auto targets = value<std::vector<std::string>>(body, "joint_targets");
    if (targets.size() != joints.size()) {
        throw unusable("`joint_targets` has " + std::to_string(targets.size()) + " entries for " +
                       std::to_string(joints.size()) + " joints");
    }
    const std::array<std::string, 3> known{kPositionTarget, kVelocityTarget, kTorqueTarget};  // As in JointTarget.
    std::vector<JointTarget> parsed;
    for (std::size_t i = 0; i < joints.size(); ++i) {
        const auto* const found = std::find(known.begin(), known.end(), targets[i]);
        if (found == known.end()) {
            throw unusable("joint " + joints[i] + " is to follow `" + targets[i] + "`; this client knows `" + known[0] +
                           "`, `" + known[1] + "` and `" + known[2] + "`");
        }
        parsed.push_back(static_cast<JointTarget>(found - known.begin()));
    }
    return parsed;
}

/// The named inputs; refuses those that the controller has not said it sends.
inline std::vector<Input> parseInputs(const msgpack::object& body, const std::vector<std::string>& sent) {
    std::vector<Input> inputs;
    std::size_t values = 0;
    for (const msgpack::object& entry : entries(body, "inputs", kMaxInputs)) {
        Input input{value<std::string>(entry, "name"), value<std::size_t>(entry, "length"), values,
                    value<std::string>(entry, "unit"), value<float>(entry, "min"), value<float>(entry, "max")};
        if (std::find(sent.begin(), sent.end(), input.name) == sent.end()) {
            throw unusable("the policy needs the input " + input.name + ", which Config::inputs does not name");
        }
        if (input.length == 0 || input.length > kMaxInputValues - values) {
            throw unusable("input " + input.name + " has " + std::to_string(input.length) + " values; all inputs have 1 to " +
                           std::to_string(kMaxInputValues));
        }
        values += input.length;
        inputs.push_back(std::move(input));
    }
    return inputs;
}

/// Like jointValues, but an earlier gaitd does not have the key: zeros.
inline JointArray laterJointValues(const msgpack::object& body, const char* key, std::size_t joints) {
    return optionalField(body, key) != nullptr ? jointValues(body, key, joints) : JointArray{};
}

inline void checkNumbers(const Contract& contract) {
    const Times& times = contract.times;
    if (contract.policy >= contract.policies.size()) {
        throw unusable("`policy` is " + std::to_string(contract.policy) + " of " +
                       std::to_string(contract.policies.size()) + " policies");
    }
    if (contract.period_ns == 0 || times.deadline_ns < contract.period_ns) {
        throw unusable("`deadline_ns` is shorter than the period, or both are 0");
    }
    if (times.first_command_ns == 0 || times.first_command_ns > kMaxFirstCommand_ns) {
        throw unusable("`first_command_ns` is 0 or more than 5 seconds");
    }
    if (times.stance_ns > kMaxStance_ns) throw unusable("`stance_ns` is more than half a second");
    if (contract.action_dim == 0 || contract.action_dim > kMaxJoints) {
        throw unusable("`action_dim` is " + std::to_string(contract.action_dim) + "; 1 to " +
                       std::to_string(kMaxJoints) + " are possible");
    }
}

/// Reads the reply to the hello of a controller with these joints; throws RefusedError when it cannot be worked with.
inline Contract parseContract(const Reply& reply, const std::vector<std::string>& joints,
                              const std::vector<std::string>& inputs = {}) {
    if (!reply.ok) throw refusal(reply);
    const msgpack::object& body = reply.body;
    const msgpack::object& command = field(body, "velocity_command");
    Contract contract;
    contract.gaitd_version = value<std::string>(body, "gaitd");
    contract.policies = parsePolicies(body);
    contract.policy = value<std::size_t>(body, "policy");
    contract.period_ns = value<std::uint64_t>(body, "period_ns");
    contract.times = parseTimes(body);
    contract.endpoints = parseEndpoints(body);
    contract.joints = value<std::vector<std::string>>(body, "joints");
    contract.joint_targets = parseTargets(body, joints);
    contract.fields = value<std::vector<std::string>>(body, "fields");
    contract.inputs = parseInputs(body, inputs);
    contract.observation_dim = value<std::size_t>(body, "observation_dim");
    contract.action_dim = value<std::size_t>(body, "action_dim");
    contract.velocity_command_unit = value<std::string>(command, "unit");
    contract.velocity_command_min = vector3(command, "min");
    contract.velocity_command_max = vector3(command, "max");
    contract.default_joint_position = jointValues(body, "default_joint_position", joints.size());
    contract.stiffness = jointValues(body, "stiffness", joints.size());
    contract.damping = jointValues(body, "damping", joints.size());
    contract.fallback_damping = jointValues(body, "fallback_damping", joints.size());
    contract.brake_stiffness = laterJointValues(body, "brake_stiffness", joints.size());
    contract.brake_torque = laterJointValues(body, "brake_torque", joints.size());
    checkNumbers(contract);
    return contract;
}

/// What a new gaitd has otherwise than the one that said hello; empty: nothing that matters to a session.
inline std::string difference(const Contract& now, const Contract& before) {
    const auto policy = [](const Contract& contract) {
        return contract.firstPolicy().name + " (" + contract.firstPolicy().id + ")";
    };
    const auto values = [](const Contract& contract) {
        return std::tie(contract.period_ns, contract.times.deadline_ns, contract.times.first_command_ns,
                        contract.times.stance_ns);
    };
    const auto sizes = [](const Contract& contract) { return std::tie(contract.observation_dim, contract.action_dim); };
    const auto same = [](const Endpoint& left, const Endpoint& right) {
        return std::tie(left.slot, left.transport, left.state, left.command) ==
               std::tie(right.slot, right.transport, right.state, right.command);
    };
    const auto samePolicy = [](const Policy& left, const Policy& right) { return left.id == right.id; };
    if (policy(now) != policy(before)) return "policy " + policy(now) + " instead of " + policy(before);
    if (!std::equal(now.policies.begin(), now.policies.end(), before.policies.begin(), before.policies.end(),
                    samePolicy)) {
        return "other policies beside " + policy(now);
    }
    if (values(now) != values(before)) return "policy " + policy(now) + " with other times";
    if (sizes(now) != sizes(before)) return "policy " + policy(now) + " with other dimensions";
    if (!std::equal(now.endpoints.begin(), now.endpoints.end(), before.endpoints.begin(), before.endpoints.end(), same)) {
        return "policy " + policy(now) + " at other endpoints";
    }
    return "";
}

}  // namespace control
}  // namespace gaitd
