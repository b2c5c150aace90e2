"""Errors of joint targets, each in the unit of what its joint follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gaitd.policy.action import ActionMapper, Kind
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.manifest import Float32Array, Manifest

UNITS: Mapping[Kind, str] = {"position": "rad", "velocity": "rad/s", "torque": "Nm"}
KEYS: Mapping[Kind, str] = {"position": "error_rad", "velocity": "error_rad_per_s", "torque": "error_nm"}
"""In report.json."""


class JointBound(NamedTuple):
    """What is allowed of the error of each joint's target."""

    rad: float
    """Of a joint that follows a position."""
    share: float
    """Of one that follows a velocity or a torque: as a part of its limit in the manifest."""


class WorstJoint(NamedTuple):
    """The joint whose error is the largest part of what it is allowed."""

    joint: int
    """Its place in the policy's order."""
    error: float
    """In the joint's own unit."""
    allowed: float


@dataclass(frozen=True)
class JointErrors:
    """Errors of targets; by joint in the policy's order, each in its own unit."""

    joints: Sequence[str]
    kinds: Sequence[Kind]
    """What each follows."""
    limit: Float32Array
    """(n,) the largest target that the manifest allows."""
    error: Float32Array
    """(N, n) signed."""

    @classmethod
    def of(cls, manifest: Manifest, reference: Float32Array, actions: Float32Array) -> JointErrors:
        """Compare the targets of raw actions (N, action_dim)."""
        mapper = ActionMapper(manifest)
        target, expected = (mapper.target(mapper.clip(mapper.spread(each))) for each in (actions, reference))
        return cls(manifest.joints, mapper.kinds, TargetBounds.of(manifest, mapper).high, target - expected)

    @property
    def mean(self) -> Float32Array:
        """(n,) mean absolute."""
        mean: Float32Array = np.abs(self.error).mean(axis=0)
        return mean

    @property
    def bias(self) -> Float32Array:
        """(n,) mean signed."""
        bias: Float32Array = self.error.mean(axis=0)
        return bias

    @property
    def largest(self) -> Float32Array:
        """(n,) largest absolute."""
        largest: Float32Array = np.abs(self.error).max(axis=0)
        return largest

    @property
    def units(self) -> list[str]:
        """(n,)"""
        return [UNITS[kind] for kind in self.kinds]

    def worst(self, errors: Float32Array, bound: JointBound) -> WorstJoint:
        """The worst of errors (n,), which are ``mean`` or ``largest``."""
        follows_position = np.array([kind == "position" for kind in self.kinds])
        allowed = np.where(follows_position, bound.rad, bound.share * self.limit)
        beyond_any = np.where(errors > 0, np.inf, 0.0)  # of a bound of 0
        part = np.divide(errors, allowed, out=beyond_any, where=allowed > 0)
        index = int(part.argmax())
        return WorstJoint(index, float(errors[index]), float(allowed[index]))

    def worst_row(self, joint: int) -> int:
        """The row with this joint's largest error."""
        return int(np.abs(self.error[:, joint]).argmax())

    def as_json(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean, bias and largest error of each joint, below the key of its unit."""
        mean, bias, largest = (each.tolist() for each in (self.mean, self.bias, self.largest))
        found: dict[str, dict[str, dict[str, float]]] = {}
        for index, (joint, kind) in enumerate(zip(self.joints, self.kinds, strict=True)):
            numbers = {"mean": mean[index], "bias": bias[index], "max": largest[index]}
            found.setdefault(KEYS[kind], {})[joint] = numbers
        return found
