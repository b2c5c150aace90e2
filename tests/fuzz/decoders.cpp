// A libFuzzer target: every C++ reader of what comes from outside. The first byte chooses the reader, the second the
// number of joints; the rest is the message, or what a ring of shared memory holds. What a reader accepts must come out of
// its writer again.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <gaitd/codec.hpp>
#include <gaitd/control.hpp>
#include <gaitd/ring.hpp>

namespace {

using namespace gaitd;

void require(bool condition) {
    if (!condition) std::abort();
}

/// Whether the first n values are the same, bit for bit.
bool same(const JointArray& left, const JointArray& right, std::size_t n) {
    return std::memcmp(left.data(), right.data(), n * sizeof(float)) == 0;
}

void state(const std::uint8_t* data, std::size_t size, std::size_t joints) {
    StateMessage message;
    if (decodeState(data, size, joints, message) != Refusal::None) return;
    std::vector<std::uint8_t> bytes(stateSize(joints, message.has_linear_velocity));
    require(encodeState(message.state, message.session, message.seq, joints, message.has_linear_velocity, bytes.data(),
                        bytes.size()) == bytes.size());
    StateMessage again;
    require(decodeState(bytes.data(), bytes.size(), joints, again) == Refusal::None);
    require(again.session == message.session && again.seq == message.seq &&
            again.state.stamp_ns == message.state.stamp_ns);
    require(same(again.state.joint_position, message.state.joint_position, joints));
    require(same(again.state.joint_torque, message.state.joint_torque, joints));
}

void command(const std::uint8_t* data, std::size_t size, std::size_t joints) {
    CommandMessage message;
    if (decodeCommand(data, size, joints, joints, message) != Refusal::None) return;
    std::vector<std::uint8_t> bytes(commandSizeBound(joints, joints));
    const std::size_t used = encodeCommand(message, joints, joints, bytes.data(), bytes.size());
    require(used != 0);
    CommandMessage again;
    require(decodeCommand(bytes.data(), used, joints, joints, again) == Refusal::None);
    require(again.mode == message.mode && again.reason == message.reason && again.policy == message.policy);
    require(again.epoch == message.epoch && again.slot == message.slot && again.cause.kind == message.cause.kind &&
            again.cause.joint == message.cause.joint);
    require(same(again.joint_position, message.joint_position, joints));
    require(same(again.action, message.action, joints));
}

void reply(const std::uint8_t* data, std::size_t size, std::size_t joints) {
    control::Reply reply;
    if (!control::parseReply(data, size, reply)) return;
    try {
        const Contract contract = control::parseContract(reply, std::vector<std::string>(joints, "joint"));
        require(contract.period_ns > 0 && contract.times.deadline_ns >= contract.period_ns);
        require(contract.times.stance_ns <= kMaxStance_ns && contract.times.first_command_ns <= kMaxFirstCommand_ns);
        require(contract.policy < contract.policies.size() && !contract.endpoints.empty());
        require(contract.action_dim > 0 && contract.action_dim <= kMaxJoints);
        for (std::size_t i = 0; i < joints; ++i) require(std::isfinite(contract.fallback_damping[i]));
    } catch (const RefusedError&) {
        return;
    }
}

/// The bytes are a ring's memory behind its head; what it has must be a record of it with its checksum.
void newest(const std::uint8_t* data, std::size_t size, std::size_t joints) {
    const std::size_t room = 16 * joints;
    std::vector<std::uint64_t> memory(ring::sizeOf(4, room) / 8);
    const ring::Words words(memory.data(), 4, room);
    ring::NewestReader reader(memory.data(), 4, room);
    std::memcpy(memory.data() + ring::kCounterAt / 8, data, std::min(size, 8 * memory.size() - ring::kCounterAt));
    const std::uint64_t index = *words.counter();
    const std::size_t got = reader.take();
    require(got <= room);
    require(got == 0 || words.record(index)[1] == ring::tagOf(got, ring::checksum(reader.data(), got, index)));
    require(got == 0 || std::memcmp(reader.data(), words.record(index) + 2, got) == 0);
    ring::Writer writer(memory.data(), 4, room);
    std::memset(writer.buffer(), 7, room);
    writer.append(room);
    writer.append(room);  // Whatever was there, a writer that goes on is heard.
    require(reader.take() == room && std::memcmp(reader.data(), writer.buffer(), room) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::size_t joints = 1 + data[1] % kMaxJoints;
#ifdef GAITD_PLANTED_OVERFLOW
    if (size > 4 && data[0] == 1) {
        std::vector<std::uint8_t> blob(data[4]);
        std::memcpy(blob.data(), data + 4, size - 4);  // As long as the sender says, however short the blob is.
    }
#endif
    switch (data[0] % 4) {
        case 0: state(data + 2, size - 2, joints); break;
        case 1: command(data + 2, size - 2, joints); break;
        case 2: newest(data + 2, size - 2, joints); break;
        default: reply(data + 2, size - 2, joints); break;
    }
    return 0;
}
