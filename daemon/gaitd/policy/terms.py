"""Observation terms compiled into indices: where a term's values come from, and where they go."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.joints import check_known_joints, default_position, order_from
from gaitd.policy.manifest import AXES, Float32Array, History, Manifest, Part, Term
from gaitd.policy.sources import JOINT_TERMS, MOTION_STEP, NAMED, layout_of, source_name

WHOLE = "observation"
"""The one part of an observation that is not in parts."""


@dataclass(frozen=True, slots=True)
class CompiledTerm:
    """One observation term as numbers; dim is its number of values."""

    source: str
    """Of gaitd.policy.sources."""
    part: str
    """Name of the part of the observation that it belongs to."""
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


@dataclass(frozen=True, slots=True)
class CompiledTerms:
    """All terms together: a frame is (sources[gather] - offset) * scale, inside low and high."""

    terms: tuple[CompiledTerm, ...]
    parts: dict[str, slice]
    """Where each part of the observation lies in the vector."""
    fill_first: npt.NDArray[np.bool_]
    """(frame_dim,) whether the first frame fills the places of frames from before the session."""
    gather: npt.NDArray[np.intp]
    """(frame_dim,), as what follows."""
    offset: Float32Array
    scale: Float32Array
    low: Float32Array
    high: Float32Array
    stack: npt.NDArray[np.intp]
    """(dim,) see ``stack_index``."""
    depth: int
    """Frames that must be remembered."""
    clock_period_s: float
    """Of clock_phase; infinite without such a term."""


def compile_terms(manifest: Manifest) -> CompiledTerms:
    """Compile the manifest's observation. Raises InputError when it contradicts itself."""
    observation = manifest.observation
    if observation.raw_size is not None:
        return _compile_raw(manifest, observation.raw_size)
    if not observation.terms:
        raise InputError("observation.terms: expected at least one term, got none")
    parts = parts_of(manifest)
    for where, part in parts.items():
        if part.history.length < 1:
            raise InputError(f"{where}history.length: expected at least 1, got {part.history.length}")
    terms = tuple(compile_term(manifest, index, term) for index, term in enumerate(observation.terms))
    periods_s = {term.period_s for term in observation.terms if term.period_s is not None}
    if len(periods_s) > 1:
        raise InputError("observation.terms: all clock_phase terms must have the same period_s")
    stack = stack_index(terms, parts.values())
    stop, places = 0, {}
    for part in parts.values():
        start, stop = stop, stop + sum(term.dim * term.length for term in terms if term.part == part.name)
        if start == stop:
            raise InputError(f"observation.parts: no term is of the part {part.name!r}")
        places[part.name] = slice(start, stop)
    fills = {part.name: part.history.fill == "first_frame" for part in parts.values()}
    return CompiledTerms(
        terms=terms,
        parts=places,
        fill_first=np.concatenate([np.full(term.dim, fills[term.part]) for term in terms]),
        gather=np.concatenate([term.gather for term in terms]),
        offset=np.concatenate([term.offset for term in terms]),
        scale=np.concatenate([term.scale for term in terms]),
        low=np.concatenate([np.full(term.dim, term.low, np.float32) for term in terms]),
        high=np.concatenate([np.full(term.dim, term.high, np.float32) for term in terms]),
        stack=stack,
        depth=max(term.depth for term in terms),
        clock_period_s=max(periods_s, default=math.inf),
    )


def _compile_raw(manifest: Manifest, size: int) -> CompiledTerms:
    """Of an observation that the controller makes: nothing is gathered."""
    observation = manifest.observation
    if observation.terms or observation.parts:
        raise InputError("observation.raw_size: stands instead of terms and parts; leave these out")
    none, no_place = np.zeros(0, np.float32), np.zeros(0, np.intp)
    return CompiledTerms(
        terms=(),
        parts={WHOLE: slice(0, size)},
        fill_first=np.zeros(0, np.bool_),
        gather=no_place,
        offset=none,
        scale=none,
        low=none,
        high=none,
        stack=no_place,
        depth=1,
        clock_period_s=math.inf,
    )


