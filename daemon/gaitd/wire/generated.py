"""The wire contract's numbers, names and texts. Generated from proto/contract.yaml by `make proto`: do not edit."""
# ruff: noqa: E501

from __future__ import annotations

import enum

from gaitd.wire.numbers import Number

PROTOCOL_VERSION = 2
"""First element of every message. A peer that speaks another version is refused."""
MAX_JOINTS = 64
"""Most joints that a message may speak of."""
MAX_MESSAGE_BYTES = 65_536
"""Larger messages are refused unread, by the sockets as well (ZMQ_MAXMSGSIZE)."""
MAX_REQUEST_BYTES = 8_192
"""The largest request on the control channel."""
MAX_STREAM_LENGTH = 64
"""Longest array or map inside STATE, RAW_OBSERVATION and COMMAND."""
MAX_CONTROL_LENGTH = 1_024
"""Longest array or map inside a request or reply."""
MAX_SLOTS = 4
"""Workers at a time; slots are numbered from 0."""
MAX_INPUTS = 16
"""Most named inputs of a policy."""
MAX_INPUT_VALUES = 256
"""Most values of all named inputs together."""
MAX_POLICIES = 16
"""Most policies in one gaitd."""
GUARD_SLOT = 255
"""The slot in commands of the guardian."""
NO_JOINT = 255
"""The cause_joint of a cause that is not of one joint."""
LAST_NUMBER = 255
"""Reasons and causes above it are refused; unknown ones up to it are kept as numbers."""
FUTURE_TOLERANCE_NS = 1_000_000
"""A stamp may be this far ahead of the reader's clock."""
MIN_STATE_SPACING_PERIODS = 0.6
"""A state must be sampled at least this long after the one before."""
MAX_STATE_RATE = 1.1
"""States a period that are taken on the whole; what comes faster is refused, one now and then."""
MAX_SEQUENCE_JUMP_NS = 1_000_000_000
"""A jump of the sequence may be as many states as are due in this time."""
MIN_ORIENTATION_NORM_SQUARED = 0.9
"""The orientation's squared norm must be above it."""
MAX_ORIENTATION_NORM_SQUARED = 1.1
"""The orientation's squared norm must be below it."""
STATE_MAX_AGE_PERIODS = 2.0
"""Default: a state older than this is not answered."""
DEADLINE_PERIODS = 5.0
"""Default: no command whose state is older than this is applied."""
FIRST_COMMAND_NS = 500_000_000
"""Default: how long a session may go without its first ACTIVE command."""
MAX_FIRST_COMMAND_NS = 5_000_000_000
"""The longest first_command_ns that a client accepts."""
MAX_STANCE_NS = 500_000_000
"""The longest stance; longer on stiff legs makes the way to the ground worse."""
DEFAULT_PORT = 9_460
"""TCP port of the first channel; a channel's port is this plus its offset."""
RECONNECT_MS = 5
"""A client's reconnect interval on the robot."""
REMOTE_RECONNECT_MS = 100
"""The same over TCP, where each attempt costs the robot a handshake."""
TRANSPORT = "zmq"
"""An endpoint's transport over ZeroMQ."""
SHM_TRANSPORT = "shm"
"""An endpoint's transport over shared memory: `state` and `command` name the one Unix socket that hands it out."""
RING_MAGIC = 3_559_939_806_235_025_767
"""A ring's first word: `gaitdrg1`."""
POSITION_TARGET = "position"
"""A joint that follows a position."""
VELOCITY_TARGET = "velocity"
"""A joint that follows a velocity."""
TORQUE_TARGET = "torque"
"""A joint that follows a torque."""
COMPILED_MAGIC = "gaitd policy"
"""The first word of a policy's one file for the C++ policy library."""
COMPILED_FORMAT = 1
"""The layout of that file."""
HEARTBEAT_MS = 1_000
"""Over TCP: a robot that lost its power does not close its connections."""
CHANNELS = ("state", "command", "guard", "control")
"""In the order of their TCP ports."""


class MessageType(enum.IntEnum):
    """Second element of every message."""

    STATE = 1
    """One sample of the robot."""
    RAW_OBSERVATION = 2
    """A ready-made observation from a controller that builds it itself."""
    COMMAND = 3
    """What the motors are to do."""
    REQUEST = 4
    """A question on the control channel."""
    REPLY = 5
    """Its answer."""


class Mode(enum.IntEnum):
    """What the joints are to do."""

    IDLE = 0
    """No session, or no command of it yet: nothing is asked of the joints."""
    ACTIVE = 1
    """The policy moves the joints."""
    DAMPING = 2
    """Latched until an explicit activate: the robot's damping, after a stance where one is set."""


