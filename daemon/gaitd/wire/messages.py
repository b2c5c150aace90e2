"""The messages of the wire contract (proto/README.md) as Python values.

Not frozen: a frozen dataclass takes three times as long to make, and one is made every control step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.wire.causes import Cause
from gaitd.wire.generated import Mode, Reason

Float32Array = npt.NDArray[np.float32]


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
    inputs: tuple[Float32Array, ...] = ()
    """The named inputs of hello's reply, in that order."""


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
    epoch: int
    """Which worker has the joints; never goes back while gaitd runs."""
    slot: int
    """The worker's slot, or GUARD_SLOT."""
    seq: int
    """Sequence number of the state that this answers; 0 when it answers none."""
    state_stamp_ns: int
    """That state's own stamp; 0 when it answers none."""
    publish_stamp_ns: int
    mode: Mode
    reason: Reason
    cause: Cause
    """What is behind the reason, its joint in the controller's order; NO_CAUSE unless the guardian damps."""
    policy: int
    """Index into the policies of hello's reply."""
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
    """(action_dim,) the policy's raw action, in the policy's order."""
