"""The messages of the wire contract (proto/README.md) as Python values.

Not frozen: a frozen dataclass takes three times as long to make, and one is made every control step.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

MAX_JOINTS = 64
"""Most joints that a message may speak of."""

PROTOCOL_VERSION = 1
"""First element of every message. A peer that speaks another version is refused."""


class MessageType(enum.IntEnum):
    """Second element of every message."""

    STATE = 1
    RAW_OBSERVATION = 2
    COMMAND = 3
    REQUEST = 4
    REPLY = 5


class Mode(enum.IntEnum):
    """What the joints are to do."""

    IDLE = 0
    """No session: nothing is asked of the joints."""
    ACTIVE = 1
    """The policy moves the joints."""
    DAMPING = 2
    """Latched: stiffness 0 and the robot's damping, until an explicit activate."""


class Reason(enum.IntEnum):
    """Why the mode is what it is, or why a message was refused."""

    NONE = 0
    DEADLINE = 1
    """No answer in time: the worker is late, hangs or is stopped."""
    WORKER_DIED = 2
    STATE_LOST = 3
    """No state message of the session arrives."""
    STATE_STALE = 4
    """States arrive, but their stamps are too old or in the future, or their content is frozen."""
    STATE_INVALID = 5
    """States arrive, but they are malformed, not finite, out of range or out of sequence."""
    ACTION_INVALID = 6
    """The policy's action is not finite or has the wrong shape."""
    LIMIT = 7
    """A command exceeded a limit whose response is to damp."""
    BACKEND_ERROR = 8
    """The inference runtime reported an error."""
    CONTRACT = 9
    """The peers do not agree: joints, fields, version or session."""
    OPERATOR = 10
    """A person asked for damping."""
    CLIENT_DEADLINE = 11
    """The controller's own timer ran out: no valid command reached it in time."""
    SHUTDOWN = 12
    """gaitd is stopping."""

    @classmethod
    def received(cls, number: int) -> Reason:
        """The reason with that number; one that a later gaitd added is called by its number."""
        try:
            return cls(number)
        except ValueError:
            unknown = int.__new__(cls, number)
            unknown._name_, unknown._value_ = f"REASON_{number}", number
            return unknown


@dataclass(slots=True, eq=False)
class RobotState:
    """One sample of the robot, in the controller's joint order; n is the number of joints."""

    session: int
    """The session that this state belongs to; 0 before activate."""
    seq: int
    """Counts up by one a state, from 1 in each session."""
    stamp_ns: int
    """CLOCK_MONOTONIC when the state was sampled."""
    angular_velocity: Float32Array
    """(3,) rad/s, base frame."""
    orientation: Float32Array
    """(4,) unit quaternion w, x, y, z: base frame to world frame."""
    linear_acceleration: Float32Array
    """(3,) m/s^2, base frame, as the accelerometer gives it (gravity included)."""
    linear_velocity: Float32Array | None
    """(3,) m/s, base frame, where the controller estimates it."""
    velocity_command: Float32Array
    """(3,) forward, left, turn left, in the unit of the policy's contract."""
    joint_position: Float32Array
    """(n,) rad."""
    joint_velocity: Float32Array
    """(n,) rad/s."""
    joint_torque: Float32Array
    """(n,) Nm."""


@dataclass(slots=True, eq=False)
class RawObservation:
    """A ready-made observation from a controller that builds it itself."""

    session: int
    seq: int
    stamp_ns: int
    observation: Float32Array
    """(observation_dim,) before normalization, history included."""
    joint_position: Float32Array
    """(n,) rad: the guard needs it."""
    joint_velocity: Float32Array
    """(n,) rad/s: the guard needs it."""


@dataclass(slots=True, eq=False)
class JointCommand:
    """What the motors are to do, in the controller's joint order.

    The motor's torque is stiffness * (joint_position - q) + damping * (joint_velocity - dq) + torque.
    """

    session: int
    seq: int
    """Sequence number of the state that this answers; 0 when it answers none."""
    state_stamp_ns: int
    """That state's own stamp; 0 when it answers none."""
    publish_stamp_ns: int
    mode: Mode
    reason: Reason
    policy_id: str
    """First 16 hex digits of the bundle's digest; empty without one."""
    joint_position: Float32Array
    """(n,) rad."""
    joint_velocity: Float32Array
    """(n,) rad/s."""
    stiffness: Float32Array
    """(n,) Nm/rad."""
    damping: Float32Array
    """(n,) Nm s/rad."""
    torque: Float32Array
    """(n,) Nm, feed-forward."""
    action: Float32Array
    """(n,) the policy's raw action, in the policy's joint order."""