class Reason(Number):
    """Why the mode is what it is, or why a request was refused."""

    NONE = 0
    """No fault."""
    DEADLINE = 1
    """The worker is late, hangs or is stopped."""
    WORKER_DIED = 2
    """The worker process ended."""
    STATE_LOST = 3
    """No state of the session arrives."""
    STATE_STALE = 4
    """States are too old, from the future or frozen."""
    STATE_INVALID = 5
    """States are malformed, not finite, out of range or out of sequence."""
    ACTION_INVALID = 6
    """The policy's action is not finite, repeated or of the wrong shape."""
    LIMIT = 7
    """A limit whose response is damping was exceeded."""
    BACKEND_ERROR = 8
    """The inference runtime failed."""
    CONTRACT = 9
    """Controller and gaitd do not agree: joints, fields, version or session."""
    OPERATOR = 10
    """A person asked for damping."""
    CLIENT_DEADLINE = 11
    """The controller's own timer ran out: no valid command reached it in time."""
    SHUTDOWN = 12
    """gaitd is stopping."""


class CauseKind(Number):
    """Why one state or action was refused."""

    NONE = 0
    MALFORMED = 1
    FOREIGN_SESSION = 2
    SEQUENCE = 3
    EARLY = 4
    FUTURE = 5
    OLD = 6
    FROZEN = 7
    NOT_FINITE = 8
    OUT_OF_RANGE = 9
    VELOCITY_OUT_OF_RANGE = 10
    MISSING_FIELD = 11
    TILT = 12
    START_POSTURE = 13
    ORIENTATION_NORM = 14
    STREAM_STALE = 15
    ACTION_NOT_FINITE = 20
    ACTION_SHAPE = 21
    ACTION_REPEATED = 22
    POSITION_LIMIT = 23
    SLEW_LIMIT = 24
    TORQUE_LIMIT = 25
    VELOCITY_LIMIT = 26
    ACCELERATION_LIMIT = 27
    TORQUE_RATE_LIMIT = 28
    BACKEND_ERROR = 30


