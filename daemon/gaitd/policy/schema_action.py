"""What a policy's action does to the joints: targets by joint group, held joints, brakes."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gaitd.policy.schema import JointValues, Strict


class TargetClip(Strict, frozen=True, kw_only=True):
    """The trainer's own range of the joint position target. The raw action stays the feedback."""

    min_rad: JointValues
    """Lower end."""
    max_rad: JointValues
    """Upper end."""


class Action(Strict, frozen=True, kw_only=True):
    """joint position target = clip(raw action) * scale + offset, then target_clip, as PD motors follow it."""

    scale: JointValues
    """rad for each unit of the raw action."""
    offset: JointValues | Literal["default_joint_position"] = "default_joint_position"
    """rad; the target of an action of 0."""
    clip: tuple[float, float] | None = None
    """Of the raw action, before scaling. The clipped action is the feedback."""
    target_clip: TargetClip | None = None
    stiffness_nm_per_rad: JointValues
    """Of the motors while the policy moves them."""
    damping_nms_per_rad: JointValues
    """Likewise."""
    allow_zero_stiffness: list[str] = []
    """Joints whose stiffness is 0 on purpose; of any other joint it must be above 0."""
    allow_zero_damping: list[str] = []
    """The same of the damping."""


class LowPass(Strict, frozen=True, kw_only=True):
    """target = last target + share * (target - last target), before the limits."""

    share: JointValues
    """Of the way from the last target that was sent: above 0, and 1 at most."""


class PositionAction(Action, frozen=True, kw_only=True, tag_field="target", tag="position"):
    """As the section `action` of all joints has it, of some of them."""

    joints: list[str]
    """Those that it moves; lists of values are in this order."""
    low_pass: LowPass | None = None


class VelocityClip(Strict, frozen=True, kw_only=True):
    """The trainer's own range of the joint velocity target."""

    min_rad_per_s: JointValues
    """Lower end."""
    max_rad_per_s: JointValues
    """Upper end."""


class VelocityAction(Strict, frozen=True, kw_only=True, tag_field="target", tag="velocity"):
    """joint velocity target = clip(raw action) * scale + offset, then target_clip. Wheels."""

    joints: list[str]
    """Those that it moves; lists of values are in this order."""
    scale: JointValues
    """rad/s for each unit of the raw action."""
    offset: JointValues = 0.0
    """rad/s; the target of an action of 0."""
    clip: tuple[float, float] | None = None
    """Of the raw action, before scaling. The clipped action is the feedback."""
    target_clip: VelocityClip | None = None
    low_pass: LowPass | None = None
    damping_nms_per_rad: JointValues
    """Torque for each rad/s that is missing; above 0."""


class TorqueClip(Strict, frozen=True, kw_only=True):
    """The trainer's own range of the joint torque."""

    min_nm: JointValues
    """Lower end."""
    max_nm: JointValues
    """Upper end."""


class TorqueAction(Strict, frozen=True, kw_only=True, tag_field="target", tag="torque"):
    """joint torque = clip(raw action) * scale + offset, then target_clip."""

    joints: list[str]
    """Those that it moves; lists of values are in this order."""
    scale: JointValues
    """Nm for each unit of the raw action."""
    offset: JointValues = 0.0
    """Nm; the target of an action of 0."""
    clip: tuple[float, float] | None = None
    """Of the raw action, before scaling. The clipped action is the feedback."""
    target_clip: TorqueClip | None = None
    low_pass: LowPass | None = None
    damping_nms_per_rad: JointValues = 0.0
    """Beside the torque, against the joint's motion."""


ActionGroup: TypeAlias = PositionAction | VelocityAction | TorqueAction


class HeldJoints(Strict, frozen=True, kw_only=True):
    """Joints that the policy does not move: they are held in their default position."""

    joints: list[str]
    """Of the manifest's `joints`; lists of values are in this order."""
    stiffness_nm_per_rad: JointValues
    """Above 0."""
    damping_nms_per_rad: JointValues
    """Above 0."""


class Brake(Strict, frozen=True, kw_only=True):
    """In DAMPING a continuous joint is held where it stands, and slips beyond `max_nm`, like dry friction.

    Damping alone does not stop a wheel on a slope: it rolls on, at the speed that balances the slope.
    """

    stiffness_nm_per_rad: JointValues
    """Of the continuous joints, above 0."""
    max_nm: JointValues
    """Torque beyond which it slips; above 0."""
