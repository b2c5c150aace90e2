"""Robot state to observation: terms by name, scale, clip, history, normalization."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.contract import JOINT_TERMS, TERM_FIELDS, Float32Array, Manifest, Normalization, Term
from gaitd.policy.joints import joint_array
from gaitd.wire.messages import RobotState

_Computation: TypeAlias = Callable[[RobotState, "StepContext"], Float32Array]


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a term may be made from beside the state."""

    velocity_command: Float32Array
    """(3,) clipped to the contract's range."""
    last_action: Float32Array
    """(n,) the last raw action that was accepted."""
    step: int
    """Control steps since activate."""


@dataclass(slots=True)
class _TermBuffer:
    """One term's recent values, scaled and clipped: row 0 is the newest."""

    compute: _Computation
    scale: Float32Array
    clip: tuple[float, float] | None
    delay_steps: int
    length: int
    rows: Float32Array
    """(delay_steps + length, dim)."""

    def push(self, state: RobotState, context: StepContext) -> None:
        rows = self.rows
        rows[1:] = rows[:-1]
        np.multiply(self.compute(state, context), self.scale, out=rows[0])
        if self.clip is not None:
            np.clip(rows[0], self.clip[0], self.clip[1], out=rows[0])

    def window(self) -> Float32Array:
        """(length, dim), newest first."""
        return self.rows[self.delay_steps :]


class ObservationBuilder:
    """Builds the observation vector of a policy from robot states in the policy's joint order."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises InputError when the manifest's observation contradicts itself."""
        observation = manifest.observation
        self._history = observation.history
        self._clip = observation.clip
        if self._history.length < 1:
            raise InputError(f"observation.history.length: expected at least 1, got {self._history.length}")
        _check_clip(self._clip, "observation.clip")
        if not observation.terms:
            raise InputError("observation.terms: expected at least one term, got none")
        self._terms = [
            self._make_buffer(manifest, index, term) for index, term in enumerate(observation.terms)
        ]
        self.frame_dim = sum(buffer.rows.shape[1] for buffer in self._terms)
        """Length of one frame: one value of each term."""
        self.dim = sum(buffer.length * buffer.rows.shape[1] for buffer in self._terms)
        """Length of the observation vector."""
        self._vector = np.zeros(self.dim, np.float32)
        self._step = 0

    def reset(self) -> None:
        """Forget all frames: the next state is the first of a session."""
        self._step = 0
        self._vector.fill(0.0)
        for buffer in self._terms:
            buffer.rows.fill(0.0)

    def observe(self, state: RobotState, velocity_command: Float32Array, last_action: Float32Array) -> None:
        """Push one control step: the state, the clipped command (3,), the last accepted action (n,)."""
        context = StepContext(velocity_command, last_action, self._step)
        for buffer in self._terms:
            buffer.push(state, context)
            if self._step == 0 and self._history.fill == "first_frame":
                buffer.rows[1:] = buffer.rows[0]
        self._step += 1

    def vector(self) -> Float32Array:
        """The observation (dim,) before normalization; overwritten by the next call."""
        windows = [buffer.window() for buffer in self._terms]
        oldest_first = self._history.order == "oldest_first"
        if oldest_first:
            windows = [window[::-1] for window in windows]
        if self._history.layout == "term_major":
            np.concatenate([window.ravel() for window in windows], out=self._vector)
        else:
            np.concatenate(windows, axis=1, out=self._vector.reshape(self._history.length, -1))
        if self._clip is not None:
            np.clip(self._vector, -self._clip, self._clip, out=self._vector)
        return self._vector

    def _make_buffer(self, manifest: Manifest, index: int, term: Term) -> _TermBuffer:
        where = f"observation.terms[{index}] ({term.term})"
        joint_count = len(manifest.joints)
        dim = joint_count if term.term in JOINT_TERMS else 2 if term.term == "clock_phase" else 3
        if term.history_length is not None and self._history.layout != "term_major":
            raise InputError(f"{where}.history_length: only the term_major layout has lengths by term")
        length = self._history.length if term.history_length is None else term.history_length
        if length < 1 or term.delay_steps < 0:
            raise InputError(f"{where}: history_length must be at least 1 and delay_steps at least 0")
        if term.clip is not None and not term.clip[0] < term.clip[1]:
            raise InputError(f"{where}.clip: expected min < max, got {list(term.clip)}")
        if (term.period_s is None) != (term.term != "clock_phase"):
            raise InputError(f"{where}.period_s: clock_phase needs it, and no other term has it")
        if term.period_s is not None and not 0 < term.period_s < math.inf:
            raise InputError(f"{where}.period_s: expected above 0, got {term.period_s}")
        return _TermBuffer(
            compute=_computation(manifest, term),
            scale=_term_scale(term.scale, dim, where),
            clip=term.clip,
            delay_steps=term.delay_steps,
            length=length,
            rows=np.zeros((term.delay_steps + length, dim), np.float32),
        )


