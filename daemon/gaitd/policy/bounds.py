"""How far a manifest's limits let each joint's target go, whatever it follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.fade import Gains
from gaitd.policy.joints import default_position, order_from, positive_joint_array, some_joints_array
from gaitd.policy.manifest import Float32Array, JointValues, Manifest

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TorqueLines:
    """Where torque meets its limit: torque = gain * (target - centre), |target - centre| <= reach.

    centre = position_share * q + velocity_share * dq, of the measured joint; (n,) each, or shares for all.
    """

    reach: Float32Array
    """In the unit of the target; infinite without a limit."""
    position_share: Float32Array | None
    """None: 1 for every joint."""
    velocity_share: Float32Array

    def centre(self, position: Float32Array, velocity: Float32Array) -> Float32Array:
        """The targets (..., n) at which the motors apply no torque at this position and velocity."""
        if self.position_share is None:
            centre: Float32Array = position + self.velocity_share * velocity
            return centre
        mixed: Float32Array = self.position_share * position + self.velocity_share * velocity
        return mixed


@dataclass(frozen=True, slots=True)
class TargetBounds:
    """Of the targets, (n,) each, in the unit of what the joint follows: rad, rad/s or Nm."""

    low: Float32Array
    high: Float32Array
    slew: Float32Array
    """In a control step, from the last target; infinite without a limit."""
    torque: TorqueLines

    @classmethod
    def of(cls, manifest: Manifest, mapper: ActionMapper) -> TargetBounds:
        """Raises InputError when the manifest's limits contradict themselves."""
        limits, period_s = manifest.limits, np.float32(manifest.control_period_s)
        low, high = position_range(manifest)
        slew = np.full(len(manifest.joints), np.inf, np.float32)
        moved = set(manifest.moved_joints)
        joints_of = {
            kind: [
                name
                for name, each in zip(manifest.joints, mapper.kinds, strict=True)
                if each == kind and name in moved
            ]
            for kind in ("position", "velocity", "torque")
        }

        def put(into: Float32Array, values: JointValues, kind: str, key: str, factor: np.float32) -> None:
            names = joints_of[kind]
            if not names:
                raise InputError(f"limits.{key}: no joint of this policy follows a {kind}")
            into[order_from(manifest.joints, names)] = factor * positive_joint_array(
                values, names, f"limits.{key}"
            )

        one = np.float32(1)
        if limits.slew is not None:
            put(slew, limits.slew.max_rad_per_step, "position", "slew.max_rad_per_step", one)
        if limits.velocity is not None:
            fastest = limits.velocity.max_rad_per_s
            put(high, fastest, "velocity", "velocity.max_rad_per_s", one)
            put(low, fastest, "velocity", "velocity.max_rad_per_s", -one)
        elif joints_of["velocity"]:
            raise InputError(
                f"limits.velocity: missing, but joint {joints_of['velocity'][0]!r} follows a velocity"
            )
        if limits.acceleration is not None:
            key = "acceleration.max_rad_per_s2"
            put(slew, limits.acceleration.max_rad_per_s2, "velocity", key, period_s)
        if limits.torque_rate is not None:
            put(slew, limits.torque_rate.max_nm_per_s, "torque", "torque_rate.max_nm_per_s", period_s)
        torque = torque_limit(manifest)
        if torque is None and joints_of["torque"]:
            raise InputError(f"limits.torque: missing, but joint {joints_of['torque'][0]!r} follows a torque")
        if torque is not None:
            of_torque = mapper.follow("torque")
            high[of_torque], low[of_torque] = torque[of_torque], -torque[of_torque]
        gains = Gains(mapper.stiffness, mapper.damping)
        if torque is not None and (mapper.stiffness[mapper.follow("position")] <= 0).any():
            raise InputError("limits.torque: a torque limit needs action.stiffness_nm_per_rad above 0")
        return cls(low, high, slew, torque_lines(mapper, torque, gains))


def torque_limit(manifest: Manifest) -> Float32Array | None:
    """(n,) Nm; infinite for a joint that is held. None without a limit. Raises InputError."""
    limit = manifest.limits.torque
    if limit is None:
        return None
    positive_joint_array(limit.max_nm, manifest.moved_joints, "limits.torque.max_nm")
    return some_joints_array(
        limit.max_nm, manifest.moved_joints, manifest.joints, "limits.torque.max_nm", np.inf
    )


def torque_lines(mapper: ActionMapper, torque: Float32Array | None, gains: Gains) -> TorqueLines:
    """The lines of joints with these gains under that limit (n,) Nm."""
    nothing = np.zeros_like(gains.stiffness)
    if torque is None:
        return TorqueLines(np.full_like(gains.stiffness, np.inf), None, nothing)
    position, velocity = mapper.follow("position"), mapper.follow("velocity")
    if position.all():
        return TorqueLines(torque / gains.stiffness, None, gains.damping / gains.stiffness)
    gain: Float32Array = np.where(
        position, gains.stiffness, np.where(velocity, gains.damping, np.float32(1))
    ).astype(np.float32)
    against = np.where(velocity, np.float32(1), gains.damping / gain).astype(np.float32)
    return TorqueLines(torque / gain, position.astype(np.float32), against)


def position_range(manifest: Manifest) -> tuple[Float32Array, Float32Array]:
    """The allowed range of the joint positions, (n,) rad each; infinite for a continuous joint.

    Raises InputError.
    """
    limit, joints = manifest.limits.position, manifest.joints
    bounded = manifest.bounded_joints
    low = some_joints_array(limit.min_rad, bounded, joints, "limits.position.min_rad", -np.inf)
    high = some_joints_array(limit.max_rad, bounded, joints, "limits.position.max_rad", np.inf)
    for joint, least, most, rest in zip(joints, low, high, default_position(manifest), strict=True):
        if not least < most:
            raise InputError(f"limits.position: joint {joint!r} has min {least} and max {most} rad")
        if not least <= rest <= most:
            raise InputError(
                f"default_joint_position_rad: joint {joint!r} is {rest} rad, outside limits.position "
                f"{least}..{most}"
            )
    return low, high


def bounded_mask(manifest: Manifest) -> Mask:
    """(n,) which joints are not continuous."""
    return np.array([name not in manifest.continuous_joints for name in manifest.joints], np.bool_)
