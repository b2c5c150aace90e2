"""Raw action to joint position targets."""

from __future__ import annotations

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.joints import gain_array, joint_array
from gaitd.policy.manifest import Float32Array, Manifest


class ActionMapper:
    """target = target_clip(clip(action) * scale + offset), in the policy's joint order."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises InputError when the manifest's action section contradicts itself."""
        joints, action = manifest.joints, manifest.action
        if action.clip is not None and not action.clip[0] < action.clip[1]:
            raise InputError(f"action.clip: expected min < max, got {list(action.clip)}")
        offset = (
            manifest.default_joint_position_rad
            if action.offset == "default_joint_position"
            else action.offset
        )
        assert not isinstance(offset, str)
        self._scale = joint_array(action.scale, joints, "action.scale")
        self._offset = joint_array(offset, joints, "action.offset")
        self._per_rad = np.divide(1, self._scale, out=np.zeros_like(self._scale), where=self._scale != 0)
        self._clip = action.clip
        self._target_clip: tuple[Float32Array, Float32Array] | None = None
        if action.target_clip is not None:
            low = joint_array(action.target_clip.min_rad, joints, "action.target_clip.min_rad")
            high = joint_array(action.target_clip.max_rad, joints, "action.target_clip.max_rad")
            for joint, least, most in zip(joints, low, high, strict=True):
                if not least < most:
                    raise InputError(f"action.target_clip: joint {joint!r} has min {least}, max {most} rad")
            self._target_clip = low, high
        self.stiffness = gain_array(
            action.stiffness_nm_per_rad,
            joints,
            "action.stiffness_nm_per_rad",
            action.allow_zero_stiffness,
            "action.allow_zero_stiffness",
        )
        """(n,) Nm/rad."""
        self.damping = gain_array(
            action.damping_nms_per_rad,
            joints,
            "action.damping_nms_per_rad",
            action.allow_zero_damping,
            "action.allow_zero_damping",
        )
        """(n,) Nm s/rad."""

    def clip(self, action: Float32Array) -> Float32Array:
        """The raw action (n,) inside the policy's own clip: a copy."""
        clipped: Float32Array = (
            action.copy()
            if self._clip is None
            else np.minimum(np.maximum(action, self._clip[0]), self._clip[1])
        )
        return clipped

    def target(self, action: Float32Array) -> Float32Array:
        """Joint position targets (n,) rad for a clipped raw action (n,)."""
        target: Float32Array = action * self._scale + self._offset
        return target if self._target_clip is None else np.clip(target, *self._target_clip)

    def action(self, target: Float32Array) -> Float32Array:
        """The raw action (n,) that asks for these targets (n,) rad; 0 for a joint that no action moves."""
        action: Float32Array = (target - self._offset) * self._per_rad
        return action
