"""The observation's part of a comparison: the captured one against that of gaitd's own pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.places import find_places
from gaitd.policy.replay import allowed_error, known_steps
from gaitd.policy.replay import replay as replay_trace
from gaitd.policy.sources import JOINT_TERMS, term_field
from gaitd.policy.terms import compile_term
from gaitforge.parity import recognise
from gaitforge.parity.capture import Capture
from gaitforge.parity.findings import Finding, Kind, PartResult
from gaitforge.parity.history import arrangements, fit_length, history_findings
from gaitforge.parity.normalizers import Statistics, before_normalizer, fitted_normalizer, looks_normalized
from gaitforge.parity.signals import Signals, collect
from gaitforge.parity.terms import TermComparer, TermResult, findings_of

MIN_STEPS = 24
"""Fewer steps tell nothing reliably."""


@dataclass
class ObservationResult:
    """The observation's part of a comparison, and what a proposal needs."""

    parts: list[PartResult]
    findings: list[Finding]
    terms: list[TermResult]
    """Those that differ."""
    observations: Float32Array
    """(steps, dim) the captured ones before normalization, as far as that can be told."""
    manifest: Manifest
    """With the history that the trainer was found to use."""
    layout: list[recognise.Run] | None = None
    """What the trainer's terms are, where they are others."""
    stats: Statistics | None = None
    """The normalizer that the observations show and the manifest lacks."""


def compare_observation(
    manifest: Manifest,
    stats: tuple[Float32Array, Float32Array] | None,
    capture: Capture,
    tolerance: float,
    captured: Float32Array | None = None,
) -> ObservationResult:
    """Compare the captured observations with those that the manifest makes of the captured states.

    ``captured``: the observations before normalization, where they are known already.
    """
    trace = capture.trace(manifest)
    findings: list[Finding] = []
    if captured is None:
        captured, findings = before_normalizer(manifest, stats, capture, trace, tolerance)
    manifest, length_findings = fit_length(manifest, captured.shape[1])
    findings += length_findings
    pipeline = PolicyPipeline(manifest, None)
    oldest = max(term.delay_steps for term in manifest.observation.terms) + 2
    signals = collect(manifest, pipeline, trace, capture.action, oldest)
    if len(signals.steps) < MIN_STEPS // 2:
        raise InputError(
            f"{capture.path}: no {MIN_STEPS} steps of one episode; capture some seconds of walking"
        )
    comparer = TermComparer(manifest, signals, tolerance)
    if captured.shape[1] != pipeline.builder.dim:
        layout = recognise.runs(comparer, captured[signals.steps].astype(np.float64), manifest)
        text = (
            f"the trainer observes {captured.shape[1]} values, the manifest makes {pipeline.builder.dim}; "
            f"recognised: {recognise.words(layout)}"
        )
        findings.append(Finding("observation", Kind.SIZE, text))
        return ObservationResult([], findings, [], captured, manifest, layout)
    ours = replay_trace(pipeline, trace, capture.action)
    known = known_steps(manifest, capture.reset, with_clock=False)
    if not known.any():
        raise InputError(f"{capture.path}: its history or clock begins before it: capture from a reset on")
    return _compare_terms(manifest, capture, captured, ours, known, signals, comparer, findings, tolerance)


def _compare_terms(
    manifest: Manifest,
    capture: Capture,
    captured: Float32Array,
    ours: Float32Array,
    known: np.ndarray,
    signals: Signals,
    comparer: TermComparer,
    findings: list[Finding],
    tolerance: float,
) -> ObservationResult:
    own = find_places(manifest)
    allowed = allowed_error(own, ours[known], tolerance)
    errors = np.abs(captured - ours)
    errors[~known] = 0.0
    judged = _judged(manifest, capture)
    theirs_at, found_manifest = own, manifest
    errors[:, ~np.array(judged)[own.term]] = 0.0
    if (errors > allowed).any():
        likeliest = arrangements(manifest, captured, signals.steps)
        if likeliest and likeliest[0].history != manifest.observation.history:
            theirs_at = likeliest[0].places
            observation = msgspec.structs.replace(manifest.observation, history=likeliest[0].history)
            found_manifest = msgspec.structs.replace(manifest, observation=observation)
            findings += history_findings(manifest, likeliest[0].history)
    parts, results = [], []
    rows = signals.steps
    for index, term in enumerate(manifest.observation.terms):
        dim = compile_term(manifest, index, term).dim
        columns = own.term == index
        if not judged[index]:
            parts.append(PartResult(term.term, float("nan"), float(allowed[columns].max())))
            text = f"the capture has no {term_field(term.term) or 'reset at its first step'}"
            findings.append(Finding("observation", Kind.NOT_JUDGED, text, index))
            continue
        mine = [own.column(index, value) for value in range(dim)]
        his = [theirs_at.column(index, value) for value in range(dim)]
        result = comparer.compare(
            index,
            captured[rows][:, his].astype(np.float64),
            ours[rows][:, mine].astype(np.float64),
            allowed[mine],
        )
        still = tuple(_labels(manifest, term.term, result.still))
        idle = [value for value in result.still if not ours[rows][:, mine[value]].any()]
        idle = [value for value in idle if all(value != other.index for other in result.differing)]
        if idle:
            text = "it is 0 in the whole capture: its factor and sign are not proven; capture it in motion"
            findings.append(
                Finding(
                    "observation", Kind.NOT_JUDGED, text, index, tuple(_labels(manifest, term.term, idle))
                )
            )
        parts.append(
            PartResult(term.term, float(errors[:, columns].max()), float(allowed[columns].max()), still)
        )
        if result.differing:
            results.append(result)
    observed = ObservationResult(parts, findings, results, captured, found_manifest)
    same = [own.column(*place) for place in zip(theirs_at.term, theirs_at.value, theirs_at.age, strict=True)]
    _name_differences(manifest, signals, observed, (captured[rows], ours[rows][:, same]))
    if any(value.is_of_another_term for result in results for value in result.differing):
        _compare_reordered(manifest, capture, captured, observed, tolerance)
    named = any(finding.kind is not Kind.NOT_JUDGED for finding in observed.findings)
    if not named and (errors > allowed).any():
        _name_beginning(capture, observed, errors, allowed, signals)
    return observed


