"""Whether captured observations went through a normalizer, and which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitd.policy.manifest import Float32Array, Manifest, Normalization
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.places import find_places
from gaitd.policy.replay import StateTrace, allowed_error, known_steps
from gaitd.policy.replay import replay as replay_trace
from gaitforge.parity.capture import Capture
from gaitforge.parity.findings import Finding, Kind
from gaitforge.parity.terms import TermResult

SHARE = 0.6
"""So many of the values that differ have a factor and an offset of their own."""


@dataclass(frozen=True)
class Statistics:
    """(x - mean) / (std + epsilon)."""

    mean: Float32Array
    std: Float32Array
    epsilon: float = 0.0


def looks_normalized(terms: list[TermResult]) -> bool:
    """Tell whether values of several terms differ by factors and offsets that are all different."""
    values = [value for term in terms for value in term.differing if value.made is not None]
    affine = [
        value
        for value in values
        if value.made is not None
        and value.made.source == value.expected.source
        and not {Kind.LATE, Kind.FRAME, Kind.CLIPPED, Kind.NOISE} & set(value.kinds)
        and Kind.FACTOR in value.kinds
    ]
    moved = [value for value in affine if {Kind.OFFSET, Kind.DEFAULT_POSE} & set(value.kinds)]
    ratios = {round(value.made.factor / (value.expected.factor or 1.0), 2) for value in affine if value.made}
    touched = sum(any(value in affine for value in term.differing) for term in terms)
    return (
        touched >= 2
        and len(affine) >= SHARE * len(values)
        and len(moved) >= 0.3 * len(affine)
        and len(ratios) >= max(3, len(affine) // 4)
    )


def fitted_normalizer(captured: Float32Array, ours: Float32Array) -> Statistics:
    """Mean and std (dim,) that make the captured observations (k, dim) of ours; 0 and 1 if still."""
    center = ours.astype(np.float64) - ours.mean(axis=0, dtype=np.float64)
    rest = captured.astype(np.float64) - captured.mean(axis=0, dtype=np.float64)
    spread, shared = (center**2).sum(axis=0), (center * rest).sum(axis=0)
    moving = (spread > 1e-10) & (np.abs(shared) > 1e-12)
    factor = np.divide(shared, spread, out=np.ones_like(shared), where=moving)
    mean = ours.mean(axis=0) - captured.mean(axis=0) / factor
    mean, std = np.where(moving, mean, 0.0), np.where(moving, 1.0 / factor, 1.0)
    return Statistics(mean.astype(np.float32), std.astype(np.float32))


def denormalize(
    captured: Float32Array, normalization: Normalization, stats: tuple[Float32Array, Float32Array]
) -> Float32Array:
    """Undo the manifest's normalizer; what its clip took away stays lost."""
    mean, std = stats
    repeats = captured.shape[1] // len(mean)
    divisor = np.maximum(std.astype(np.float64), normalization.std_floor) + normalization.epsilon
    raw = captured * np.tile(divisor, repeats) + np.tile(mean, repeats)
    return np.asarray(raw, np.float32)


def before_normalizer(
    manifest: Manifest,
    stats: tuple[Float32Array, Float32Array] | None,
    capture: Capture,
    trace: StateTrace,
    tolerance: float,
) -> tuple[Float32Array, list[Finding]]:
    """The captured observations as they were before the manifest's normalizer."""
    captured = capture.observation
    if manifest.normalization is None or stats is None:
        return captured, []
    pipeline = PolicyPipeline(manifest, stats)
    if captured.shape[1] != pipeline.builder.dim:
        return captured, []
    if capture.meta.observation == "normalized":
        return denormalize(captured, manifest.normalization, stats), []
    ours = replay_trace(pipeline, trace, capture.action)
    normalized = np.stack([pipeline.normalize(row).copy() for row in ours])
    known = known_steps(manifest, capture.reset, with_clock=False)
    places = find_places(manifest)

    def equal(other: Float32Array) -> bool:
        return bool((np.abs(captured - other)[known] <= allowed_error(places, other[known], tolerance)).all())

    if not equal(ours) and equal(normalized):
        text = (
            "the captured observations are normalized already, though the capture says raw: gaitd would "
            "normalize twice. If they were taken after the normalizer, capture with normalized=True"
        )
        finding = Finding("capture", Kind.NORMALIZER_DOUBLED, text)
        return denormalize(captured, manifest.normalization, stats), [finding]
    return captured, []
