// STATE, RAW_OBSERVATION and COMMAND to bytes and back. Strict: what is not exactly the contract is refused.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <gaitd/messages.hpp>
#include <gaitd/wire.hpp>

namespace gaitd {

namespace detail {

// array header, version, type, then session, seq and stamp as 64-bit integers: fixed width keeps the size constant.
inline constexpr std::size_t kSampleHeaderSize = 1 + 1 + 1 + 3 * 9;

inline void packSampleHeader(wire::Packer& packer, std::size_t elements, MessageType type, std::uint64_t session,
                             std::uint64_t seq, std::uint64_t stamp_ns) {
    packer.pack_array(static_cast<std::uint32_t>(elements));
    packer.pack_uint64(kProtocolVersion);
    packer.pack_uint64(static_cast<std::uint64_t>(type));
    packer.pack_fix_uint64(session);
    packer.pack_fix_uint64(seq);
    packer.pack_fix_uint64(stamp_ns);
}

/// Reads elements of one message; the first refusal sticks and the rest of the reads do nothing.
class Decoder {
public:
    Decoder(const void* data, std::size_t size) noexcept : reader_(data, size) {}

    void open(MessageType type, std::size_t elements) noexcept {
        std::size_t count = 0;
        std::uint64_t version = 0;
        std::uint64_t received_type = 0;
        if (!reader_.array(count) || count < 2 || !reader_.unsignedInteger(version)) {
            refuse(Refusal::Malformed);
        } else if (version != kProtocolVersion) {
            refuse(Refusal::Version);
        } else if (!reader_.unsignedInteger(received_type)) {
            refuse(Refusal::Malformed);
        } else if (received_type != static_cast<std::uint64_t>(type)) {
            refuse(Refusal::Type);
        } else if (count != elements) {
            refuse(Refusal::Malformed);
        }
    }

    void integer(std::uint64_t& value) noexcept {
        if (ok() && !reader_.unsignedInteger(value)) refuse(Refusal::Malformed);
    }

    /// A number of 0 to `last`, or `other`.
    template <class Small>
    void small(Small& value, std::uint64_t last, std::uint64_t other = 0) noexcept {
        std::uint64_t number = 0;
        integer(number);
        if (!ok()) return;
        if (number > last && number != other) return refuse(Refusal::Malformed);
        value = static_cast<Small>(number);
    }

    void floats(float* values, std::size_t count) noexcept {
        wire::Bytes bytes;
        blob(bytes);
        if (ok() && bytes.size != count * sizeof(float)) refuse(Refusal::Length);
        if (ok()) std::memcpy(values, bytes.data, bytes.size);
    }

    /// Like floats, but the blob may also be empty.
    void optionalFloats(float* values, std::size_t count, bool& present) noexcept {
        wire::Bytes bytes;
        blob(bytes);
        if (!ok()) return;
        present = bytes.size != 0;
        if (!present) return;
        if (bytes.size != count * sizeof(float)) return refuse(Refusal::Length);
        std::memcpy(values, bytes.data, bytes.size);
    }

    void cause(Cause& cause, std::size_t joints) noexcept {
        // One that a later gaitd adds must not hide its DAMPING: any small number is taken.
        small(cause.kind, kLastNumber);
        small(cause.joint, joints - 1, kNoJoint);
        std::array<float, 2> values{};
        floats(values.data(), values.size());
        cause.number = values[0];
        cause.bound = values[1];
    }

    /// The array of a policy's named inputs.
    void inputs(float* values, const InputSizes& sizes) noexcept {
        std::size_t count = 0;
        if (ok() && (!reader_.array(count) || count != sizes.count)) refuse(Refusal::Malformed);
        for (std::size_t i = 0; i < sizes.count; ++i) {
            floats(values, sizes.values[i]);
            values += sizes.values[i];
        }
    }

