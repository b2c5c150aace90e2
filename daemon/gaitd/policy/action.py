"""Raw action to what each joint follows: a position, a velocity, or a torque."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.joints import (
    check_known_joints,
    default_position,
    gain_array,
    joint_array,
    order_from,
    positive_joint_array,
)
from gaitd.policy.manifest import (
    Action,
    ActionGroup,
    Float32Array,
    JointValues,
    Manifest,
    TorqueAction,
    VelocityAction,
)

Kind: TypeAlias = Literal["position", "velocity", "torque"]
"""What a joint follows; its target is in rad, rad/s or Nm."""


class MotorTargets(NamedTuple):
    """What the motors are told of a target, (n,) each; 0 where a joint does not follow it."""

    position: Float32Array
    """rad"""
    velocity: Float32Array
    """rad/s"""
    torque: Float32Array
    """Nm"""


class ActionMapper:
    """target = target_clip(clip(action) * scale + offset), joint by joint, in the policy's joint order.

    Arrays are of all n joints, an action too: of joints that are held it has 0, and their target is their
    default position.
    """

    def __init__(self, manifest: Manifest) -> None:
        """Raises InputError when the manifest's action section contradicts itself."""
        count = len(manifest.joints)
        default = default_position(manifest)
        self.scale = np.zeros(count, np.float32)
        """(n,) Of the target, for each unit of the raw action; 0 for a joint that is held."""
        self.offset = default.copy()
        """(n,) The target of an action of 0."""
        self.stiffness = np.zeros(count, np.float32)
        """(n,) Nm/rad."""
        self.damping = np.zeros(count, np.float32)
        """(n,) Nm s/rad."""
        self.kinds: tuple[Kind, ...] = tuple(["position"] * count)
        """(n,) What each joint follows."""
        self.action_range = Range.without_end(count)
        """Of the raw action: the policy's own clip."""
        self.target_range = Range.without_end(count)
        """Of the target, before a low pass."""
        self.share = np.ones(count, np.float32)
        """(n,) of the low pass; 1 without one."""
        self._moved: npt.NDArray[np.intp] | None = None
        """Places of the joints that the policy moves; None: all."""
        if manifest.held_joints is not None:
            self._hold(manifest)
        if isinstance(manifest.action, Action):
            self._take(manifest.action, "action", manifest.moved_joints, manifest)
        else:
            self._take_groups(manifest.action, manifest)
        self._per_unit = np.divide(1, self.scale, out=np.zeros_like(self.scale), where=self.scale != 0)
        self.action_dim = count if self._moved is None else len(self._moved)
        """Length of the model's action."""
        self.has_low_pass = bool((self.share != 1).any())
        self._zeros = np.zeros(count, np.float32)
        self._masks = {kind: self.follow(kind) for kind in ("position", "velocity", "torque")}
        self.only_positions = bool(self._masks["position"].all())
        """Every joint follows a position."""

    def follow(self, kind: Kind) -> npt.NDArray[np.bool_]:
        """(n,) whether a joint follows that."""
        return np.array([each == kind for each in self.kinds], np.bool_)

    def spread(self, action: Float32Array) -> Float32Array:
        """The model's action (..., action_dim) joint by joint (..., n); 0 for joints that are held."""
        if self._moved is None:
            return action
        spread = np.zeros((*action.shape[:-1], len(self.scale)), np.float32)
        spread[..., self._moved] = action
        return spread

    def clip(self, action: Float32Array) -> Float32Array:
        """The raw action (n,) inside the policy's own clip: a copy."""
        return self.action_range.of(action) if self.action_range.ends else action.copy()

    def target(self, action: Float32Array) -> Float32Array:
        """What the joints follow (n,) for a clipped raw action (n,), before a low pass."""
        target: Float32Array = action * self.scale + self.offset
        return self.target_range.of(target) if self.target_range.ends else target

    def action(self, target: Float32Array) -> Float32Array:
        """The raw action (n,) that asks for these targets (n,); 0 for a joint that no action moves."""
        action: Float32Array = (target - self.offset) * self._per_unit
        return action

    def motor_targets(self, target: Float32Array) -> MotorTargets:
        """What the motors are told of targets (n,)."""
        zeros = self._zeros
        if self.only_positions:
            return MotorTargets(target, zeros, zeros)
        return MotorTargets(*(np.where(mask, target, zeros) for mask in self._masks.values()))

    def _hold(self, manifest: Manifest) -> None:
        held = manifest.held_joints
        assert held is not None
        where = "held_joints"
        check_known_joints(manifest.bounded_joints, held.joints, f"{where}.joints")
        if not manifest.moved_joints:
            raise InputError(f"{where}.joints: all joints are held; the policy moves none")
        place = order_from(manifest.joints, held.joints)
        for gains, key in ((self.stiffness, "stiffness_nm_per_rad"), (self.damping, "damping_nms_per_rad")):
            gains[place] = positive_joint_array(getattr(held, key), held.joints, f"{where}.{key}")
        self._moved = order_from(manifest.joints, manifest.moved_joints)

    def _take_groups(self, groups: list[ActionGroup], manifest: Manifest) -> None:
        taken: list[str] = []
        for index, group in enumerate(groups):
            where = f"action[{index}]"
            check_known_joints(manifest.moved_joints, group.joints, f"{where}.joints")
            for joint in group.joints:
                if joint in taken:
                    raise InputError(f"{where}.joints: joint {joint!r} is in a group before it already")
            taken += group.joints
            self._take(group, where, group.joints, manifest)
        for joint in manifest.moved_joints:
            if joint not in taken:
                raise InputError(f"action: joint {joint!r} is in no group; name it in one, or in held_joints")

    def _take(self, group: Action | ActionGroup, where: str, joints: list[str], manifest: Manifest) -> None:
        """Compile the action of some joints."""
        place = order_from(manifest.joints, joints)
        kind = _kind(group)
        if kind == "position":
            for joint in joints:
                if joint in manifest.continuous_joints:
                    raise InputError(
                        f"{where}: joint {joint!r} is continuous and cannot follow a position: give it "
                        "a group with the target velocity or torque"
                    )
        self.kinds = tuple(
            kind if name in set(joints) else before
            for name, before in zip(manifest.joints, self.kinds, strict=True)
        )
        if group.clip is not None:
            if not group.clip[0] < group.clip[1]:
                raise InputError(f"{where}.clip: expected min < max, got {list(group.clip)}")
            self.action_range.set(place, *group.clip)
        offset = group.offset
        if isinstance(offset, str):
            self.offset[place] = default_position(manifest)[place]
        else:
            self.offset[place] = joint_array(offset, joints, f"{where}.offset")
        self.scale[place] = joint_array(group.scale, joints, f"{where}.scale")
        if group.target_clip is not None:
            self.target_range.set(place, *_target_clip(group, where, joints))
        stiffness, damping = _gains(group, where, joints)
        self.stiffness[place], self.damping[place] = stiffness, damping
        low_pass = None if type(group) is Action else getattr(group, "low_pass", None)
        if low_pass is not None:
            share = positive_joint_array(low_pass.share, joints, f"{where}.low_pass.share")
            if (share > 1).any():
                joint = joints[int(np.argmax(share))]
                raise InputError(
                    f"{where}.low_pass.share: joint {joint!r} is {share.max()}, expected at most 1"
                )
            self.share[place] = share


