"""Everything that a value of an observation may be made of: the captured signals and their usual variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.replay import StateTrace
from gaitd.policy.sources import projected_gravity, roll_pitch_yaw

Float64Array = npt.NDArray[np.float64]
Frame = Literal["base", "world", "heading", "inverse"]

FRAMES: dict[Frame, str] = {
    "base": "the base frame",
    "world": "the world frame",
    "heading": "the frame that turns with the heading alone",
    "inverse": "a frame that comes of rotating the wrong way",
}
MOVING = 1e-6
"""A signal with a smaller standard deviation stands still: nothing can be told from it."""


@dataclass(frozen=True, order=True)
class Source:
    """One captured value as it may appear in an observation."""

    signal: str
    """A name in ``gaitd.policy.sources``."""
    value: int
    delay_steps: int = 0
    frame: Frame = "base"
    clipped: bool = True
    """Whether the manifest's own range (of the command, of the last action) was applied."""


class Signals:
    """Candidates over the steps at which all of them are known."""

    def __init__(self, steps: npt.NDArray[np.intp], sources: list[Source], values: Float64Array) -> None:
        self.steps = steps
        """(k,) indices of those steps in the capture."""
        self.sources = sources
        self.values = values
        """(k, candidates)"""
        self.center = values - values.mean(axis=0)
        self.std = values.std(axis=0)
        self._places = {source: index for index, source in enumerate(sources)}

    def index(self, source: Source) -> int:
        """Where that source stands; -1 when it is no candidate."""
        return self._places.get(source, -1)

    def best(self, column: Float64Array, count: int) -> list[int]:
        """The candidates that an affine function of explains the column (k,) best, best first."""
        center = column - column.mean()
        moving = self.std > MOVING
        size = np.where(moving, self.std, 1.0) * max(float(column.std()), 1e-300) * len(column)
        share = np.where(moving, (center @ self.center / size) ** 2, 0.0)
        chosen = np.argsort(-share)[:count]
        return [int(index) for index in chosen if share[index] > 0.25]


def collect(
    manifest: Manifest, pipeline: PolicyPipeline, trace: StateTrace, actions: Float32Array, oldest: int
) -> Signals:
    """All signals at delays of -1 (the next step's) to ``oldest`` control steps."""
    bases = _bases(manifest, pipeline, trace, actions)
    since = _since_start(trace.reset)
    episode = np.cumsum(trace.reset)
    steps = np.flatnonzero(since[:-1] > oldest)
    steps = steps[episode[steps] == episode[steps + 1]]
    sources: list[Source] = []
    columns: list[Float64Array] = []
    for delay in range(-1, oldest + 1):
        for (signal, frame, clipped), array in bases.items():
            for value in range(array.shape[1]):
                sources.append(Source(signal, value, delay, frame, clipped))
            columns.append(array[steps - delay])
    return Signals(steps, sources, np.concatenate(columns, axis=1).astype(np.float64))


def _since_start(reset: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Steps since the episode began, or since the capture did."""
    indices = np.arange(len(reset))
    return indices - np.maximum.accumulate(np.where(reset, indices, 0))


def _bases(
    manifest: Manifest, pipeline: PolicyPipeline, trace: StateTrace, actions: Float32Array
) -> dict[tuple[str, Frame, bool], Float64Array]:
    """Signals at the step itself: by name, frame, and whether the manifest's range was applied."""
    fields = {name: array.astype(np.float64) for name, array in trace.fields.items()}
    rotation = _rotations(fields["orientation"])
    yaw = np.array([roll_pitch_yaw(row)[2] for row in trace.fields["orientation"]])
    gravity = np.array([projected_gravity(row) for row in trace.fields["orientation"]])
    command = fields.get("velocity_command")
    previous = np.concatenate((np.zeros_like(actions[:1]), actions[:-1])).astype(np.float64)
    previous[trace.reset] = 0.0
    bases: dict[tuple[str, Frame, bool], Float64Array] = {}
    for name in ("joint_position", "joint_velocity", "joint_torque"):
        if name in fields:
            bases[name, "base", True] = fields[name]
    for name in ("angular_velocity", "linear_velocity", "linear_acceleration"):
        if name in fields:
            bases |= _turned(name, fields[name], rotation, yaw)
    bases |= _turned("projected_gravity", gravity, rotation, yaw)
    # A world rotated by the inverse attitude, as when a quaternion is taken for its conjugate.
    bases["projected_gravity", "inverse", True] = -rotation[:, :, 2]
    bases["roll_pitch_yaw", "base", True] = np.array(
        [roll_pitch_yaw(row) for row in trace.fields["orientation"]]
    )
    if command is not None:
        low, high = manifest.velocity_command.min, manifest.velocity_command.max
        bases["velocity_command", "base", True] = np.clip(command, low, high)
        if (command != bases["velocity_command", "base", True]).any():
            bases["velocity_command", "base", False] = command
    bases["last_action", "base", True] = np.stack([pipeline.mapper.clip(row) for row in previous])
    if (previous != bases["last_action", "base", True]).any():
        bases["last_action", "base", False] = previous
    periods = [term.period_s for term in manifest.observation.terms if term.period_s is not None]
    if periods:
        phase = 2.0 * np.pi * manifest.control_period_s / periods[0] * _since_start(trace.reset)
        bases["clock_phase", "base", True] = np.stack((np.sin(phase), np.cos(phase)), axis=1)
    return bases


def _turned(
    name: str, base: Float64Array, rotation: Float64Array, yaw: Float64Array
) -> dict[tuple[str, Frame, bool], Float64Array]:
    world = np.einsum("kij,kj->ki", rotation, base)
    cos, sin = np.cos(yaw), np.sin(yaw)
    heading = np.stack(
        (cos * world[:, 0] + sin * world[:, 1], cos * world[:, 1] - sin * world[:, 0], world[:, 2]), axis=1
    )
    inverse = np.einsum("kji,kj->ki", rotation, base)
    turned: dict[Frame, Float64Array] = {"base": base, "world": world, "heading": heading, "inverse": inverse}
    return {(name, frame, True): array for frame, array in turned.items()}


def _rotations(quaternion: Float64Array) -> Float64Array:
    """Rotation matrices (k, 3, 3), base to world, of quaternions w, x, y, z."""
    w, x, y, z = quaternion.T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)
