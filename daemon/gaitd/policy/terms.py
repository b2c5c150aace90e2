"""Observation terms compiled into indices: where a term's values come from, and where they go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.joints import joint_array
from gaitd.policy.manifest import Float32Array, History, Manifest, Term
from gaitd.policy.sources import source_layout, source_name


@dataclass(frozen=True, slots=True)
class CompiledTerm:
    """One observation term as numbers; dim is its number of values."""

    source: str
    """Of gaitd.policy.sources."""
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
    if observation.history.length < 1:
        raise InputError(f"observation.history.length: expected at least 1, got {observation.history.length}")
    if not observation.terms:
        raise InputError("observation.terms: expected at least one term, got none")
    terms = tuple(compile_term(manifest, index, term) for index, term in enumerate(observation.terms))
    periods_s = {term.period_s for term in observation.terms if term.period_s is not None}
    if len(periods_s) > 1:
        raise InputError("observation.terms: all clock_phase terms must have the same period_s")
    return CompiledTerms(
        terms=terms,
        gather=np.concatenate([term.gather for term in terms]),
        offset=np.concatenate([term.offset for term in terms]),
        scale=np.concatenate([term.scale for term in terms]),
        low=np.concatenate([np.full(term.dim, term.low, np.float32) for term in terms]),
        high=np.concatenate([np.full(term.dim, term.high, np.float32) for term in terms]),
        stack=stack_index(terms, observation.history),
        depth=max(term.depth for term in terms),
        clock_period_s=max(periods_s, default=math.inf),
    )


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
    source = source_name(term.term)
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


def _scale(scale: float | Sequence[float], dim: int, where: str) -> Float32Array:
    values = np.asarray(scale, np.float32)
    if values.ndim == 1 and values.shape != (dim,):
        raise InputError(f"{where}.scale: expected one number or {dim}, got {values.size}")
    if not np.isfinite(values).all():
        raise InputError(f"{where}.scale: expected finite numbers, got {scale}")
    return np.broadcast_to(values, (dim,)).astype(np.float32)
