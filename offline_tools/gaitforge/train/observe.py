"""The manifest's observation and action, for many robots at once; equal to gaitd.policy, robot by robot."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.manifest import AXES, Float32Array, Manifest, Phase
from gaitd.policy.observation import symmetric_clip
from gaitd.policy.phase import counts_steps
from gaitd.policy.sources import layout_of, source_name
from gaitd.policy.terms import compile_terms

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_FUNCTIONS = {"sin": np.sin, "cos": np.cos}


def projected_gravity(orientation: npt.NDArray[np.floating]) -> Float64Array:
    """As gaitd.policy.sources has it, for quaternions w, x, y, z (n, 4): (n, 3)."""
    w, x, y, z = orientation.astype(np.float64).T
    return np.stack([2.0 * (w * y - x * z), -2.0 * (w * x + y * z), x * x + y * y - w * w - z * z], axis=1)


def roll_pitch_yaw(orientation: npt.NDArray[np.floating]) -> Float64Array:
    """As gaitd.policy.sources has it, for quaternions w, x, y, z (n, 4): (n, 3) rad."""
    w, x, y, z = orientation.astype(np.float64).T
    return np.stack(
        [
            np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
            np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0)),
            np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
        ],
        axis=1,
    )


class Observer:
    """Observation vectors of ``count`` robots, each with a history and a clock of its own."""

    def __init__(self, manifest: Manifest, count: int) -> None:
        """Raises InputError for a manifest that contradicts itself, or says what training does not know."""
        if manifest.normalization is not None:
            raise InputError(
                "normalization: training has no statistics yet; scale the terms instead, and leave it out"
            )
        observation = manifest.observation
        if manifest.models or observation.raw_size is not None:
            raise InputError(
                "training makes one model that sees an observation of terms: leave models and "
                "observation.raw_size out"
            )
        compiled = compile_terms(manifest)
        self.terms = compiled.terms
        self.layout = layout_of(manifest)
        """Where each source lies in the vector that terms gather from."""
        self._needed = [name for name in self.layout if name in {term.source for term in self.terms}]
        self._phases = {
            source_name("phase", name): phase
            for name, phase in manifest.phases.items()
            if counts_steps(phase)
        }
        self._period_s = manifest.control_period_s
        self.period_s = compiled.clock_period_s
        """Of the gait's clock: of clock_phase, else of the only phase; infinite without either."""
        self._start_turns = 0.0
        if math.isinf(self.period_s) and len(self._phases) == 1:
            (phase,) = self._phases.values()
            self.period_s, self._start_turns = float(phase.period_s or math.inf), phase.start_turns
        self._gather, self._offset, self._scale = compiled.gather, compiled.offset, compiled.scale
        self._low, self._high = compiled.low, compiled.high
        self.stack = compiled.stack
        """(dim,) where each value comes from: frame * frame_dim + place in the frame."""
        self._fill_first = compiled.fill_first
        self._clip = symmetric_clip(observation.clip, "observation.clip")
        self._sources = np.zeros((count, max(place.stop for place in self.layout.values())), np.float32)
        self.frames = np.zeros((count, compiled.depth, len(self._gather)), np.float32)
        """(count, depth, frame_dim), newest first."""
        self.steps = np.zeros(count, np.int64)
        """States that each robot has seen since its start."""

    @property
    def phase(self) -> Float64Array:
        """(count,) rad, of the gait's clock at the next observation."""
        turns: Float64Array = self._start_turns + self.steps.astype(np.float64) * (
            self._period_s / self.period_s
        )
        return 2.0 * math.pi * turns

    def standing(self, command: npt.NDArray[np.floating]) -> Mask:
        """Which robots (count,) are asked to stand: by a command (count, 3) of zero, or so small that a phase
        is gated."""
        standing: Mask = np.all(command == 0.0, axis=1)
        for phase in self._phases.values():
            standing = standing | _gated(phase, command)
        return standing

    def reset(self, robots: Mask) -> None:
        """These robots start anew."""
        self.frames[robots] = 0.0
        self.steps[robots] = 0

    def observe(self, values: Mapping[str, npt.NDArray[np.floating]]) -> Float32Array:
        """One control step of every robot; returns the observations (count, dim).

        ``values`` has the fields of the state message that the terms need, (count, size) each, with
        ``velocity_command`` clipped and ``last_action``.
        """
        for name in self._needed:
            self._sources[:, self.layout[name]] = self._value(name, values)
        frame = (self._sources[:, self._gather] - self._offset) * self._scale
        frame = np.minimum(np.maximum(frame, self._low), self._high)
        self.frames[:, 1:] = self.frames[:, :-1].copy()
        self.frames[:, 0] = frame
        first = self.steps == 0
        self.frames[first] = np.where(self._fill_first, frame[first, None], self.frames[first])
        self.steps += 1
        vector = self.frames.reshape(len(frame), -1)[:, self.stack]
        return np.minimum(np.maximum(vector, -self._clip), self._clip)

    def _value(self, name: str, values: Mapping[str, npt.NDArray[np.floating]]) -> npt.NDArray[np.floating]:
        if name == "projected_gravity":
            return projected_gravity(values["orientation"])
        if name == "roll_pitch_yaw":
            return roll_pitch_yaw(values["orientation"])
        if name == "clock_phase":
            return np.stack([np.sin(self.phase), np.cos(self.phase)], axis=1)
        if name in self._phases:
            return self._phase(self._phases[name], values["velocity_command"])
        if name not in values:
            raise InputError(f"observation: training does not simulate {name}; leave its term out")
        return values[name]

    def _phase(self, phase: Phase, command: npt.NDArray[np.floating]) -> Float64Array:
        """As gaitd.policy.phase has it, of a clock that counts steps: (count, values)."""
        assert phase.period_s is not None
        turns = phase.start_turns + self.steps * (self._period_s / phase.period_s)
        shown = turns[:, None] + np.array(phase.offsets_turns)
        gate, gated = phase.gate, _gated(phase, command)
        if gate is not None and gate.turns is not None:
            shown[gated] = gate.turns
        values = [_FUNCTIONS[function](2.0 * math.pi * shown) for function in phase.functions]
        flat = np.stack(values, axis=2).reshape(len(turns), -1)
        if gate is not None and gate.values == "zero":
            flat[gated] = 0.0
        return flat