    [[nodiscard]] Refusal close() noexcept {
        if (ok() && !reader_.atEnd()) refuse(Refusal::Malformed);
        return refusal_;
    }

private:
    [[nodiscard]] bool ok() const noexcept { return refusal_ == Refusal::None; }
    void refuse(Refusal refusal) noexcept { refusal_ = refusal; }
    void blob(wire::Bytes& bytes) noexcept {
        if (ok() && !reader_.binary(bytes)) refuse(Refusal::Malformed);
    }

    wire::Reader reader_;
    Refusal refusal_ = Refusal::None;
};

}  // namespace detail

/// Bytes of every STATE message with these joints; session, seq and stamp do not change it.
constexpr std::size_t stateSize(std::size_t joints, bool has_linear_velocity, const InputSizes& inputs = {}) noexcept {
    std::size_t inputs_size = inputs.count < 16 ? 1 : 3;
    for (std::size_t i = 0; i < inputs.count; ++i) inputs_size += wire::floatsSize(inputs.values[i]);
    return detail::kSampleHeaderSize + 3 * wire::floatsSize(3) + wire::floatsSize(4) +
           wire::floatsSize(has_linear_velocity ? 3 : 0) + 3 * wire::floatsSize(joints) + inputs_size;
}

/// Bytes of every RAW_OBSERVATION message with these dimensions.
constexpr std::size_t rawObservationSize(std::size_t joints, std::size_t observation_dim) noexcept {
    return detail::kSampleHeaderSize + wire::floatsSize(observation_dim) + 2 * wire::floatsSize(joints);
}

/// Upper bound of the bytes of a COMMAND message with these dimensions: array header, version, type, five 64-bit
/// numbers, slot, mode, reason, cause with its joint and values, policy, blobs.
constexpr std::size_t commandSizeBound(std::size_t joints, std::size_t action_dim) noexcept {
    return 3 + 1 + 1 + 5 * 9 + 2 + 1 + 2 + 2 + 2 + wire::floatsSize(2) + 1 + 5 * wire::floatsSize(joints) +
           wire::floatsSize(action_dim);
}

/// Writes the message; returns its size, or 0 when the buffer is too small.
inline std::size_t encodeState(const RobotState& state, std::uint64_t session, std::uint64_t seq, std::size_t joints,
                               bool has_linear_velocity, void* buffer, std::size_t size,
                               const InputSizes& inputs = {}) {
    wire::FixedBuffer out(buffer, size);
    wire::Packer packer(out);
    detail::packSampleHeader(packer, kStateElements, MessageType::State, session, seq, state.stamp_ns);
    wire::packFloats(packer, state.angular_velocity.data(), 3);
    wire::packFloats(packer, state.orientation.data(), 4);
    wire::packFloats(packer, state.linear_acceleration.data(), 3);
    wire::packFloats(packer, state.linear_velocity.data(), has_linear_velocity ? 3 : 0);
    wire::packFloats(packer, state.velocity_command.data(), 3);
    wire::packJoints(packer, state.joint_position, joints);
    wire::packJoints(packer, state.joint_velocity, joints);
    wire::packJoints(packer, state.joint_torque, joints);
    packer.pack_array(static_cast<std::uint32_t>(inputs.count));
    const float* values = state.inputs.data();
    for (std::size_t i = 0; i < inputs.count; ++i) {
        wire::packFloats(packer, values, inputs.values[i]);
        values += inputs.values[i];
    }
    return out.used();
}

/// Writes the message; returns its size, or 0 when the buffer is too small.
inline std::size_t encodeRawObservation(const RawObservation& raw, std::uint64_t session, std::uint64_t seq,
                                        std::size_t joints, std::size_t observation_dim, void* buffer,
                                        std::size_t size) {
    wire::FixedBuffer out(buffer, size);
    wire::Packer packer(out);
    detail::packSampleHeader(packer, kRawObservationElements, MessageType::RawObservation, session, seq, raw.stamp_ns);
    wire::packFloats(packer, raw.observation, observation_dim);
    wire::packJoints(packer, raw.joint_position, joints);
    wire::packJoints(packer, raw.joint_velocity, joints);
    return out.used();
}

/// Writes the message; returns its size, or 0 when the buffer is too small.
inline std::size_t encodeCommand(const CommandMessage& command, std::size_t joints, std::size_t action_dim,
                                 void* buffer, std::size_t size) {
    wire::FixedBuffer out(buffer, size);
    wire::Packer packer(out);
    packer.pack_array(static_cast<std::uint32_t>(kCommandElements));
    packer.pack_uint64(kProtocolVersion);
    packer.pack_uint64(static_cast<std::uint64_t>(MessageType::Command));
    packer.pack_uint64(command.session);
    packer.pack_uint64(command.epoch);
    packer.pack_uint64(command.slot);
    packer.pack_uint64(command.seq);
    packer.pack_uint64(command.state_stamp_ns);
    packer.pack_uint64(command.publish_stamp_ns);
    packer.pack_uint64(static_cast<std::uint64_t>(command.mode));
    packer.pack_uint64(static_cast<std::uint64_t>(command.reason));
    packer.pack_uint64(static_cast<std::uint64_t>(command.cause.kind));
    packer.pack_uint64(command.cause.joint);
    const std::array<float, 2> values{command.cause.number, command.cause.bound};
    wire::packFloats(packer, values.data(), values.size());
    packer.pack_uint64(command.policy);
    wire::packJoints(packer, command.joint_position, joints);
    wire::packJoints(packer, command.joint_velocity, joints);
    wire::packJoints(packer, command.stiffness, joints);
    wire::packJoints(packer, command.damping, joints);
    wire::packJoints(packer, command.torque, joints);
    wire::packJoints(packer, command.action, action_dim);
    return out.used();
}

/// Reads a STATE of `joints` joints and these named inputs. After a refusal the content of `message` means nothing.
inline Refusal decodeState(const void* data, std::size_t size, std::size_t joints, StateMessage& message,
                           const InputSizes& inputs = {}) noexcept {
    detail::Decoder decoder(data, size);
    decoder.open(MessageType::State, kStateElements);
    decoder.integer(message.session);
    decoder.integer(message.seq);
    decoder.integer(message.state.stamp_ns);
    decoder.floats(message.state.angular_velocity.data(), 3);
    decoder.floats(message.state.orientation.data(), 4);
    decoder.floats(message.state.linear_acceleration.data(), 3);
    decoder.optionalFloats(message.state.linear_velocity.data(), 3, message.has_linear_velocity);
    decoder.floats(message.state.velocity_command.data(), 3);
    decoder.floats(message.state.joint_position.data(), joints);
    decoder.floats(message.state.joint_velocity.data(), joints);
    decoder.floats(message.state.joint_torque.data(), joints);
    decoder.inputs(message.state.inputs.data(), inputs);
    return decoder.close();
}

/// Reads a COMMAND of `joints` joints and `action_dim` actions. After a refusal the content of `message` means nothing.
inline Refusal decodeCommand(const void* data, std::size_t size, std::size_t joints, std::size_t action_dim,
                             CommandMessage& message) noexcept {
    detail::Decoder decoder(data, size);
    decoder.open(MessageType::Command, kCommandElements);
    decoder.integer(message.session);
    decoder.integer(message.epoch);
    decoder.small(message.slot, kMaxSlots - 1, kGuardSlot);
    decoder.integer(message.seq);
    decoder.integer(message.state_stamp_ns);
    decoder.integer(message.publish_stamp_ns);
    decoder.small(message.mode, static_cast<std::uint64_t>(Mode::Damping));
    // As with a cause.
    decoder.small(message.reason, kLastNumber);
    decoder.cause(message.cause, joints);
    decoder.small(message.policy, kMaxPolicies - 1);
    decoder.floats(message.joint_position.data(), joints);
    decoder.floats(message.joint_velocity.data(), joints);
    decoder.floats(message.stiffness.data(), joints);
    decoder.floats(message.damping.data(), joints);
    decoder.floats(message.torque.data(), joints);
    decoder.floats(message.action.data(), action_dim);
    return decoder.close();
}

}  // namespace gaitd
