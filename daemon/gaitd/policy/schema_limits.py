"""A manifest's limits on commands and states."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from gaitd.policy.schema import SINCE_2, JointValues, Strict

Response: TypeAlias = Literal["clamp", "damp"]


class PositionLimit(Strict, frozen=True, kw_only=True):
    """Range of the joint position target."""

    min_rad: JointValues
    """Lower end."""
    max_rad: JointValues
    """Upper end."""
    response: Response = "clamp"
    """clamp: hold the target at the limit. damp: reject the action, and go to damping."""


class SlewLimit(Strict, frozen=True, kw_only=True):
    """Largest change of the joint position target in one control step."""

    max_rad_per_step: JointValues
    """From the last target."""
    response: Response = "clamp"
    """As of the position."""


class VelocityLimit(Strict, frozen=True, kw_only=True):
    """Range of the joint velocity target; every policy with such targets has it."""

    max_rad_per_s: JointValues
    """Either way."""
    response: Response = "clamp"
    """As of the position."""


class AccelerationLimit(Strict, frozen=True, kw_only=True):
    """How fast the joint velocity target may change."""

    max_rad_per_s2: JointValues
    """Either way."""
    response: Response = "clamp"
    """As of the position."""


class TorqueRateLimit(Strict, frozen=True, kw_only=True):
    """How fast the joint torque target may change."""

    max_nm_per_s: JointValues
    """Either way."""
    response: Response = "clamp"
    """As of the position."""


class TorqueLimit(Strict, frozen=True, kw_only=True):
    """Bound of the torque that the motor would apply at the measured position and velocity.

    Every policy with joint torque targets has it.
    """

    max_nm: JointValues
    """Either way."""
    response: Response = "clamp"
    """As of the position."""


class StateLimit(Strict, frozen=True, kw_only=True):
    """What a measured state may hold; beyond it the state is refused."""

    position_margin_rad: float = 0.2
    """Allowed beyond the joint position limit."""
    max_velocity_rad_per_s: JointValues
    """Of a joint, either way."""


class PostureLimit(Strict, frozen=True, kw_only=True):
    """How the robot may be held while the policy moves it; a state beyond it is refused."""

    max_tilt_rad: float
    """Between the base's and the world's vertical: more, and it has fallen. Not seen in a raw observation."""
    max_start_error_rad: JointValues
    """Of each joint from its default position, in the first state of a session: more, and it would jerk."""


class RepetitionLimit(Strict, frozen=True, kw_only=True):
    """The same action again, bit for bit, although a joint has moved: the model no longer looks at its input.

    Such an action is refused. Leave it out for a policy that is meant to be constant.
    """

    max_joint_motion_rad: float = 0.1
    """How far a joint may move under one and the same action, if it is not continuous."""
    max_turn_rad: Annotated[float | None, SINCE_2] = None
    """The same of a continuous joint: a wheel that turns further although nothing new is asked of it. Without
    it wheels are not watched: leave it out for an action that does not depend on what the robot senses."""


class Limits(Strict, frozen=True, kw_only=True):
    """The guard's limits on commands and states. A limit that is absent is not checked."""

    position: PositionLimit
    """Of the targets."""
    slew: SlewLimit | None = None
    """Of the targets."""
    torque: TorqueLimit | None = None
    """Of the targets."""
    velocity: Annotated[VelocityLimit | None, SINCE_2] = None
    """Of the targets of velocity."""
    acceleration: Annotated[AccelerationLimit | None, SINCE_2] = None
    """Of the targets of velocity."""
    torque_rate: Annotated[TorqueRateLimit | None, SINCE_2] = None
    """Of the targets of torque."""
    state: StateLimit | None = None
    """Of the states."""
    posture: PostureLimit | None = None
    """Of the states."""
    repetition: RepetitionLimit | None = None
    """Of the actions."""
