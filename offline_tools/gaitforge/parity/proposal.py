"""The change of the manifest that would make gaitd do what the trainer did, tried before it is proposed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from gaitd.bundle.read import Bundle
from gaitd.errors import InputError
from gaitd.policy.joints import default_position
from gaitd.policy.manifest import Float32Array, Manifest, Term
from gaitd.policy.terms import compile_term
from gaitforge.parity import recognise
from gaitforge.parity.capture import Capture
from gaitforge.parity.findings import Comparison, Kind
from gaitforge.parity.observation import ObservationResult, compare_observation
from gaitforge.parity.terms import TermResult, Value

DIGITS = 6


def propose(
    bundle: Bundle, capture: Capture, observed: ObservationResult, comparison: Comparison, tolerance: float
) -> None:
    """Put a change, and what would still differ with it, into the comparison."""
    manifest = bundle.manifest
    before = plain(manifest)
    after = copy.deepcopy(before)
    if observed.manifest is not manifest:
        after["observation"] = plain(observed.manifest)["observation"]
    if observed.layout is not None:
        _other_terms(after, observed.layout, manifest)
    else:
        manifest = observed.manifest
        _joints(after, observed.terms, manifest)
        for result in observed.terms:
            _term(after, result, manifest)
    stats = bundle.obs_stats()
    kinds = {finding.kind for finding in comparison.findings if finding.part == "model"}
    if observed.stats is not None:
        stats = (observed.stats.mean, observed.stats.std)
        after["normalization"] = {"epsilon": observed.stats.epsilon}
        comparison.stats = stats
    elif Kind.NORMALIZER_DOUBLED in kinds:
        after.pop("normalization", None)
        stats = None
    terms = [_without_defaults(term) for term in after["observation"]["terms"]]
    after["observation"]["terms"] = terms
    change = {key: value for key, value in after.items() if value != before.get(key)}
    change |= dict.fromkeys(before.keys() - after.keys())
    if not change:
        return
    comparison.change = change
    try:
        tried = msgspec.convert({**after, "files": {}}, Manifest)
        left = compare_observation(tried, stats, _as_captured(capture, observed, comparison), tolerance)
    except (msgspec.ValidationError, InputError) as error:
        comparison.change = {}
        comparison.notes.append(f"no change is proposed: {error}")
        return
    comparison.left_after_change = left.findings


def _as_captured(capture: Capture, observed: ObservationResult, comparison: Comparison) -> Capture:
    """The capture with the observations as the comparison came to take them."""
    doubled = any(f.part == "capture" and f.kind is Kind.NORMALIZER_DOUBLED for f in comparison.findings)
    if observed.stats is not None and any(
        f.part == "observation" and f.kind in (Kind.NORMALIZER_MISSING, Kind.NORMALIZER)
        for f in comparison.findings
    ):
        meta = msgspec.structs.replace(capture.meta, observation="normalized")
        return Capture(capture.path, meta, capture.arrays, capture.reset, capture.stats)
    if not doubled and capture.meta.observation == "raw":
        return capture
    meta = msgspec.structs.replace(capture.meta, observation="raw")
    arrays = {**capture.arrays, "observation": observed.observations}
    return Capture(capture.path, meta, arrays, capture.reset, capture.stats)


def plain(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain values, without what is at its default."""
    raw: dict[str, Any] = msgspec.to_builtins(manifest)
    for key in ("files", "provenance", "model", "golden"):
        raw.pop(key, None)
    observation = raw["observation"] = {k: v for k, v in raw["observation"].items() if v is not None}
    observation["terms"] = [_without_defaults(term) for term in observation["terms"]]
    return {key: value for key, value in raw.items() if value is not None}


def _without_defaults(term: Mapping[str, Any]) -> dict[str, Any]:
    default = msgspec.to_builtins(Term(term="joint_position"))
    return {key: value for key, value in term.items() if key == "term" or value != default[key]}


def _other_terms(after: dict[str, Any], layout: list[recognise.Run], manifest: Manifest) -> None:
    """The recognised terms in the trainer's order; each as the manifest has it, if it does."""
    own = {compile_term(manifest, i, t).source: i for i, t in enumerate(manifest.observation.terms)}
    names = {"angular_velocity": "base_angular_velocity", "linear_velocity": "base_linear_velocity"}
    terms = []
    for run in layout:
        if run.signal in own:
            terms.append(after["observation"]["terms"][own[run.signal]])
        elif run.signal:
            factors = [made.factor for made in run.made if made is not None]
            term = {"term": names.get(run.signal, run.signal)}
            scale = _round(float(np.median(factors)))
            terms.append(term if scale == 1.0 else {**term, "scale": scale})
    after["observation"]["terms"] = terms


def _joints(after: dict[str, Any], results: list[TermResult], manifest: Manifest) -> None:
    """One other order of the joints, if it explains every permuted joint term."""
    orders = [order for result in results if (order := _order(result, manifest)) is not None]
    if not orders or any(order != orders[0] for order in orders):
        return
    order = orders[0]
    after["joints"] = [manifest.joints[index] for index in order]
    if not _pose_moves_along(results, manifest, order):
        return
    for value in _joint_lists(after):
        value[:] = [value[index] for index in order]


