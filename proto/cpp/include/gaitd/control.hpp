// Requests and replies of the control channel. They are exchanged by the link thread, outside the control loop, and
// may allocate.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gaitd/errors.hpp>
#include <gaitd/messages.hpp>
#include <gaitd/wire.hpp>

namespace gaitd {

/// What gaitd answers to hello: everything a controller must know before its policy may move a joint.
/// Joint values are in the controller's order.
struct Contract {
    std::string gaitd_version;
    std::string policy_id;
    std::string policy_name;
    std::string policy_version;
    std::uint64_t period_ns = 0;          ///< Publish one state this often.
    std::uint64_t deadline_ns = 0;        ///< No command whose state is older than this is applied.
    std::vector<std::string> joints;      ///< The policy's order: the order of `action`.
    std::vector<std::string> fields;      ///< State fields that the policy reads.
    std::size_t observation_dim = 0;      ///< Length of a raw observation.
    std::string velocity_command_unit;
    Vector3 velocity_command_min{};
    Vector3 velocity_command_max{};
    JointArray default_joint_position{};  ///< rad
    JointArray stiffness{};               ///< Nm/rad, of the policy
    JointArray damping{};                 ///< Nm s/rad, of the policy
    JointArray fallback_damping{};        ///< Nm s/rad, in damping
    std::uint64_t stance_ns = 0;          ///< How long damping may begin with the default pose at the policy's gains.
};

namespace control {

/// Body of a hello.
struct Introduction {
    std::string controller;
    std::vector<std::string> joints;
    std::vector<std::string> fields;
    MessageType message = MessageType::State;
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

inline msgpack::sbuffer hello(std::uint64_t id, const Introduction& introduction) {
    return request(id, "hello", [&](BodyPacker& packer) {
        packer.pack_map(4);
        packer.pack(std::string("controller"));
        packer.pack(introduction.controller);
        packer.pack(std::string("joints"));
        packer.pack(introduction.joints);
        packer.pack(std::string("fields"));
        packer.pack(introduction.fields);
        packer.pack(std::string("message"));
        packer.pack(std::string(introduction.message == MessageType::State ? "state" : "raw_observation"));
    });
}

inline msgpack::sbuffer activate(std::uint64_t id) {
    return request(id, "activate", [](BodyPacker& packer) { packer.pack_map(0); });
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

/// One reply, its body still packed in `handle`.
struct Reply {
    std::uint64_t id = 0;
    bool ok = false;
    msgpack::object body;
    msgpack::object_handle handle;
};

inline const msgpack::object& field(const msgpack::object& map, const char* key) {
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

/// Longer on stiff legs makes the way to the ground worse.
inline constexpr std::uint64_t kMaxStance_ns = 500'000'000;

/// Of a message on the control channel.
inline constexpr std::size_t kMaxMessageSize = 64 * 1024;

/// Bounds on what a reply may announce: arrays and maps are allocated before their elements are seen.
inline msgpack::unpack_limit limits() {
    constexpr std::size_t kLength = 1024;
    constexpr std::size_t kDepth = 32;
    return {kLength, kLength, kMaxMessageSize, kMaxMessageSize, kMaxMessageSize, kDepth};
}

/// Reads a reply; false when the bytes are not one.
inline bool parseReply(const void* data, std::size_t size, Reply& reply) {
    try {
        if (size > kMaxMessageSize) return false;
        std::size_t offset = 0;
        reply.handle = msgpack::unpack(static_cast<const char*>(data), size, offset, nullptr, nullptr, limits());
        const msgpack::object& object = reply.handle.get();
        if (offset != size || object.type != msgpack::type::ARRAY || object.via.array.size != 5) return false;
        const msgpack::object* element = object.via.array.ptr;
        if (element[0].as<std::uint64_t>() != kProtocolVersion) return false;
        if (element[1].as<std::uint64_t>() != static_cast<std::uint64_t>(MessageType::Reply)) return false;
        reply.id = element[2].as<std::uint64_t>();
        reply.ok = element[3].as<bool>();
        reply.body = element[4];
        return reply.body.type == msgpack::type::MAP;
    } catch (const std::exception&) {
        return false;
    }
}

inline RefusedError refusal(const Reply& reply) {
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

/// Reads the reply to hello; throws RefusedError when it cannot be worked with.
inline Contract parseContract(const Reply& reply, std::size_t joints) {
    if (!reply.ok) throw refusal(reply);
    const msgpack::object& policy = field(reply.body, "policy");
    const msgpack::object& command = field(reply.body, "velocity_command");
    Contract contract;
    contract.gaitd_version = value<std::string>(reply.body, "gaitd");
    contract.policy_id = value<std::string>(policy, "id");
    contract.policy_name = value<std::string>(policy, "name");
    contract.policy_version = value<std::string>(policy, "version");
    contract.period_ns = value<std::uint64_t>(reply.body, "period_ns");
    contract.deadline_ns = value<std::uint64_t>(reply.body, "deadline_ns");
    contract.joints = value<std::vector<std::string>>(reply.body, "joints");
    contract.fields = value<std::vector<std::string>>(reply.body, "fields");
    contract.observation_dim = value<std::size_t>(reply.body, "observation_dim");
    contract.velocity_command_unit = value<std::string>(command, "unit");
    contract.velocity_command_min = vector3(command, "min");
    contract.velocity_command_max = vector3(command, "max");
    contract.default_joint_position = jointValues(reply.body, "default_joint_position", joints);
    contract.stiffness = jointValues(reply.body, "stiffness", joints);
    contract.damping = jointValues(reply.body, "damping", joints);
    contract.fallback_damping = jointValues(reply.body, "fallback_damping", joints);
    contract.stance_ns = value<std::uint64_t>(reply.body, "stance_ns");
    if (contract.period_ns == 0 || contract.deadline_ns < contract.period_ns) {
        throw RefusedError(Reason::Contract, "gaitd's reply: the deadline is shorter than the period, or both are 0");
    }
    if (contract.stance_ns > kMaxStance_ns) {
        throw RefusedError(Reason::Contract, "gaitd's reply: `stance_ns` is more than half a second");
    }
    return contract;
}

}  // namespace control
}  // namespace gaitd