def _name_differences(
    manifest: Manifest,
    signals: Signals,
    observed: ObservationResult,
    pairs: tuple[Float32Array, Float32Array],
) -> None:
    """Findings of the terms that differ: of each by itself, unless all tell of one cause.

    ``pairs``: captured and own observations (k, dim) of the signals' steps, value by value the same.
    """
    if looks_normalized(observed.terms):
        text = "values of many terms have a factor and an offset of their own, as a normalizer gives them"
        kind = Kind.NORMALIZER if manifest.normalization is not None else Kind.NORMALIZER_MISSING
        observed.findings.append(Finding("observation", kind, text))
        observed.stats = fitted_normalizer(*pairs)
        observed.terms = []
        return
    for result in observed.terms:
        dim = compile_term(manifest, result.term, manifest.observation.terms[result.term]).dim
        observed.findings += findings_of(manifest, result, dim)


def _compare_reordered(
    manifest: Manifest,
    capture: Capture,
    captured: Float32Array,
    observed: ObservationResult,
    tolerance: float,
) -> None:
    """Where the trainer has the terms in another order, say so, and compare them in that order."""
    history = observed.manifest.observation.history
    delays = max(term.delay_steps for term in manifest.observation.terms) + 2
    major = history.layout == "term_major"
    pipeline = PolicyPipeline(observed.manifest, None)
    oldest = delays + (history.length if major else 0)
    signals = collect(observed.manifest, pipeline, capture.trace(manifest), capture.action, oldest)
    if len(signals.steps) < MIN_STEPS // 2 or any(t.history_length for t in manifest.observation.terms):
        return
    frame = captured.shape[1] // history.length
    newest = slice(0, frame) if history.order == "newest_first" else slice(captured.shape[1] - frame, None)
    columns = captured[signals.steps][:, slice(None) if major else newest].astype(np.float64)
    comparer = TermComparer(observed.manifest, signals, tolerance)
    layout = recognise.runs(comparer, columns, manifest)
    order = recognise.other_order(recognise.once(layout, history.length) if major else layout, manifest)
    if order is None:
        return
    terms = manifest.observation.terms
    reordered = msgspec.structs.replace(
        observed.manifest,
        observation=msgspec.structs.replace(
            observed.manifest.observation, terms=[terms[index] for index in order]
        ),
    )
    text = f"the trainer's terms are in this order: {', '.join(terms[index].term for index in order)}"
    moved = [index for place, index in enumerate(order) if index != place]
    again = compare_observation(reordered, None, capture, tolerance, captured)
    kept = [finding for finding in observed.findings if finding.term is None]
    kept += [Finding("observation", Kind.PERMUTATION, text, index) for index in sorted(moved)]
    for finding in again.findings:
        term = None if finding.term is None else order[finding.term]
        kept.append(replace(finding, term=term))
    observed.findings[:] = kept
    observed.terms, observed.manifest = again.terms, again.manifest


def _name_beginning(
    capture: Capture, observed: ObservationResult, errors: np.ndarray, allowed: Float32Array, signals: Signals
) -> None:
    """The newest frames are equal, but not all is: the first steps of an episode, or an older frame."""
    manifest = observed.manifest
    history = manifest.observation.history
    fill = "zeros" if history.fill == "first_frame" else "first_frame"
    observation = msgspec.structs.replace(
        manifest.observation, history=msgspec.structs.replace(history, fill=fill)
    )
    other = msgspec.structs.replace(manifest, observation=observation)
    made = replay_trace(PolicyPipeline(other, None), capture.trace(manifest), capture.action)
    known = known_steps(manifest, capture.reset, with_clock=False)
    if (np.abs(made - observed.observations) <= allowed)[known].all():
        text = f"before the first step of an episode the trainer has {fill}, gaitd {history.fill}"
        observed.findings.append(Finding("observation", Kind.HISTORY_FILL, text))
        observed.manifest = other
        return
    places = find_places(manifest)
    step, place = np.unravel_index(int((errors / allowed).argmax()), errors.shape)
    term = int(places.term[place])
    when = "at the beginning of an episode" if step not in signals.steps else "in an older frame"
    text = f"{when} (step {step}, {places.age[place]} frames old) it differs by {errors[step, place]:.3g}"
    observed.findings.append(Finding("observation", Kind.UNEXPLAINED, text, term))


def _judged(manifest: Manifest, capture: Capture) -> list[bool]:
    """Whether the capture has what each term is made of; the phase of a clock is known from a reset on."""
    fields = [term_field(term.term) for term in manifest.observation.terms]
    there = [name is None or name in capture.arrays for name in fields]
    clocks = [term.term == "clock_phase" for term in manifest.observation.terms]
    return [has and (bool(capture.reset[0]) or not clock) for has, clock in zip(there, clocks, strict=True)]


def _labels(manifest: Manifest, term: str, values: list[int]) -> list[str]:
    return [manifest.joints[value] if term in JOINT_TERMS else f"[{value}]" for value in values]