class Normalizer:
    """(x - mean) / (max(std, std_floor) + epsilon), then a symmetric clip."""

    def __init__(
        self,
        normalization: Normalization,
        mean: Float32Array,
        std: Float32Array,
        builder: ObservationBuilder,
        layout: str,
    ) -> None:
        """Raises InputError when the statistics do not fit the observation or divide by zero."""
        repeats = 1
        if mean.shape == (builder.frame_dim,) and layout == "frame_major":
            repeats = builder.dim // builder.frame_dim
        if mean.shape != std.shape or mean.size * repeats != builder.dim or mean.ndim != 1:
            raise InputError(
                f"obs_stats.npz: mean has shape {mean.shape} and std {std.shape}, "
                f"but the observation has {builder.dim} values"
            )
        divisor = np.maximum(std.astype(np.float64), normalization.std_floor) + normalization.epsilon
        if not (np.isfinite(mean).all() and np.isfinite(divisor).all() and (divisor > 0).all()):
            bad = int(np.argmin(np.isfinite(mean) & np.isfinite(divisor) & (divisor > 0)))
            raise InputError(
                f"obs_stats.npz: index {bad} has mean {mean[bad]} and std {std[bad]}; expected finite values "
                "and a std above zero (or normalization.std_floor in the manifest)"
            )
        self._mean = np.tile(mean, repeats).astype(np.float32)
        self._divisor = np.tile(divisor, repeats).astype(np.float32)
        _check_clip(normalization.clip, "normalization.clip")
        self._clip = normalization.clip
        self._out = np.zeros(builder.dim, np.float32)

    def __call__(self, observation: Float32Array) -> Float32Array:
        """Return the normalized observation (dim,); overwritten by the next call."""
        out = self._out
        np.subtract(observation, self._mean, out=out)
        np.divide(out, self._divisor, out=out)
        if self._clip is not None:
            np.clip(out, -self._clip, self._clip, out=out)
        return out


def required_fields(manifest: Manifest) -> list[str]:
    """Names of the state message's fields that the policy's terms are made from, sorted."""
    terms = (term.term for term in manifest.observation.terms)
    return sorted({TERM_FIELDS[term] for term in terms if term in TERM_FIELDS})


def projected_gravity(orientation: Float32Array) -> Float32Array:
    """World's unit gravity vector (0, 0, -1) in the base frame, for a quaternion w, x, y, z (4,).

    Third row of the rotation matrix base-to-world, negated.
    """
    w, x, y, z = (float(value) for value in orientation)
    return np.array(
        (2.0 * (w * y - x * z), -2.0 * (w * x + y * z), -(w * w - x * x - y * y + z * z)), np.float32
    )


def roll_pitch_yaw(orientation: Float32Array) -> Float32Array:
    """Roll, pitch, yaw (3,) rad of a quaternion w, x, y, z (4,): turns about x, then y, then z."""
    w, x, y, z = (float(value) for value in orientation)
    return np.array(
        (
            math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
            math.asin(max(-1.0, min(1.0, 2.0 * (w * y - z * x)))),
            math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
        ),
        np.float32,
    )


def _check_clip(clip: float | None, key: str) -> None:
    if clip is not None and not clip > 0:
        raise InputError(f"{key}: expected above 0, got {clip}")


def _term_scale(scale: float | Sequence[float], dim: int, where: str) -> Float32Array:
    values = np.asarray(scale, np.float32)
    if values.ndim == 1 and values.shape != (dim,):
        raise InputError(f"{where}.scale: expected one number or {dim}, got {values.size}")
    if not np.isfinite(values).all():
        raise InputError(f"{where}.scale: expected finite numbers, got {scale}")
    return np.broadcast_to(values, (dim,)).astype(np.float32)


def _computation(manifest: Manifest, term: Term) -> _Computation:
    default = joint_array(manifest.default_joint_position_rad, manifest.joints, "default_joint_position_rad")
    phase_per_step = 2.0 * math.pi * manifest.control_period_s / (term.period_s or 1.0)

    def linear_velocity(state: RobotState) -> Float32Array:
        # The hello refuses a controller that does not give the field; a gap later is refused by the guard.
        return np.zeros(3, np.float32) if state.linear_velocity is None else state.linear_velocity

    def clock(step: int) -> Float32Array:
        return np.array((math.sin(phase_per_step * step), math.cos(phase_per_step * step)), np.float32)

    computations: dict[str, _Computation] = {
        "base_angular_velocity": lambda state, context: state.angular_velocity,
        "base_linear_velocity": lambda state, context: linear_velocity(state),
        "clock_phase": lambda state, context: clock(context.step),
        "joint_position": lambda state, context: state.joint_position,
        "joint_position_relative": lambda state, context: state.joint_position - default,
        "joint_torque": lambda state, context: state.joint_torque,
        "joint_velocity": lambda state, context: state.joint_velocity,
        "last_action": lambda state, context: context.last_action,
        "linear_acceleration": lambda state, context: state.linear_acceleration,
        "projected_gravity": lambda state, context: projected_gravity(state.orientation),
        "roll_pitch_yaw": lambda state, context: roll_pitch_yaw(state.orientation),
        "velocity_command": lambda state, context: context.velocity_command,
    }
    return computations[term.term]
