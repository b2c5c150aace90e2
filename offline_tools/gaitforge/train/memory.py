"""What an environment carries from one step to the next: all that a checkpoint must hold of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass
class Memory:
    """Of n robots with j joints and f feet, which see so many values of the ground."""

    action: Float32Array
    """(n, j) the last ones, as the limits left them."""
    action_before: Float32Array
    target: Float32Array
    """(n, j) in force, in the unit of what the joint follows."""
    position: Float32Array
    """(n, j) rad, as last measured, with the sensors' noise."""
    velocity: Float32Array
    """(n, j) rad/s, likewise."""
    joint_velocity: Float64Array
    """(n, j) rad/s, in truth."""
    command: Float64Array
    """(n, 3) m/s, m/s, rad/s."""
    asked: Float64Array
    """(n, 3) the same as the policy was told it, slower where it is blind."""
    command_left_s: Float64Array
    """(n,) until the command is renewed."""
    push_left_s: Float64Array
    """(n,) until the next push."""
    episode_left_s: Float64Array
    """(n,) until the episode ends by itself."""
    contact: Mask
    """(n, f)"""
    air_s: Float64Array
    """(n, f) since each foot left the floor."""
    frame: Float32Array
    """(n, values) the newest of the stream, where there is one."""
    frame_age_s: Float64Array
    """(n,) since it was captured; infinite before the first."""
    blind: Mask
    """(n,) no frames come."""
    blind_left_s: Float64Array
    """(n,) until that changes."""

    @staticmethod
    def empty(count: int, joints: int, feet: int, frame: int) -> Memory:
        """All zeros; a robot's start fills its own."""
        single, double = np.float32, np.float64
        return Memory(
            action=np.zeros((count, joints), single),
            action_before=np.zeros((count, joints), single),
            target=np.zeros((count, joints), single),
            position=np.zeros((count, joints), single),
            velocity=np.zeros((count, joints), single),
            joint_velocity=np.zeros((count, joints), double),
            command=np.zeros((count, 3), double),
            asked=np.zeros((count, 3), double),
            command_left_s=np.zeros(count, double),
            push_left_s=np.zeros(count, double),
            episode_left_s=np.zeros(count, double),
            contact=np.zeros((count, feet), np.bool_),
            air_s=np.zeros((count, feet), double),
            frame=np.zeros((count, frame), single),
            frame_age_s=np.zeros(count, double),
            blind=np.zeros(count, np.bool_),
            blind_left_s=np.zeros(count, double),
        )

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Every array by its name; they are the memory's own."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