def parts_of(manifest: Manifest) -> dict[str, Part]:
    """The parts of the observation, by the beginning of their keys in the manifest. Raises InputError."""
    observation = manifest.observation
    if not observation.parts:
        return {"observation.": Part(name=WHOLE, history=observation.history)}
    if observation.history != History():
        raise InputError("observation.history: with parts each has its own; leave this one out")
    names = [part.name for part in observation.parts]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"observation.parts: {name!r} is there twice")
    return {f"observation.parts[{index}].": part for index, part in enumerate(observation.parts)}


def compile_term(manifest: Manifest, index: int, term: Term) -> CompiledTerm:
    """Compile the term at ``index`` of the manifest. Raises InputError when it contradicts itself."""
    where = f"observation.terms[{index}] ({term.term})"
    part = _part_of(manifest, term, where)
    history = part.history
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
    source, joints = _source_of(manifest, term, where), manifest.joints
    place = layout_of(manifest)[source]
    gather = np.arange(place.start, place.stop)
    offset = np.zeros(len(gather), np.float32)
    if term.term == "joint_position_relative":
        offset = default_position(manifest)
    if term.term in JOINT_TERMS:
        shown = manifest.moved_joints if term.joints is None else term.joints
        if shown != joints:
            check_known_joints(joints, shown, f"{where}.joints")
            order = order_from(joints, shown)
            gather, offset = gather[order], offset[order]
    elif term.joints is not None:
        raise InputError(f"{where}.joints: its values are not of joints")
    if term.axes is not None:
        if term.term != "velocity_command" or not term.axes:
            raise InputError(f"{where}.axes: only a velocity_command has axes, and then at least one")
        order = order_from(AXES, term.axes)
        gather, offset = gather[order], offset[order]
    dim = len(gather)
    low, high = (-math.inf, math.inf) if term.clip is None else term.clip
    return CompiledTerm(
        source=source,
        part=part.name,
        gather=gather,
        offset=offset,
        scale=_scale(term.scale, dim, where),
        low=low,
        high=high,
        delay_steps=term.delay_steps,
        length=length,
    )


def _part_of(manifest: Manifest, term: Term, where: str) -> Part:
    parts = {part.name: part for part in parts_of(manifest).values()}
    name = WHOLE if term.part is None and not manifest.observation.parts else term.part
    if name is None or name not in parts:
        raise InputError(f"{where}.part: expected one of {', '.join(parts)}, got {term.part}")
    return parts[name]


def _source_of(manifest: Manifest, term: Term, where: str) -> str:
    source = source_name(term.term, term.name)
    known = layout_of(manifest)
    if (term.name is None) != (term.term not in NAMED):
        raise InputError(f"{where}.name: {', '.join(NAMED)} need it, and no other term has it")
    if source not in known:
        key = "motion" if term.term == MOTION_STEP else NAMED[term.term]
        raise InputError(f"{where}: {term.name or 'motion'!r} is not declared under {key}")
    return source


def stack_index(terms: Sequence[CompiledTerm], parts: Collection[Part]) -> npt.NDArray[np.intp]:
    """Places in the flattened (frames, newest first) of every value of the observation vector."""
    frame_dim = sum(term.dim for term in terms)
    column, windows = 0, dict[str, list[npt.NDArray[np.intp]]]()
    orders = {part.name: part.history.order for part in parts}
    for term in terms:
        rows = np.arange(term.delay_steps, term.depth)
        if orders[term.part] == "oldest_first":
            rows = rows[::-1]
        window = rows[:, None] * frame_dim + np.arange(column, column + term.dim)
        windows.setdefault(term.part, []).append(window)
        column += term.dim
    stacks = []
    for part in parts:
        own = windows.get(part.name, [])
        if part.history.layout == "term_major" or not own:
            stacks += [window.ravel() for window in own]
        else:
            stacks.append(np.concatenate(own, axis=1).ravel())
    return np.concatenate(stacks)


def _scale(scale: float | Sequence[float], dim: int, where: str) -> Float32Array:
    values = np.asarray(scale, np.float32)
    if values.ndim == 1 and values.shape != (dim,):
        raise InputError(f"{where}.scale: expected one number or {dim}, got {values.size}")
    if not np.isfinite(values).all():
        raise InputError(f"{where}.scale: expected finite numbers, got {scale}")
    return np.broadcast_to(values, (dim,)).astype(np.float32)
