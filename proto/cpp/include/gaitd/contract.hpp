// The wire contract's numbers, names and texts. Generated from proto/contract.yaml by `make proto`: do not edit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gaitd {

inline constexpr std::uint64_t kProtocolVersion = 2;
/// Most joints that a message may speak of.
inline constexpr std::uint64_t kMaxJoints = 64;
/// Larger messages are refused unread, by the sockets as well (ZMQ_MAXMSGSIZE).
inline constexpr std::uint64_t kMaxMessageBytes = 65'536;
/// The largest request on the control channel.
inline constexpr std::uint64_t kMaxRequestBytes = 8'192;
/// Longest array or map inside a request or reply.
inline constexpr std::uint64_t kMaxControlLength = 1'024;
/// Arrays and maps in one another in a reply, read by the C++ client.
inline constexpr std::uint64_t kMaxControlDepth = 32;
/// Workers at a time; slots are numbered from 0.
inline constexpr std::uint64_t kMaxSlots = 4;
/// Most named inputs of a policy.
inline constexpr std::uint64_t kMaxInputs = 16;
/// Most values of all named inputs together.
inline constexpr std::uint64_t kMaxInputValues = 256;
/// Most policies in one gaitd.
inline constexpr std::uint64_t kMaxPolicies = 16;
/// The C++ client cuts the detail of a request to damp there.
inline constexpr std::uint64_t kMaxDetailBytes = 128;
/// The slot in commands of the guardian.
inline constexpr std::uint64_t kGuardSlot = 255;
/// The cause_joint of a cause that is not of one joint.
inline constexpr std::uint64_t kNoJoint = 255;
/// Reasons and causes above it are refused; unknown ones up to it are kept as numbers.
inline constexpr std::uint64_t kLastNumber = 255;
/// A stamp may be this far ahead of the reader's clock.
inline constexpr std::uint64_t kFutureTolerance_ns = 1'000'000;
/// A state must be sampled at least this long after the one before.
inline constexpr double kMinStateSpacingPeriods = 0.6;
/// States a period that are taken on the whole; what comes faster is refused, one now and then.
inline constexpr double kMaxStateRate = 1.1;
/// The orientation's squared norm must be above it.
inline constexpr double kMinOrientationNormSquared = 0.9;
/// The orientation's squared norm must be below it.
inline constexpr double kMaxOrientationNormSquared = 1.1;
/// Default: no command whose state is older than this is applied.
inline constexpr double kDeadlinePeriods = 5.0;
/// Default: how long a session may go without its first ACTIVE command.
inline constexpr std::uint64_t kFirstCommand_ns = 500'000'000;
/// The longest first_command_ns that a client accepts.
inline constexpr std::uint64_t kMaxFirstCommand_ns = 5'000'000'000;
/// The longest stance; longer on stiff legs makes the way to the ground worse.
inline constexpr std::uint64_t kMaxStance_ns = 500'000'000;
/// There is no stance, nor the rest of one, for a body that is tilted further.
inline constexpr double kStanceMaxTiltRad = 0.8;
/// TCP port of the first channel; a channel's port is this plus its offset.
inline constexpr std::uint64_t kDefaultPort = 9'460;
/// A client's reconnect interval on the robot.
inline constexpr std::uint64_t kReconnect_ms = 5;
/// The same over TCP, where each attempt costs the robot a handshake.
inline constexpr std::uint64_t kRemoteReconnect_ms = 100;
/// An endpoint's transport over ZeroMQ.
inline constexpr const char* kTransport = "zmq";
/// An endpoint's transport over shared memory: `state` and `command` name the one Unix socket that hands it out.
inline constexpr const char* kShmTransport = "shm";
/// A ring's first word: `gaitdrg1`.
inline constexpr std::uint64_t kRingMagic = 3'559'939'806'235'025'767;
/// A joint that follows a position.
inline constexpr const char* kPositionTarget = "position";
/// A joint that follows a velocity.
inline constexpr const char* kVelocityTarget = "velocity";
/// A joint that follows a torque.
inline constexpr const char* kTorqueTarget = "torque";
/// The first word of a policy's one file for the C++ policy library.
inline constexpr const char* kCompiledMagic = "gaitd policy";
/// The layout of that file.
inline constexpr std::uint64_t kCompiledFormat = 1;
/// Over TCP: a robot that lost its power does not close its connections.
inline constexpr std::uint64_t kHeartbeat_ms = 1'000;

