"""What holds a wheel in DAMPING: dry friction, which damping is not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.joints import positive_joint_array, some_joints_array
from gaitd.policy.manifest import Float32Array, Manifest


class Brakes(NamedTuple):
    """(n,) each, policy's order; 0 for a joint without a brake.

    In DAMPING such a joint follows a position: the one it had last, dragged along wherever it is further from
    the joint than ``slip`` = max_torque / stiffness. So the spring never pulls with more than ``max_torque``.
    """

    stiffness: Float32Array
    """Nm/rad"""
    max_torque: Float32Array
    """Nm"""

    @property
    def slip(self) -> Float32Array:
        """(n,) rad."""
        return np.divide(
            self.max_torque, self.stiffness, out=np.zeros_like(self.stiffness), where=self.stiffness > 0
        )

    def hold(self, held: Float32Array, measured: Float32Array) -> Float32Array:
        """Where the joints are to be held (n,) rad, after ``held``, when they are at ``measured``."""
        slip = self.slip
        return np.clip(held, measured - slip, measured + slip)


def brakes(manifest: Manifest) -> Brakes:
    """Those of the continuous joints. Raises InputError."""
    joints, names = manifest.joints, manifest.continuous_joints
    zeros = np.zeros(len(joints), np.float32)
    if manifest.brake is None:
        if names:
            raise InputError(
                f"brake: missing, but joint {names[0]!r} is continuous: damping alone lets it roll on a slope"
            )
        return Brakes(zeros, zeros)
    if not names:
        raise InputError("brake: this policy has no continuous_joints; leave it out")
    found = []
    for key in ("stiffness_nm_per_rad", "max_nm"):
        values = getattr(manifest.brake, key)
        positive_joint_array(values, names, f"brake.{key}")
        found.append(some_joints_array(values, names, joints, f"brake.{key}", 0.0))
    return Brakes(*found)