LIMP_REASONS: frozenset[Reason] = frozenset(
    {
        Reason.LIMIT,
        Reason.OPERATOR,
        Reason.SHUTDOWN,
    }
)
"""No stance for these, not even the rest of one."""
WORKER_REPLACING_REASONS: frozenset[Reason] = frozenset(
    {
        Reason.DEADLINE,
        Reason.BACKEND_ERROR,
    }
)
"""After damping for these, a fresh worker is started."""
CAUSE_REASONS: dict[CauseKind, Reason] = {
    CauseKind.NONE: Reason.NONE,
    CauseKind.MALFORMED: Reason.STATE_INVALID,
    CauseKind.FOREIGN_SESSION: Reason.CONTRACT,
    CauseKind.SEQUENCE: Reason.STATE_INVALID,
    CauseKind.EARLY: Reason.STATE_INVALID,
    CauseKind.FUTURE: Reason.STATE_STALE,
    CauseKind.OLD: Reason.STATE_STALE,
    CauseKind.FROZEN: Reason.STATE_STALE,
    CauseKind.NOT_FINITE: Reason.STATE_INVALID,
    CauseKind.OUT_OF_RANGE: Reason.STATE_INVALID,
    CauseKind.VELOCITY_OUT_OF_RANGE: Reason.STATE_INVALID,
    CauseKind.MISSING_FIELD: Reason.CONTRACT,
    CauseKind.TILT: Reason.LIMIT,
    CauseKind.START_POSTURE: Reason.LIMIT,
    CauseKind.ORIENTATION_NORM: Reason.STATE_INVALID,
    CauseKind.STREAM_STALE: Reason.STATE_STALE,
    CauseKind.ACTION_NOT_FINITE: Reason.ACTION_INVALID,
    CauseKind.ACTION_SHAPE: Reason.ACTION_INVALID,
    CauseKind.ACTION_REPEATED: Reason.ACTION_INVALID,
    CauseKind.POSITION_LIMIT: Reason.LIMIT,
    CauseKind.SLEW_LIMIT: Reason.LIMIT,
    CauseKind.TORQUE_LIMIT: Reason.LIMIT,
    CauseKind.VELOCITY_LIMIT: Reason.LIMIT,
    CauseKind.ACCELERATION_LIMIT: Reason.LIMIT,
    CauseKind.TORQUE_RATE_LIMIT: Reason.LIMIT,
    CauseKind.BACKEND_ERROR: Reason.BACKEND_ERROR,
}
"""What the guardian gives as its reason."""
CAUSE_TEXTS: dict[CauseKind, str] = {
    CauseKind.NONE: "no cause",
    CauseKind.MALFORMED: "a state message is not as the contract has it",
    CauseKind.FOREIGN_SESSION: "a state is of another session",
    CauseKind.SEQUENCE: "a state's sequence number does not follow the one before[: {number} after {bound}]",
    CauseKind.EARLY: "states follow each other too fast[: {number} apart, at least {bound} is required]",
    CauseKind.FUTURE: "a state is stamped in the future[: {number} ahead, {bound} is allowed]",
    CauseKind.OLD: "a state is too old[: {number}, {bound} is allowed]",
    CauseKind.FROZEN: "a state's sensor values are bit for bit those of the one before",
    CauseKind.NOT_FINITE: "a state holds a value that is not finite[ for joint {joint}]",
    CauseKind.OUT_OF_RANGE: "a joint position is out of range[: {joint}][ at {number}, the limit is {bound}]",
    CauseKind.VELOCITY_OUT_OF_RANGE: "a joint velocity is out of range[: {joint}][ at {number}, the limit is {bound}]",
    CauseKind.MISSING_FIELD: "a state lacks a field that the policy needs",
    CauseKind.TILT: "the body is tilted too far[: {number}, the limit is {bound}]",
    CauseKind.START_POSTURE: "at the start of the session a joint is too far from its default position[: {joint}][ by {number}, {bound} is allowed]",
    CauseKind.ORIENTATION_NORM: "the orientation is not a unit quaternion[: its squared norm is {number}][, the limit is {bound}]",
    CauseKind.STREAM_STALE: "a stream without which the policy must not walk is stale[: its newest frame is {number} old][, {bound} is allowed]",
    CauseKind.ACTION_NOT_FINITE: "the policy's action is not finite[ for joint {joint}]",
    CauseKind.ACTION_SHAPE: "the policy's action has the wrong length[: {number} instead of {bound}]",
    CauseKind.ACTION_REPEATED: "the policy repeats its action although a joint moved[: {joint}][ by {number}, {bound} is allowed]",
    CauseKind.POSITION_LIMIT: "a target exceeds the position limit[: {joint}][ to {number}, the limit is {bound}]",
    CauseKind.SLEW_LIMIT: "a target moves too far in one step[: {joint}][ by {number}, the limit is {bound}]",
    CauseKind.TORQUE_LIMIT: "a target asks for too much torque[: {joint}][ with {number}, the limit is {bound}]",
    CauseKind.VELOCITY_LIMIT: "a target exceeds the velocity limit[: {joint}][ to {number}, the limit is {bound}]",
    CauseKind.ACCELERATION_LIMIT: "a velocity target changes too fast[: {joint}][ by {number}, the limit is {bound}]",
    CauseKind.TORQUE_RATE_LIMIT: "a torque target changes too fast[: {joint}][ by {number}, the limit is {bound}]",
    CauseKind.BACKEND_ERROR: "the inference runtime reported an error",
}
"""Templates for people; see gaitd.wire.causes."""
CAUSE_UNITS: dict[CauseKind, str] = {
    CauseKind.EARLY: "ms",
    CauseKind.FUTURE: "ms",
    CauseKind.OLD: "ms",
    CauseKind.OUT_OF_RANGE: "rad",
    CauseKind.VELOCITY_OUT_OF_RANGE: "rad/s",
    CauseKind.TILT: "rad",
    CauseKind.START_POSTURE: "rad",
    CauseKind.STREAM_STALE: "ms",
    CauseKind.ACTION_REPEATED: "rad",
    CauseKind.POSITION_LIMIT: "rad",
    CauseKind.SLEW_LIMIT: "rad",
    CauseKind.TORQUE_LIMIT: "Nm",
    CauseKind.VELOCITY_LIMIT: "rad/s",
    CauseKind.ACCELERATION_LIMIT: "rad/s²",
    CauseKind.TORQUE_RATE_LIMIT: "Nm/s",
}
"""Of a cause's number and bound; none for the others."""
STATE_FIELDS = (
    "version",
    "type",
    "session",
    "seq",
    "stamp_ns",
    "angular_velocity",
    "orientation",
    "linear_acceleration",
    "linear_velocity",
    "velocity_command",
    "joint_position",
    "joint_velocity",
    "joint_torque",
    "inputs",
)
"""The message's elements in their order."""
RAW_OBSERVATION_FIELDS = (
    "version",
    "type",
    "session",
    "seq",
    "stamp_ns",
    "observation",
    "joint_position",
    "joint_velocity",
)
"""The message's elements in their order."""
COMMAND_FIELDS = (
    "version",
    "type",
    "session",
    "epoch",
    "slot",
    "seq",
    "state_stamp_ns",
    "publish_stamp_ns",
    "mode",
    "reason",
    "cause",
    "cause_joint",
    "cause_values",
    "policy",
    "joint_position",
    "joint_velocity",
    "stiffness",
    "damping",
    "torque",
    "action",
)
"""The message's elements in their order."""
STATE_VALUES: dict[str, int | None] = {
    "angular_velocity": 3,
    "orientation": 4,
    "linear_acceleration": 3,
    "linear_velocity": 3,
    "velocity_command": 3,
    "joint_position": None,
    "joint_velocity": None,
    "joint_torque": None,
}
"""What a controller fills in STATE: arrays of numbers by their length; None: of one number per joint."""