/// In the order of their TCP ports.
enum class Channel : std::uint8_t { State, Command, Guard, Control };
inline constexpr std::array<const char*, 4> kChannelNames{"state", "command", "guard", "control"};

inline constexpr std::size_t kStateElements = 14;
inline constexpr std::size_t kRawObservationElements = 8;
inline constexpr std::size_t kCommandElements = 20;

/// Second element of every message.
enum class MessageType : std::uint8_t {
    State = 1,  ///< one sample of the robot
    RawObservation = 2,  ///< a ready-made observation from a controller that builds it itself
    Command = 3,  ///< what the motors are to do
    Request = 4,  ///< a question on the control channel
    Reply = 5,  ///< its answer
};

constexpr const char* toString(MessageType value) noexcept {
    switch (value) {
        case MessageType::State: return "state";
        case MessageType::RawObservation: return "raw_observation";
        case MessageType::Command: return "command";
        case MessageType::Request: return "request";
        case MessageType::Reply: return "reply";
    }
    return "unknown";
}

/// What the joints are to do.
enum class Mode : std::uint8_t {
    Idle = 0,  ///< no session, or no command of it yet: nothing is asked of the joints
    Active = 1,  ///< the policy moves the joints
    Damping = 2,  ///< latched until an explicit activate: the robot's damping, after a stance where one is set
};

constexpr const char* toString(Mode value) noexcept {
    switch (value) {
        case Mode::Idle: return "idle";
        case Mode::Active: return "active";
        case Mode::Damping: return "damping";
    }
    return "unknown";
}

/// Why the mode is what it is, or why a request was refused.
enum class Reason : std::uint8_t {
    None = 0,  ///< no fault
    Deadline = 1,  ///< the worker is late, hangs or is stopped
    WorkerDied = 2,  ///< the worker process ended
    StateLost = 3,  ///< no state of the session arrives
    StateStale = 4,  ///< states are too old, from the future or frozen
    StateInvalid = 5,  ///< states are malformed, not finite, out of range or out of sequence
    ActionInvalid = 6,  ///< the policy's action is not finite, repeated or of the wrong shape
    Limit = 7,  ///< a limit whose response is damping was exceeded
    BackendError = 8,  ///< the inference runtime failed
    Contract = 9,  ///< controller and gaitd do not agree: joints, fields, version or session
    Operator = 10,  ///< a person asked for damping
    ClientDeadline = 11,  ///< the controller's own timer ran out: no valid command reached it in time
    Shutdown = 12,  ///< gaitd is stopping
};

