"""What a run was: the robot's motion sampled every few milliseconds, kept for judging and for pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitforge.simulate.robot import Robot

Float64Array = npt.NDArray[np.float64]

SAMPLE_TICKS = 4
"""Milliseconds between samples."""


@dataclass(frozen=True)
class Motion:
    """N poses, of which pictures are drawn; joints in the order of the body's."""

    time_s: Float64Array
    """(N,) simulated time."""
    handover_s: Float64Array
    """() when the robot stood and the command script began; NaN when it never stood."""
    base_position: Float64Array
    """(N, 3) m, world frame."""
    base_orientation: Float64Array
    """(N, 4) quaternion w, x, y, z, base to world."""
    ground_m: Float64Array
    """(N,) height of the ground below the base, world frame."""
    joint_position: Float64Array
    """(N, n) rad."""


@dataclass(frozen=True)
class Trace(Motion):
    """N samples of a run."""

    base_velocity: Float64Array
    """(N, 3) m/s, world frame."""
    base_angular_velocity: Float64Array
    """(N, 3) rad/s, base frame."""
    joint_velocity: Float64Array
    """(N, n) rad/s."""
    joint_torque: Float64Array
    """(N, n) Nm."""
    joint_target: Float64Array
    """(N, n) rad, as commanded."""
    velocity_target: Float64Array
    """(N, n) rad/s, as commanded."""
    stiffness: Float64Array
    """(N, n) Nm/rad, as commanded."""
    velocity_command: Float64Array
    """(N, 3) forward, left, turn left, in the policy's unit."""
    rolls: npt.NDArray[np.bool_]
    """(n,) of the wheels, which turn without end."""

    def save(self, path: Path) -> None:
        """Write every array to an .npz file under its field's name."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(path, **arrays)

    @staticmethod
    def load(path: Path) -> Trace:
        """Read what save wrote."""
        with np.load(path) as arrays:
            return Trace(**{field.name: arrays[field.name] for field in fields(Trace)})

    def between(self, start_ns: int, from_ns: int, until_ns: int) -> Trace:
        """The part between two moments, as a run of its own. ``start_ns``: the simulated time's zero."""
        times_ns = start_ns + self.time_s * 1e9
        part = (times_ns >= from_ns) & (times_ns <= until_ns)
        sampled = [each.name for each in fields(self) if each.name not in ("handover_s", "rolls")]
        cut = {name: getattr(self, name)[part] for name in sampled}
        return replace(self, **cut, handover_s=np.array((from_ns - start_ns) / 1e9))

    def leg_stiffness(self) -> Float64Array:
        """(N,) Nm/rad, the largest of any joint that is no wheel: zero while the robot is damped or limp.

        A wheel has its brake's in damping.
        """
        stiffest: Float64Array = self.stiffness[:, ~self.rolls].max(axis=1, initial=0.0)
        return stiffest

    def after_handover(self) -> npt.NDArray[np.bool_]:
        """(N,) which samples come after the hand-over."""
        return np.asarray(self.time_s >= self.handover_s)


class Recorder:
    """Collects samples of a robot while it runs."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._rows: list[Float64Array] = []
        self.handover_s = float("nan")

    def sample(self, velocity_command: npt.ArrayLike) -> None:
        """Keep the present state if it is time for a sample; call it every tick."""
        robot = self._robot
        if robot.ticks % SAMPLE_TICKS:
            return
        data, command, body = robot.data, robot.command, robot.body
        self._rows.append(
            np.concatenate(
                (
                    (robot.time_s,),
                    data.qpos[:7],
                    (data.qpos[2] - robot.height_m,),
                    data.qvel[:6],
                    data.qpos[body.position],
                    data.qvel[body.velocity],
                    robot.torque,
                    command.position,
                    command.velocity,
                    command.stiffness,
                    velocity_command,
                )
            )
        )

    def trace(self) -> Trace:
        """Return what was recorded so far."""
        joints = len(self._robot.body.joints)
        sizes = [1, 3, 4, 1, 3, 3, *[joints] * 6, 3]
        rows = np.array(self._rows).reshape(-1, sum(sizes))
        parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
        time, position, orientation, ground, velocity, angular = parts[:6]
        q, dq, torque, target, velocity_target, stiffness, command = parts[6:]
        return Trace(
            time_s=time[:, 0],
            handover_s=np.array(self.handover_s),
            base_position=position,
            base_orientation=orientation,
            ground_m=ground[:, 0],
            base_velocity=velocity,
            base_angular_velocity=angular,
            joint_position=q,
            joint_velocity=dq,
            joint_torque=torque,
            joint_target=target,
            velocity_target=velocity_target,
            stiffness=stiffness,
            velocity_command=command,
            rolls=self._robot.body.rolls,
        )
