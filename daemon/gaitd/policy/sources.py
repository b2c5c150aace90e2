"""What observation terms are made from: one table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from gaitd.policy.manifest import Float32Array, TermName
from gaitd.wire.generated import STATE_VALUES
from gaitd.wire.messages import RobotState

Derive = Callable[[RobotState, float], tuple[float, ...]]
"""Computes values from the state and the phase of the policy's clock [rad]."""


@dataclass(frozen=True, slots=True)
class Source:
    """Values that a term takes its own from."""

    size: int | None
    """Number of values; None: one for each joint."""
    field: str | None = None
    """The field of the state message that they are made from; None: they are gaitd's own."""
    derive: Derive | None = None
    """How they are computed; None: they are taken over as they come."""


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


MEASURED = tuple(name for name in STATE_VALUES if name not in ("orientation", "velocity_command"))
"""Fields of the state message that are sources as they come."""

SOURCES: dict[str, Source] = {
    **{name: Source(STATE_VALUES[name], name) for name in MEASURED},
    # Clipped to the policy's range.
    "velocity_command": Source(STATE_VALUES["velocity_command"], "velocity_command"),
    "last_action": Source(None),
    "projected_gravity": Source(3, "orientation", lambda state, phase: projected_gravity(state.orientation)),
    "roll_pitch_yaw": Source(3, "orientation", lambda state, phase: roll_pitch_yaw(state.orientation)),
    "clock_phase": Source(2, None, lambda state, phase: (math.sin(phase), math.cos(phase))),
}
"""By name, in the order of the vector of sources: those without ``derive`` first."""

_TERM_SOURCES: dict[TermName, str] = {
    "base_angular_velocity": "angular_velocity",
    "base_linear_velocity": "linear_velocity",
    "joint_position_relative": "joint_position",
}
"""Terms whose source has another name than the term."""


def source_name(term: TermName) -> str:
    """The source of a term."""
    return _TERM_SOURCES.get(term, term)


def term_field(term: TermName) -> str | None:
    """The field of the state message that a term is made from; None: of none."""
    return SOURCES[source_name(term)].field


def term_size(term: TermName, joint_count: int) -> int:
    """Number of a term's values in a frame."""
    size = SOURCES[source_name(term)].size
    return joint_count if size is None else size


def source_layout(joint_count: int) -> dict[str, slice]:
    """Where each source lies in the vector of sources."""
    layout, start = {}, 0
    for name, source in SOURCES.items():
        size = joint_count if source.size is None else source.size
        layout[name] = slice(start, start + size)
        start += size
    return layout


JOINT_TERMS = frozenset(term for term in get_args(TermName) if SOURCES[source_name(term)].size is None)
"""Terms with one value per joint."""