def _gated(phase: Phase, command: npt.NDArray[np.floating]) -> Mask:
    """(count,) where the command (count, 3) is below the phase's gate."""
    if phase.gate is None:
        return np.zeros(len(command), np.bool_)
    axes = [AXES.index(axis) for axis in phase.gate.axes]
    below: Mask = np.linalg.norm(command[:, axes], axis=1) < phase.gate.below
    return below


class Limiter:
    """Action to target under the manifest's limits; those that would damp the robot hold it back too."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises InputError when the manifest's limits contradict themselves, or joints are held."""
        if manifest.held_joints is not None:
            raise InputError("held_joints: training moves every joint; take these out of joints")
        self.mapper = ActionMapper(manifest)
        self._bounds = TargetBounds.of(manifest, self.mapper)

    def __call__(
        self, action: Float32Array, last_target: Float32Array, position: Float32Array, velocity: Float32Array
    ) -> tuple[Float32Array, Float32Array]:
        """Targets (n, j), and the actions that they came to, for raw actions and joints (n, j).

        A target is in the unit of what the joint follows: rad, rad/s or Nm.
        """
        bounds, clipped = self._bounds, self.mapper.clip(action)
        asked = self.mapper.target(clipped)
        if self.mapper.has_low_pass:
            asked = last_target + self.mapper.share * (asked - last_target)
        centre = bounds.torque.centre(position, velocity)
        target = np.clip(asked, last_target - bounds.slew, last_target + bounds.slew)
        target = np.clip(target, centre - bounds.torque.reach, centre + bounds.torque.reach)
        target = np.clip(target, bounds.low, bounds.high)
        return target, np.where(target != asked, self.mapper.action(target), clipped)
