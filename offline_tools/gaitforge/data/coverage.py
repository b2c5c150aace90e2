"""Whether observations cover what the policy meets: ranges, and what is suspicious about them."""

from __future__ import annotations

import numpy as np

from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.places import find_places
from gaitforge.common import console

SATURATED = 0.2
"""A value that stands at its smallest or largest in this share of the samples is saturated."""

THIN_SAMPLES = 512
"""Fewer samples than this are a thin base for ranges."""

LATE_GROWTH = 0.05
"""Ranges that grow by more than this in the last quarter of the samples have not settled."""


def report(rows: Float32Array, manifest: Manifest | None = None) -> list[str]:
    """Print the range of every term and what is suspicious; returns the suspicions."""
    blocks = _terms(manifest, rows.shape[1])
    lines = [["values", "min", "mean", "max", "std"]]
    for name, part in blocks:
        chosen = rows[:, part]
        figures = (chosen.min(), chosen.mean(), chosen.max(), chosen.std())
        lines.append([name, *(f"{float(figure):.3f}" for figure in figures)])
    console.say(console.table(lines))
    suspicions = _suspicions(rows, blocks)
    for suspicion in suspicions:
        console.note(suspicion)
    return suspicions


def _suspicions(rows: Float32Array, blocks: list[tuple[str, list[int]]]) -> list[str]:
    found = []
    low, high = rows.min(axis=0), rows.max(axis=0)
    constant = high == low
    at_edge = np.maximum((rows == low).mean(axis=0), (rows == high).mean(axis=0))
    saturated = (at_edge > SATURATED) & ~constant & (len(rows) >= 10)
    for what, mask in (("never change", constant), ("stand at their limit often", saturated)):
        for name, part in blocks:
            count = int(mask[part].sum())
            if count:
                found.append(f"{name}: {count} of {len(part)} values {what}")
    if len(rows) < THIN_SAMPLES:
        found.append(f"coverage is thin: {len(rows)} samples, better {THIN_SAMPLES} and more")
    elif _late_growth(rows) > LATE_GROWTH:
        found.append(
            f"coverage is thin: ranges still grew by {100 * _late_growth(rows):.0f} % in the last quarter"
        )
    return found


def _late_growth(rows: Float32Array) -> float:
    """By how much the ranges' mean width grew in the last quarter of the samples, as a fraction."""
    early, full = np.ptp(rows[: len(rows) * 3 // 4], axis=0), np.ptp(rows, axis=0)
    moving = full > 0
    return float(1.0 - (early[moving] / full[moving]).mean()) if moving.any() else 0.0


def _terms(manifest: Manifest | None, dim: int) -> list[tuple[str, list[int]]]:
    """Name parts of the observation: the manifest's terms, or all values as one."""
    if manifest is None or not manifest.observation.terms:
        return [("all", list(range(dim)))]
    of_term = find_places(manifest).term
    return [
        (term.term, np.flatnonzero(of_term == index).tolist())
        for index, term in enumerate(manifest.observation.terms)
    ]
