"""Observation terms compiled into indices: where a term's values come from, and where they go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.joints import joint_array
from gaitd.policy.manifest import Float32Array, History, Manifest, Term
from gaitd.wire.messages import RobotState

Derive = Callable[[RobotState, int], tuple[float, ...]]
"""Computes a term's values from the state and the number of control steps since activate."""

_SOURCES = {
    "base_angular_velocity": "angular_velocity",
    "base_linear_velocity": "linear_velocity",
    "joint_position_relative": "joint_position",
}
"""Terms whose source has another name than the term."""


@dataclass(frozen=True, slots=True)
class CompiledTerm:
    """One observation term as numbers; dim is its number of values."""

    source: str
    derived: Derive | None
    """None: the values are a field of the state, the command or the last action."""
    gather: npt.NDArray[np.intp]
    """(dim,) places in the vector of sources."""
    offset: Float32Array
    """(dim,) subtracted before scaling."""
    scale: Float32Array
    """(dim,)"""
    low: float
    high: float
    """The term's clip, after scaling; infinite without one."""
    delay_steps: int
    length: int
    """Frames of this term in the observation."""

    @property
    def dim(self) -> int:
        """Number of values in a frame."""
        return len(self.gather)

    @property
    def depth(self) -> int:
        """Frames that must be remembered for it."""
        return self.delay_steps + self.length


def source_layout(joint_count: int) -> dict[str, slice]:
    """Where each source lies in the vector of sources; ``direct`` are those taken over as they come."""
    direct = {
        "angular_velocity": 3,
        "linear_acceleration": 3,
        "linear_velocity": 3,
        "velocity_command": 3,
        "joint_position": joint_count,
        "joint_velocity": joint_count,
        "joint_torque": joint_count,
        "last_action": joint_count,
    }
    derived = {"projected_gravity": 3, "roll_pitch_yaw": 3, "clock_phase": 2}
    layout, start = {}, 0
    for name, dim in {**direct, **derived}.items():
        layout[name] = slice(start, start + dim)
        start += dim
    layout["direct"] = slice(0, layout["last_action"].stop)
    layout["total"] = slice(0, start)
    return layout


def compile_term(manifest: Manifest, index: int, term: Term) -> CompiledTerm:
    """Compile the term at ``index`` of the manifest. Raises InputError when it contradicts itself."""
    where = f"observation.terms[{index}] ({term.term})"
    history = manifest.observation.history
    if term.history_length is not None and history.layout != "term_major":
        raise InputError(f"{where}.history_length: only the term_major layout has lengths by term")
    length = history.length if term.history_length is None else term.history_length
    if length < 1 or term.delay_steps < 0:
        raise InputError(f"{where}: history_length must be at least 1 and delay_steps at least 0")
    if term.clip is not None and not term.clip[0] < term.clip[1]:
        raise InputError(f"{where}.clip: expected min < max, got {list(term.clip)}")
    if (term.period_s is None) != (term.term != "clock_phase"):
        raise InputError(f"{where}.period_s: clock_phase needs it, and no other term has it")
    if term.period_s is not None and not 0 < term.period_s < math.inf:
        raise InputError(f"{where}.period_s: expected above 0, got {term.period_s}")
    source = _SOURCES.get(term.term, term.term)
    place = source_layout(len(manifest.joints))[source]
    dim = place.stop - place.start
    offset = np.zeros(dim, np.float32)
    if term.term == "joint_position_relative":
        offset = joint_array(
            manifest.default_joint_position_rad, manifest.joints, "default_joint_position_rad"
        )
    low, high = (-math.inf, math.inf) if term.clip is None else term.clip
    return CompiledTerm(
        source=source,
        derived=_derivation(manifest, term),
        gather=np.arange(place.start, place.stop),
        offset=offset,
        scale=_scale(term.scale, dim, where),
        low=low,
        high=high,
        delay_steps=term.delay_steps,
        length=length,
    )


def stack_index(terms: Sequence[CompiledTerm], history: History) -> npt.NDArray[np.intp]:
    """Places in the flattened (frames, newest first) of every value of the observation vector."""
    frame_dim = sum(term.dim for term in terms)
    windows, column = [], 0
    for term in terms:
        rows = np.arange(term.delay_steps, term.depth)
        if history.order == "oldest_first":
            rows = rows[::-1]
        windows.append(rows[:, None] * frame_dim + np.arange(column, column + term.dim))
        column += term.dim
    if history.layout == "term_major":
        return np.concatenate([window.ravel() for window in windows])
    return np.concatenate(windows, axis=1).ravel()


def projected_gravity(orientation: Float32Array) -> tuple[float, float, float]:
    """World's unit gravity vector (0, 0, -1) in the base frame, for a quaternion w, x, y, z (4,).

    Third row of the rotation matrix base-to-world, negated.
    """
    w, x, y, z = orientation.tolist()
    return 2.0 * (w * y - x * z), -2.0 * (w * x + y * z), x * x + y * y - w * w - z * z


def roll_pitch_yaw(orientation: Float32Array) -> tuple[float, float, float]:
    """Roll, pitch, yaw [rad] of a quaternion w, x, y, z (4,): turns about x, then y, then z."""
    w, x, y, z = orientation.tolist()
    return (
        math.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y)),
        math.asin(max(-1.0, min(1.0, 2.0 * (w * y - z * x)))),
        math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)),
    )


def _derivation(manifest: Manifest, term: Term) -> Derive | None:
    if term.term == "projected_gravity":
        return lambda state, step: projected_gravity(state.orientation)
    if term.term == "roll_pitch_yaw":
        return lambda state, step: roll_pitch_yaw(state.orientation)
    if term.period_s is not None:
        phase_per_step = 2.0 * math.pi * manifest.control_period_s / term.period_s
        return lambda state, step: (math.sin(phase_per_step * step), math.cos(phase_per_step * step))
    return None


def _scale(scale: float | Sequence[float], dim: int, where: str) -> Float32Array:
    values = np.asarray(scale, np.float32)
    if values.ndim == 1 and values.shape != (dim,):
        raise InputError(f"{where}.scale: expected one number or {dim}, got {values.size}")
    if not np.isfinite(values).all():
        raise InputError(f"{where}.scale: expected finite numbers, got {scale}")
    return np.broadcast_to(values, (dim,)).astype(np.float32)