constexpr const char* toString(Reason value) noexcept {
    switch (value) {
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

/// Why one state or action was refused.
enum class CauseKind : std::uint8_t {
    None = 0,
    Malformed = 1,
    ForeignSession = 2,
    Sequence = 3,
    Early = 4,
    Future = 5,
    Old = 6,
    Frozen = 7,
    NotFinite = 8,
    OutOfRange = 9,
    VelocityOutOfRange = 10,
    MissingField = 11,
    Tilt = 12,
    StartPosture = 13,
    OrientationNorm = 14,
    StreamStale = 15,
    ActionNotFinite = 20,
    ActionShape = 21,
    ActionRepeated = 22,
    PositionLimit = 23,
    SlewLimit = 24,
    TorqueLimit = 25,
    VelocityLimit = 26,
    AccelerationLimit = 27,
    TorqueRateLimit = 28,
    BackendError = 30,
};

constexpr const char* toString(CauseKind value) noexcept {
    switch (value) {
        case CauseKind::None: return "none";
        case CauseKind::Malformed: return "malformed";
        case CauseKind::ForeignSession: return "foreign_session";
        case CauseKind::Sequence: return "sequence";
        case CauseKind::Early: return "early";
        case CauseKind::Future: return "future";
        case CauseKind::Old: return "old";
        case CauseKind::Frozen: return "frozen";
        case CauseKind::NotFinite: return "not_finite";
        case CauseKind::OutOfRange: return "out_of_range";
        case CauseKind::VelocityOutOfRange: return "velocity_out_of_range";
        case CauseKind::MissingField: return "missing_field";
        case CauseKind::Tilt: return "tilt";
        case CauseKind::StartPosture: return "start_posture";
        case CauseKind::OrientationNorm: return "orientation_norm";
        case CauseKind::StreamStale: return "stream_stale";
        case CauseKind::ActionNotFinite: return "action_not_finite";
        case CauseKind::ActionShape: return "action_shape";
        case CauseKind::ActionRepeated: return "action_repeated";
        case CauseKind::PositionLimit: return "position_limit";
        case CauseKind::SlewLimit: return "slew_limit";
        case CauseKind::TorqueLimit: return "torque_limit";
        case CauseKind::VelocityLimit: return "velocity_limit";
        case CauseKind::AccelerationLimit: return "acceleration_limit";
        case CauseKind::TorqueRateLimit: return "torque_rate_limit";
        case CauseKind::BackendError: return "backend_error";
    }
    return "unknown";
}

/// For people.
constexpr const char* text(Reason value) noexcept {
    switch (value) {
        case Reason::None: return "no fault";
        case Reason::Deadline: return "the worker is late, hangs or is stopped";
        case Reason::WorkerDied: return "the worker process ended";
        case Reason::StateLost: return "no state of the session arrives";
        case Reason::StateStale: return "states are too old, from the future or frozen";
        case Reason::StateInvalid: return "states are malformed, not finite, out of range or out of sequence";
        case Reason::ActionInvalid: return "the policy's action is not finite, repeated or of the wrong shape";
        case Reason::Limit: return "a limit whose response is damping was exceeded";
        case Reason::BackendError: return "the inference runtime failed";
        case Reason::Contract: return "controller and gaitd do not agree: joints, fields, version or session";
        case Reason::Operator: return "a person asked for damping";
        case Reason::ClientDeadline: return "the controller's own timer ran out: no valid command reached it in time";
        case Reason::Shutdown: return "gaitd is stopping";
    }
    return "an unknown reason";
}

/// No stance for these, not even the rest of one.
constexpr bool isLimp(Reason value) noexcept {
    switch (value) {
        case Reason::None: return false;
        case Reason::Deadline: return false;
        case Reason::WorkerDied: return false;
        case Reason::StateLost: return false;
        case Reason::StateStale: return false;
        case Reason::StateInvalid: return false;
        case Reason::ActionInvalid: return false;
        case Reason::Limit: return true;
        case Reason::BackendError: return false;
        case Reason::Contract: return false;
        case Reason::Operator: return true;
        case Reason::ClientDeadline: return false;
        case Reason::Shutdown: return true;
    }
    return false;
}

/// For people: what was checked; number and bound are in unitOf().
constexpr const char* text(CauseKind value) noexcept {
    switch (value) {
        case CauseKind::None: return "no cause";
        case CauseKind::Malformed: return "a state message is not as the contract has it";
        case CauseKind::ForeignSession: return "a state is of another session";
        case CauseKind::Sequence: return "a state's sequence number does not follow the one before";
        case CauseKind::Early: return "states follow each other too fast";
        case CauseKind::Future: return "a state is stamped in the future";
        case CauseKind::Old: return "a state is too old";
        case CauseKind::Frozen: return "a state's sensor values are bit for bit those of the one before";
        case CauseKind::NotFinite: return "a state holds a value that is not finite";
        case CauseKind::OutOfRange: return "a joint position is out of range";
        case CauseKind::VelocityOutOfRange: return "a joint velocity is out of range";
        case CauseKind::MissingField: return "a state lacks a field that the policy needs";
        case CauseKind::Tilt: return "the body is tilted too far";
        case CauseKind::StartPosture: return "at the start of the session a joint is too far from its default position";
        case CauseKind::OrientationNorm: return "the orientation is not a unit quaternion";
        case CauseKind::StreamStale: return "a stream without which the policy must not walk is stale";
        case CauseKind::ActionNotFinite: return "the policy's action is not finite";
        case CauseKind::ActionShape: return "the policy's action has the wrong length";
        case CauseKind::ActionRepeated: return "the policy repeats its action although a joint moved";
        case CauseKind::PositionLimit: return "a target exceeds the position limit";
        case CauseKind::SlewLimit: return "a target moves too far in one step";
        case CauseKind::TorqueLimit: return "a target asks for too much torque";
        case CauseKind::VelocityLimit: return "a target exceeds the velocity limit";
        case CauseKind::AccelerationLimit: return "a velocity target changes too fast";
        case CauseKind::TorqueRateLimit: return "a torque target changes too fast";
        case CauseKind::BackendError: return "the inference runtime reported an error";
    }
    return "an unknown cause";
}

/// What a damping that comes of it gives as its reason; None for a kind of a later gaitd.
constexpr Reason reasonOf(CauseKind value) noexcept {
    switch (value) {
        case CauseKind::None: return Reason::None;
        case CauseKind::Malformed: return Reason::StateInvalid;
        case CauseKind::ForeignSession: return Reason::Contract;
        case CauseKind::Sequence: return Reason::StateInvalid;
        case CauseKind::Early: return Reason::StateInvalid;
        case CauseKind::Future: return Reason::StateStale;
        case CauseKind::Old: return Reason::StateStale;
        case CauseKind::Frozen: return Reason::StateStale;
        case CauseKind::NotFinite: return Reason::StateInvalid;
        case CauseKind::OutOfRange: return Reason::StateInvalid;
        case CauseKind::VelocityOutOfRange: return Reason::StateInvalid;
        case CauseKind::MissingField: return Reason::Contract;
        case CauseKind::Tilt: return Reason::Limit;
        case CauseKind::StartPosture: return Reason::Limit;
        case CauseKind::OrientationNorm: return Reason::StateInvalid;
        case CauseKind::StreamStale: return Reason::StateStale;
        case CauseKind::ActionNotFinite: return Reason::ActionInvalid;
        case CauseKind::ActionShape: return Reason::ActionInvalid;
        case CauseKind::ActionRepeated: return Reason::ActionInvalid;
        case CauseKind::PositionLimit: return Reason::Limit;
        case CauseKind::SlewLimit: return Reason::Limit;
        case CauseKind::TorqueLimit: return Reason::Limit;
        case CauseKind::VelocityLimit: return Reason::Limit;
        case CauseKind::AccelerationLimit: return Reason::Limit;
        case CauseKind::TorqueRateLimit: return Reason::Limit;
        case CauseKind::BackendError: return Reason::BackendError;
    }
    return Reason::None;
}

/// Of a cause's number and bound; empty for none.
constexpr const char* unitOf(CauseKind value) noexcept {
    switch (value) {
        case CauseKind::None: return "";
        case CauseKind::Malformed: return "";
        case CauseKind::ForeignSession: return "";
        case CauseKind::Sequence: return "";
        case CauseKind::Early: return "ms";
        case CauseKind::Future: return "ms";
        case CauseKind::Old: return "ms";
        case CauseKind::Frozen: return "";
        case CauseKind::NotFinite: return "";
        case CauseKind::OutOfRange: return "rad";
        case CauseKind::VelocityOutOfRange: return "rad/s";
        case CauseKind::MissingField: return "";
        case CauseKind::Tilt: return "rad";
        case CauseKind::StartPosture: return "rad";
        case CauseKind::OrientationNorm: return "";
        case CauseKind::StreamStale: return "ms";
        case CauseKind::ActionNotFinite: return "";
        case CauseKind::ActionShape: return "";
        case CauseKind::ActionRepeated: return "rad";
        case CauseKind::PositionLimit: return "rad";
        case CauseKind::SlewLimit: return "rad";
        case CauseKind::TorqueLimit: return "Nm";
        case CauseKind::VelocityLimit: return "rad/s";
        case CauseKind::AccelerationLimit: return "rad/s\u00b2";
        case CauseKind::TorqueRateLimit: return "Nm/s";
        case CauseKind::BackendError: return "";
    }
    return "";
}

}  // namespace gaitd
