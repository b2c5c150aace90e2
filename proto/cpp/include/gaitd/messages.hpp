// The messages of the wire contract (proto/README.md) as plain values: fixed size, no allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <gaitd/contract.hpp>

namespace gaitd {

using Vector3 = std::array<float, 3>;
using Quaternion = std::array<float, 4>;  ///< w, x, y, z
/// One value per joint in the controller's order; only the first n are used.
using JointArray = std::array<float, kMaxJoints>;

/// How many values each named input has, in the order of Contract::inputs.
struct InputSizes {
    std::array<std::size_t, kMaxInputs> values{};
    std::size_t count = 0;
};

/// One sample of the robot: what the controller fills in for Client::publish.
struct RobotState {
    std::uint64_t stamp_ns = 0;                  ///< CLOCK_MONOTONIC when it was sampled.
    Vector3 angular_velocity{};                  ///< rad/s, base frame.
    Quaternion orientation{1.0F, 0.0F, 0.0F, 0.0F};  ///< Unit, base frame to world frame.
    Vector3 linear_acceleration{};               ///< m/s^2, base frame, gravity included.
    Vector3 linear_velocity{};                   ///< m/s, base frame; sent only if named in Config::fields.
    Vector3 velocity_command{};                  ///< Forward, left, turn left, in the contract's unit.
    JointArray joint_position{};                 ///< rad
    JointArray joint_velocity{};                 ///< rad/s
    JointArray joint_torque{};                   ///< Nm
    /// The named inputs of Contract::inputs, one behind the other; each begins at its `offset`.
    std::array<float, kMaxInputValues> inputs{};
};

/// A ready-made observation, for controllers that build it themselves.
struct RawObservation {
    std::uint64_t stamp_ns = 0;          ///< CLOCK_MONOTONIC when it was sampled.
    const float* observation = nullptr;  ///< Contract::observation_dim values before normalization.
    JointArray joint_position{};         ///< rad: the guard needs it.
    JointArray joint_velocity{};         ///< rad/s: the guard needs it.
};

/// STATE as it travels.
struct StateMessage {
    std::uint64_t session = 0;
    std::uint64_t seq = 0;
    bool has_linear_velocity = false;
    RobotState state;
};

/// Why one state or action was refused: what is behind the reason of a DAMPING.
struct Cause {
    CauseKind kind = CauseKind::None;
    std::uint8_t joint = kNoJoint;  ///< Controller's order; kNoJoint: not about one joint.
    float number = std::numeric_limits<float>::quiet_NaN();  ///< What was measured or asked for, in unitOf(kind).
    float bound = std::numeric_limits<float>::quiet_NaN();   ///< What it was held against.
};

/// COMMAND as it travels; joint arrays in the controller's order, `action` in the policy's.
struct CommandMessage {
    std::uint64_t session = 0;
    std::uint64_t epoch = 0;
    std::uint8_t slot = 0;  ///< The worker's, or kGuardSlot.
    std::uint64_t seq = 0;
    std::uint64_t state_stamp_ns = 0;
    std::uint64_t publish_stamp_ns = 0;
    Mode mode = Mode::Idle;
    Reason reason = Reason::None;
    Cause cause;
    std::uint8_t policy = 0;  ///< Index into Contract::policies.
    JointArray joint_position{};
    JointArray joint_velocity{};
    JointArray stiffness{};
    JointArray damping{};
    JointArray torque{};
    JointArray action{};
};

/// Why a session ended in damping.
struct Ending {
    Reason reason = Reason::None;
    Cause cause;
};

/// What the motors are to do now: torque = stiffness * (joint_position - q) + damping * (joint_velocity - dq) + torque.
struct JointCommand {
    Mode mode = Mode::Idle;
    Reason reason = Reason::None;
    Cause cause;                ///< In damping that gaitd asked for: what is behind the reason.
    /// In damping that the controller's own timer began: gaitd's reason, once it has come; Reason::None: nothing that the
    /// timer did not say. For people.
    Ending gaitd_says;
    std::uint64_t session = 0;
    std::uint8_t policy = 0;    ///< Index into Contract::policies; of the last active command.
    std::uint64_t seq = 0;      ///< Sequence number of the state that this answers; 0 unless active.
    std::uint64_t age_ns = 0;   ///< Age of that state's sample; 0 unless active.
    JointArray joint_position{};  ///< rad; the last published position unless active, in the stance, or braked.
    JointArray joint_velocity{};  ///< rad/s
    JointArray stiffness{};       ///< Nm/rad; 0 unless active or in the stance; a wheel's brake.
    JointArray damping{};         ///< Nm s/rad
    JointArray torque{};          ///< Nm, feed-forward.
    JointArray action{};          ///< The policy's raw action, policy joint order; 0 unless active.
};

/// Why a received command was not applied.
enum class Refusal : std::uint8_t {
    None = 0,
    Malformed,       ///< Not the msgpack layout of this message, or bytes left over.
    Version,         ///< Another protocol version.
    Type,            ///< Another message type.
    Length,          ///< A blob has another length than the joints call for.
    NotFinite,       ///< NaN or infinity in an active command.
    ForeignSession,  ///< Of a session that is not ours.
    OldEpoch,        ///< Of a worker that another one has taken over from.
    ForeignSlot,     ///< Not of the worker that has the joints in this epoch.
    Replayed,        ///< Answers a state that is not newer than the last one answered.
    Unpublished,     ///< Answers a state that was never published, or with another stamp.
    FutureStamp,     ///< Stamped later than now.
    Late,            ///< Answers a state older than the deadline.
    Latched,         ///< Active command after damping of its session.
};
inline constexpr std::size_t kRefusals = 14;

constexpr const char* toString(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::None: return "none";
        case Refusal::Malformed: return "malformed";
        case Refusal::Version: return "version";
        case Refusal::Type: return "type";
        case Refusal::Length: return "length";
        case Refusal::NotFinite: return "not_finite";
        case Refusal::ForeignSession: return "foreign_session";
        case Refusal::OldEpoch: return "old_epoch";
        case Refusal::ForeignSlot: return "foreign_slot";
        case Refusal::Replayed: return "replayed";
        case Refusal::Unpublished: return "unpublished";
        case Refusal::FutureStamp: return "future_stamp";
        case Refusal::Late: return "late";
        case Refusal::Latched: return "latched";
    }
    return "unknown";
}

}  // namespace gaitd
