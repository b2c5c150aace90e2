"""What observation terms are made from: one table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from gaitd.policy.manifest import Float32Array, Manifest, Term, TermName
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


NAMED: dict[TermName, str] = {
    "input": "inputs",
    "stream": "streams",
    "stream_age": "streams",
    "stream_valid": "streams",
    "phase": "phases",
    "motion": "motion.arrays",
}
"""Terms that show something which the manifest declares under that key, by name."""
MOTION_STEP = "motion_step"


def source_name(term: TermName, name: str | None = None) -> str:
    """The source of a term, and of one in NAMED with that name."""
    return f"{term} {name}" if term in NAMED else _TERM_SOURCES.get(term, term)


def term_field(term: TermName) -> str | None:
    """The field of the state message that a term is made from; None: of none."""
    source = SOURCES.get(source_name(term))
    return None if source is None else source.field


def term_size(term: TermName, joint_count: int) -> int | None:
    """Number of a term's values in a frame; None: the manifest declares it."""
    if term in NAMED:
        return None
    if term == MOTION_STEP:
        return 1
    size = SOURCES[source_name(term)].size
    return joint_count if size is None else size


def term_width(manifest: Manifest, term: Term) -> int:
    """Number of values in a frame of a term of this manifest; 0 of what it does not declare."""
    if term.joints is not None:
        return len(term.joints)
    if term.axes is not None:
        return len(term.axes)
    size = term_size(term.term, len(manifest.moved_joints))
    return declared_sizes(manifest).get(source_name(term.term, term.name), 0) if size is None else size


def declared_sizes(manifest: Manifest) -> dict[str, int]:
    """Number of values of each source that the manifest itself declares."""
    sizes = {source_name("input", each.name): each.size for each in manifest.inputs}
    for stream in manifest.streams:
        sizes[source_name("stream", stream.name)] = stream.size
        sizes[source_name("stream_age", stream.name)] = sizes[source_name("stream_valid", stream.name)] = 1
    for name, phase in manifest.phases.items():
        sizes[source_name("phase", name)] = len(phase.offsets_turns) * len(phase.functions)
    if manifest.motion is not None:
        sizes |= {source_name("motion", name): size for name, size in manifest.motion.arrays.items()}
        sizes[MOTION_STEP] = 1
    return sizes


def source_layout(joint_count: int) -> dict[str, slice]:
    """Where each source lies in the vector of sources."""
    layout, start = {}, 0
    for name, source in SOURCES.items():
        size = joint_count if source.size is None else source.size
        layout[name] = slice(start, start + size)
        start += size
    return layout


def layout_of(manifest: Manifest) -> dict[str, slice]:
    """Where each source lies in the vector of sources of this manifest: those that it declares come last."""
    layout = source_layout(len(manifest.joints))
    start = max(place.stop for place in layout.values())
    for name, size in declared_sizes(manifest).items():
        layout[name] = slice(start, start + size)
        start += size
    return layout


JOINT_TERMS = frozenset(
    term
    for term in get_args(TermName)
    if source_name(term) in SOURCES and SOURCES[source_name(term)].size is None
)
"""Terms with one value per joint."""