class Range:
    """Lowest and highest (n,) of values."""

    def __init__(self, low: Float32Array, high: Float32Array) -> None:
        self.low, self.high = low, high
        """(n,) each."""
        self.ends = False
        """Something is outside."""

    @classmethod
    def without_end(cls, count: int) -> Range:
        """Nothing is outside."""
        return cls(np.full(count, -np.inf, np.float32), np.full(count, np.inf, np.float32))

    def set(self, place: npt.NDArray[np.intp], low: float | Float32Array, high: float | Float32Array) -> None:
        """From now on values at these places have these ends."""
        self.low[place], self.high[place] = low, high
        self.ends = True

    def of(self, values: Float32Array) -> Float32Array:
        """The values (n,), moved inside: a copy."""
        inside: Float32Array = np.minimum(np.maximum(values, self.low), self.high)
        return inside


def _kind(group: Action | ActionGroup) -> Kind:
    if isinstance(group, VelocityAction):
        return "velocity"
    return "torque" if isinstance(group, TorqueAction) else "position"


def _target_clip(
    group: Action | ActionGroup, where: str, joints: list[str]
) -> tuple[Float32Array, Float32Array]:
    assert group.target_clip is not None
    low_key, high_key = group.target_clip.__struct_fields__
    values: list[JointValues] = [getattr(group.target_clip, key) for key in (low_key, high_key)]
    low = joint_array(values[0], joints, f"{where}.target_clip.{low_key}")
    high = joint_array(values[1], joints, f"{where}.target_clip.{high_key}")
    unit = low_key.removeprefix("min_").replace("_per_", "/")
    for joint, least, most in zip(joints, low, high, strict=True):
        if not least < most:
            raise InputError(f"{where}.target_clip: joint {joint!r} has min {least}, max {most} {unit}")
    return low, high


def _gains(
    group: Action | ActionGroup, where: str, joints: list[str]
) -> tuple[Float32Array | float, Float32Array]:
    key = f"{where}.damping_nms_per_rad"
    if isinstance(group, VelocityAction):
        return 0.0, positive_joint_array(group.damping_nms_per_rad, joints, key)
    if isinstance(group, TorqueAction):
        return 0.0, gain_array(group.damping_nms_per_rad, joints, key, joints, key)
    stiffness = gain_array(
        group.stiffness_nm_per_rad,
        joints,
        f"{where}.stiffness_nm_per_rad",
        group.allow_zero_stiffness,
        f"{where}.allow_zero_stiffness",
    )
    damping = gain_array(
        group.damping_nms_per_rad, joints, key, group.allow_zero_damping, f"{where}.allow_zero_damping"
    )
    return stiffness, damping