def _order(result: TermResult, manifest: Manifest) -> list[int] | None:
    """Which joint stands at each place of a joint term; None when it is not permuted, or not told."""
    compiled = compile_term(manifest, result.term, manifest.observation.terms[result.term])
    if compiled.dim != len(manifest.joints):
        return None
    moved = [value for value in result.differing if Kind.PERMUTATION in value.kinds]
    order = list(range(compiled.dim))
    for value in moved:
        if value.made is None or value.made.source.signal != compiled.source:
            return None
        order[value.index] = value.made.source.value
    return order if moved and sorted(order) == list(range(len(order))) else None


def _pose_moves_along(results: list[TermResult], manifest: Manifest, order: list[int]) -> bool:
    """Whether the subtracted poses belong to the joints' names, not to their places."""
    pose = default_position(manifest)
    by_name = by_place = 0.0
    for result in results:
        for value in result.differing:
            made = value.made
            if made is not None and made.source.signal == "joint_position" and value.expected.subtracted:
                by_name += abs(made.subtracted - pose[order[value.index]])
                by_place += abs(made.subtracted - pose[value.index])
    return by_name < by_place


def _joint_lists(raw: Any, key: str = "") -> list[list[float]]:
    """Every list by joint of a plain manifest, but for those of the observation's terms."""
    found: list[list[float]] = []
    if isinstance(raw, dict):
        for name, value in raw.items():
            if name not in ("observation", "joints", "velocity_command", "clip"):
                found += _joint_lists(value, name)
    elif isinstance(raw, list) and key and raw and not isinstance(raw[0], str):
        found.append(raw)
    return found


def _term(after: dict[str, Any], result: TermResult, manifest: Manifest) -> None:
    """Scale, delay, clip and default pose of one term, as its values tell."""
    term = after["observation"]["terms"][result.term]
    compiled = compile_term(manifest, result.term, manifest.observation.terms[result.term])
    found = {kind for value in result.differing for kind in value.kinds}
    if found & {Kind.FACTOR, Kind.SIGN}:
        scale = compiled.scale.astype(float).copy()
        for value in result.differing:
            if value.kinds.keys() & {Kind.FACTOR, Kind.SIGN}:
                scale[value.index] = _scale_of(value, compiled.scale)
        rounded = [_round(one) for one in scale]
        same = max(rounded) - min(rounded) <= 2e-3 * max(map(abs, rounded))
        term["scale"] = _round(float(np.median(scale))) if same else rounded
    if found & {Kind.LATE, Kind.STEPS_LATE}:
        delays = [value.made.source.delay_steps for value in result.differing if value.made is not None]
        delay = int(np.median(delays))
        if delay >= 0:
            term["delay_steps"] = delay
    if Kind.CLIPPED in found:
        clips = [value.made.clip for value in result.differing if value.made is not None]
        given = [clip for clip in clips if clip is not None]
        term.pop("clip", None)
        lows = [low for low, _ in given if np.isfinite(low)]
        highs = [high for _, high in given if np.isfinite(high)]
        if lows or highs:
            # Where one end was never reached, a symmetric clip is the likeliest.
            low, high = (min(lows) if lows else -max(highs)), (max(highs) if highs else -min(lows))
            term["clip"] = [_round(low), _round(high)]
    if compiled.source == "joint_position":
        _pose(after, term, result, manifest, found)


def _pose(
    after: dict[str, Any], term: dict[str, Any], result: TermResult, manifest: Manifest, found: set[Kind]
) -> None:
    if not found & {Kind.DEFAULT_POSE, Kind.DEFAULT_POSE_MISSING, Kind.DEFAULT_POSE_TWICE}:
        return
    pose = default_position(manifest).astype(float)
    subtracted = pose * (term["term"] == "joint_position_relative")
    for value in result.differing:
        if value.made is not None:
            subtracted[value.index] = value.made.subtracted
    if np.abs(subtracted).max() < 3e-3:
        term["term"] = "joint_position"
    elif np.abs(subtracted - pose).max() < 3e-3:
        term["term"] = "joint_position_relative"
    else:
        term["term"] = "joint_position_relative"
        after["default_joint_position_rad"] = [round(float(x), 4) + 0.0 for x in subtracted]


def _scale_of(value: Value, scale: Float32Array) -> float:
    """The trainer's factor; of a value that stands still, what its constants tell."""
    if value.made is not None:
        return value.made.factor
    return -float(scale[value.index]) if Kind.SIGN in value.kinds else float(scale[value.index])


def _round(value: float) -> float:
    """Rounded to a number that a person may have written, if one is that near; else to some digits."""
    for digits in (2, 3, 4):
        near = float(f"{value:.{digits}g}")
        if abs(near - value) <= 5e-4 * abs(value):
            return near
    return float(f"{value:.{DIGITS}g}")
