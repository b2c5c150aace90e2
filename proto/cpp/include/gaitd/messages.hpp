// The messages of the wire contract (proto/README.md) as plain values: fixed size, no allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gaitd {

inline constexpr std::uint64_t kProtocolVersion = 1;
inline constexpr std::size_t kMaxJoints = 64;
inline constexpr std::size_t kPolicyIdLength = 16;

enum class MessageType : std::uint8_t { State = 1, RawObservation = 2, Command = 3, Request = 4, Reply = 5 };

/// What the joints are to do.
enum class Mode : std::uint8_t {
    Idle = 0,     ///< No session, or no command of it yet: nothing is asked of the joints.
    Active = 1,   ///< The policy moves the joints.
    Damping = 2,  ///< Latched: the robot's damping, after a stance where that is set; until an explicit activate.
};

/// Why the mode is what it is, or why a request was refused.
enum class Reason : std::uint8_t {
    None = 0,
    Deadline = 1,
    WorkerDied = 2,
    StateLost = 3,
    StateStale = 4,
    StateInvalid = 5,
    ActionInvalid = 6,
    Limit = 7,
    BackendError = 8,
    Contract = 9,
    Operator = 10,
    ClientDeadline = 11,
    Shutdown = 12,
};

constexpr const char* toString(Mode mode) noexcept {
    switch (mode) {
        case Mode::Idle: return "idle";
        case Mode::Active: return "active";
        case Mode::Damping: return "damping";
    }
    return "unknown";
}

constexpr const char* toString(Reason reason) noexcept {
    switch (reason) {
        case Reason::None: return "none";
        case Reason::Deadline: return "deadline";
        case Reason::WorkerDied: return "worker_died";
        case Reason::StateLost: return "state_lost";
        case Reason::StateStale: return "state_stale";
        case Reason::StateInvalid: return "state_invalid";
        case Reason::ActionInvalid: return "action_invalid";
        case Reason::Limit: return "limit";
        case Reason::BackendError: return "backend_error";
        case Reason::Contract: return "contract";
        case Reason::Operator: return "operator";
        case Reason::ClientDeadline: return "client_deadline";
        case Reason::Shutdown: return "shutdown";
    }
    return "unknown";
}

using Vector3 = std::array<float, 3>;
using Quaternion = std::array<float, 4>;  ///< w, x, y, z
/// One value per joint in the controller's order; only the first n are used.
using JointArray = std::array<float, kMaxJoints>;

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

/// COMMAND as it travels; joint arrays in the controller's order, `action` in the policy's.
struct CommandMessage {
    std::uint64_t session = 0;
    std::uint64_t seq = 0;
    std::uint64_t state_stamp_ns = 0;
    std::uint64_t publish_stamp_ns = 0;
    Mode mode = Mode::Idle;
    Reason reason = Reason::None;
    std::array<char, kPolicyIdLength + 1> policy_id{};  ///< Zero-terminated.
    JointArray joint_position{};
    JointArray joint_velocity{};
    JointArray stiffness{};
    JointArray damping{};
    JointArray torque{};
    JointArray action{};
};

/// What the motors are to do now: torque = stiffness * (joint_position - q) + damping * (joint_velocity - dq) + torque.
struct JointCommand {
    Mode mode = Mode::Idle;
    Reason reason = Reason::None;
    std::uint64_t session = 0;
    std::uint64_t seq = 0;      ///< Sequence number of the state that this answers; 0 unless active.
    std::uint64_t age_ns = 0;   ///< Age of that state's sample; 0 unless active.
    JointArray joint_position{};  ///< rad; the last published position unless active or in the stance.
    JointArray joint_velocity{};  ///< rad/s
    JointArray stiffness{};       ///< Nm/rad; 0 unless active or in the stance.
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
    Replayed,        ///< Answers a state that is not newer than the last one answered.
    Unpublished,     ///< Answers a state that was never published, or with another stamp.
    FutureStamp,     ///< Stamped later than now.
    Late,            ///< Answers a state older than the deadline.
    Latched,         ///< Active command after damping of its session.
};
inline constexpr std::size_t kRefusals = 12;

constexpr const char* toString(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::None: return "none";
        case Refusal::Malformed: return "malformed";
        case Refusal::Version: return "version";
        case Refusal::Type: return "type";
        case Refusal::Length: return "length";
        case Refusal::NotFinite: return "not_finite";
        case Refusal::ForeignSession: return "foreign_session";
        case Refusal::Replayed: return "replayed";
        case Refusal::Unpublished: return "unpublished";
        case Refusal::FutureStamp: return "future_stamp";
        case Refusal::Late: return "late";
        case Refusal::Latched: return "latched";
    }
    return "unknown";
}

}  // namespace gaitd
