"""How the trainer stacked its past frames, told from the observations alone.

In the right arrangement a frame of age a is the frame of age a - 1 of the step before, whatever it means.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, History, Manifest
from gaitd.policy.places import Places, find_places
from gaitd.policy.terms import compile_term
from gaitforge.parity.findings import Finding, Kind


@dataclass(frozen=True)
class Arrangement:
    """A history's layout and order, and where it puts each value."""

    history: History
    places: Places
    broken: float
    """Share of the older values that are not those of the step before."""
    error: float
    """Mean square of the difference to them, by the values' variance."""


def arrangements(manifest: Manifest, observations: Float32Array, steps: np.ndarray) -> list[Arrangement]:
    """Every arrangement of the manifest's terms, the likeliest first; of equal ones, its own first.

    ``steps``: those whose step before belongs to the same episode.
    """
    own = manifest.observation.history
    found: list[Arrangement] = []
    for layout in ("frame_major", "term_major"):
        for order in ("oldest_first", "newest_first"):
            history = msgspec.structs.replace(own, layout=layout, order=order)
            try:
                places = find_places(_without_lengths(manifest, history), history)
            except InputError:
                continue
            if len(places.term) == observations.shape[1]:
                found.append(Arrangement(history, places, *_errors(places, observations, steps)))
    if not found:
        return []
    least = min(found, key=lambda one: (one.broken, one.error))

    def worse(one: Arrangement) -> bool:
        return one.broken > least.broken + 0.02 or one.error > 1.05 * least.error + 1e-9

    return sorted(found, key=lambda one: (worse(one), _changes(one, own)))


def _changes(one: Arrangement, own: History) -> int:
    return (one.history.layout != own.layout) + (one.history.order != own.order)


def _without_lengths(manifest: Manifest, history: History) -> Manifest:
    """The manifest with this history; lengths by term go where the layout has none."""
    terms = manifest.observation.terms
    if history.layout == "frame_major" and all(
        term.history_length in (None, history.length) for term in terms
    ):
        terms = [msgspec.structs.replace(term, history_length=None) for term in terms]
    observation = msgspec.structs.replace(manifest.observation, terms=terms, history=history)
    return msgspec.structs.replace(manifest, observation=observation)


def _errors(places: Places, observations: Float32Array, steps: np.ndarray) -> tuple[float, float]:
    older = np.flatnonzero(places.age > 0)
    keys = {key: i for i, key in enumerate(zip(places.term, places.value, places.age, strict=True))}
    newer = np.array([keys[places.term[i], places.value[i], places.age[i] - 1] for i in older], np.intp)
    rows = observations.astype(np.float64)
    spread = rows[steps].var(axis=0)[older]
    moving = spread > 1e-12
    if not moving.any():
        return 0.0, 0.0
    change = rows[steps][:, older[moving]] - rows[steps - 1][:, newer[moving]]
    errors = np.mean(change**2, axis=0) / spread[moving]
    return float(np.mean(errors > 1e-6)), float(errors.mean())


def history_findings(manifest: Manifest, history: History) -> list[Finding]:
    """How the trainer's layout and order differ from the manifest's."""
    own = manifest.observation.history
    findings = []
    if history.layout != own.layout:
        text = f"the trainer's is {history.layout}, the manifest's {own.layout}"
        findings.append(Finding("observation", Kind.HISTORY_LAYOUT, text))
    if history.order != own.order:
        text = f"the trainer's is {history.order}, the manifest's {own.order}"
        findings.append(Finding("observation", Kind.HISTORY_REVERSED, text))
    return findings


def fit_length(manifest: Manifest, dim: int) -> tuple[Manifest, list[Finding]]:
    """The manifest with as many frames as the captured observations (dim,) hold, where that can be."""
    history = manifest.observation.history
    frame = sum(compile_term(manifest, i, term).dim for i, term in enumerate(manifest.observation.terms))
    by_term = any(term.history_length is not None for term in manifest.observation.terms)
    if dim == frame * history.length or by_term or dim % frame:
        return manifest, []
    text = f"the trainer stacks {dim // frame} frames, the manifest {history.length}"
    longer = msgspec.structs.replace(history, length=dim // frame)
    observation = msgspec.structs.replace(manifest.observation, history=longer)
    return msgspec.structs.replace(manifest, observation=observation), [
        Finding("observation", Kind.HISTORY_LENGTH, text)
    ]
