"""The observation, term by term: what the trainer's values are made of, against what the manifest says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gaitd.policy.joints import default_position
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.sources import JOINT_TERMS
from gaitd.policy.terms import compile_term
from gaitforge.parity.explain import Expected, Explainer, Explanation
from gaitforge.parity.findings import Finding, Kind
from gaitforge.parity.signals import FRAMES, MOVING, Float64Array, Signals, Source

FACTOR_TOLERANCE = 3e-3
"""Factors closer than this, relatively, are the same."""
POSE_TOLERANCE_RAD = 3e-3
SHOWN = 4
"""Joints that a text spells out."""


@dataclass
class Value:
    """One value of a term that differs."""

    index: int
    expected: Expected
    made: Explanation | None
    kinds: dict[Kind, str] = field(default_factory=dict)
    """How it differs, with the figures."""

    @property
    def is_of_another_term(self) -> bool:
        """Whether the trainer has another signal here."""
        return self.made is not None and self.made.source.signal != self.expected.source.signal


@dataclass
class TermResult:
    """The values of one term that differ, and those that did not move."""

    term: int
    differing: list[Value] = field(default_factory=list)
    still: list[int] = field(default_factory=list)


class TermComparer:
    """Compares the newest frames of all terms over the steps of ``signals``."""

    def __init__(self, manifest: Manifest, signals: Signals, tolerance: float) -> None:
        self._manifest, self._signals = manifest, signals
        self._explainer = Explainer(signals, tolerance)
        self._terms = [compile_term(manifest, i, term) for i, term in enumerate(manifest.observation.terms)]
        self._pose = default_position(manifest).astype(float)

    def compare(
        self, term: int, theirs: Float64Array, ours: Float64Array, allowed: Float32Array
    ) -> TermResult:
        """Compare the values (k, dim) of a term, each (k,) over the signals' steps."""
        result = TermResult(term)
        for index in range(theirs.shape[1]):
            expected = self._expected(term, index)
            signal = self._signals.index(expected.source)
            if signal >= 0 and self._signals.std[signal] <= MOVING:
                result.still.append(index)
            if np.abs(theirs[:, index] - ours[:, index]).max() <= allowed[index]:
                continue
            value = Value(index, expected, None)
            if theirs[:, index].std() > MOVING:
                value.made = self._explainer.explain(theirs[:, index], expected, self._bounds(term))
            result.differing.append(value)
        self._explain_by_common_bounds(result, theirs)
        for value in result.differing:
            if theirs[:, value.index].std() > MOVING:
                value.kinds = self._kinds(term, value)
        self._explain_still(term, result, theirs, ours)
        return result

    def explain(self, column: Float64Array) -> Explanation | None:
        """How a value that no term is expected at was made."""
        return self._explainer.recognise(column)

    def _bounds(self, term: int) -> tuple[float, float]:
        clip = self._manifest.observation.clip or np.inf
        return max(self._terms[term].low, -clip), min(self._terms[term].high, clip)

    def _explain_by_common_bounds(self, result: TermResult, theirs: Float64Array) -> None:
        """A bound that is seen in one value of the term may hold others in a few steps alone."""
        clips = [value.made.clip for value in result.differing if value.made is not None and value.made.clip]
        low = max((low for low, _ in clips if np.isfinite(low)), default=-np.inf)
        high = min((high for _, high in clips if np.isfinite(high)), default=np.inf)
        for value in result.differing:
            if clips and value.made is not None and value.made.noise:
                value.made = self._explainer.explain(theirs[:, value.index], value.expected, (low, high))

    def _expected(self, term: int, index: int) -> Expected:
        compiled = self._terms[term]
        source = Source(compiled.source, index, compiled.delay_steps)
        return Expected(source, float(compiled.scale[index]), float(compiled.offset[index]))

    def _kinds(self, term: int, value: Value) -> dict[Kind, str]:
        made, expected = value.made, value.expected
        kinds: dict[Kind, str] = {}
        if made is None:
            return {Kind.UNEXPLAINED: "made of nothing that was captured, in no way that is known"}
        source = made.source
        if source.signal != expected.source.signal or source.value != expected.source.value:
            kinds[Kind.PERMUTATION] = self._name(source)
        if source.signal != expected.source.signal:
            # Another term stands here: what it should be is said where the manifest has it.
            beside = [i for i, other in enumerate(self._terms) if other.source == source.signal]
            if not beside:
                return kinds
            expected = self._expected(beside[0], source.value)
        if source.frame != expected.source.frame:
            kinds[Kind.FRAME] = f"the trainer's is in {FRAMES[source.frame]}"
        late = expected.source.delay_steps - source.delay_steps
        if late:
            kind = Kind.LATE if abs(late) == 1 else Kind.STEPS_LATE
            who, steps = ("gaitd's" if late > 0 else "the trainer's"), abs(late)
            kinds[kind] = f"{who} is {steps} step{'s' if steps > 1 else ''} late"
        kinds |= self._factor_kinds(made, expected)
        kinds |= self._offset_kinds(made, expected, value.expected.source.value)
        kinds |= self._clip_kinds(term, value)
        if made.noise and not kinds:
            kinds[Kind.NOISE] = f"standard deviation {made.noise:.2g}"
        return kinds

    def _factor_kinds(self, made: Explanation, expected: Expected) -> dict[Kind, str]:
        if expected.factor == 0.0:
            return {Kind.FACTOR: f"the trainer's is {made.factor:.6g}, the manifest's 0"}
        ratio = made.factor / expected.factor
        kinds = {}
        if abs(abs(ratio) - 1.0) > FACTOR_TOLERANCE:
            kinds[Kind.FACTOR] = f"the trainer's is {made.factor:.6g}, the manifest's {expected.factor:.6g}"
        if ratio < 0:
            kinds[Kind.SIGN] = "the trainer's is the negative"
        return kinds

    def _offset_kinds(self, made: Explanation, expected: Expected, value: int) -> dict[Kind, str]:
        """Which constant the trainer subtracted, in the signal's unit."""
        size = POSE_TOLERANCE_RAD + SIGMA_NOISE * made.noise / max(abs(made.factor), 1e-9)
        if made.source.signal != "joint_position":
            if (
                made.source.signal == expected.source.signal
                and abs(made.subtracted - expected.subtracted) > size
            ):
                return {Kind.OFFSET: f"the trainer subtracts {made.subtracted:.4g}"}
            return {}
        own = self._pose[made.source.value]
        here = self._pose[value] if expected.source.signal == "joint_position" else own
        relative = expected.source.signal != "joint_position" or expected.subtracted != 0.0
        for pose in (own, here):
            if abs(made.subtracted - (pose if relative else 0.0)) <= size:
                return {}
        text = f"the trainer subtracts {made.subtracted:.4g} rad, gaitd {expected.subtracted:.4g}"
        if any(abs(made.subtracted - (2 * pose if relative else pose)) <= size for pose in (own, here)):
            return {Kind.DEFAULT_POSE_MISSING: text}
        if relative and min(abs(made.subtracted), abs(made.subtracted - own / 2)) <= size:
            return {Kind.DEFAULT_POSE_TWICE: text}
        return {Kind.DEFAULT_POSE: text}

    def _clip_kinds(self, term: int, value: Value) -> dict[Kind, str]:
        made = value.made
        assert made is not None
        if not made.source.clipped and value.expected.source.clipped:
            return {Kind.CLIPPED: "gaitd clips what goes into it, the trainer does not"}
        low, high = self._bounds(term)
        bounds = made.clip or (-np.inf, np.inf)
        for side, theirs, mine, free in (
            (-1, bounds[0], low, made.reach[0]),
            (1, bounds[1], high, made.reach[1]),
        ):
            # A bound that the trainer's value did not reach is the same as none.
            beyond = np.isfinite(theirs) or side * (free - mine) > 1e-4 * max(1.0, abs(free))
            near = np.isfinite(theirs) and abs(theirs - mine) <= 1e-4 * max(1.0, abs(theirs))
            if beyond and not (near or theirs == mine) and not made.noise:
                span = "does not clip" if made.clip is None else f"clips to {bounds[0]:.4g}..{bounds[1]:.4g}"
                return {Kind.CLIPPED: f"the trainer {span}, gaitd to {low:.4g}..{high:.4g}"}
        return {}

    def _explain_still(self, term: int, result: TermResult, theirs: Float64Array, ours: Float64Array) -> None:
        """Values of the trainer that stand still: of what explains one number, the simplest is taken."""
        still = [value for value in result.differing if not value.kinds]
        if not still:
            return
        found = {kind for value in result.differing for kind in value.kinds}
        t, g = (np.array([rows[0, value.index] for value in still]) for rows in (theirs, ours))
        if len(still) > 1 and np.allclose(sorted(t), sorted(g), atol=1e-5) and Kind.SIGN not in found:
            for value in still:
                value.kinds = {Kind.PERMUTATION: "the same constant values in another order"}
            return
        for value, their, our in zip(still, t, g, strict=True):
            clips = [bound for other in result.differing if other.made for bound in other.made.clip or ()]
            motion = float(np.ptp(ours[:, value.index]))
            choices = self._still_choices(term, value, float(their), float(our), motion, clips)
            known = [kind for kind in choices if kind in found]
            kind = (known or list(choices))[0]
            value.kinds = {kind: choices[kind]}

    def _still_choices(
        self, term: int, value: Value, their: float, our: float, motion: float, clips: list[float]
    ) -> dict[Kind, str]:
        compiled, choices = self._terms[term], {}
        text = f"the trainer's stands still at {their:.6g}, gaitd's at {our:.6g}"
        if motion > 1e-5 or any(abs(their - bound) < 1e-5 for bound in clips):
            if compiled.source == "projected_gravity" and value.expected.factor:
                world = value.expected.factor * (0.0, 0.0, -1.0)[value.index]
                if abs(their - world) < 1e-4:
                    return {Kind.FRAME: f"the trainer's is in {FRAMES['world']}"}
            for bound in (*self._bounds(term), *clips):
                if abs(their - bound) < 1e-5:
                    return {Kind.CLIPPED: text}
            return {Kind.UNEXPLAINED: f"the trainer's stands still at {their:.6g}, gaitd's moves"}
        if compiled.source == "joint_position" and value.expected.factor:
            pose = self._pose[value.index] * value.expected.factor
            if abs(our - their - pose) < POSE_TOLERANCE_RAD:
                choices[Kind.DEFAULT_POSE_MISSING] = text
            if min(abs(their - our - pose), abs(their - our - pose / 2)) < POSE_TOLERANCE_RAD:
                choices[Kind.DEFAULT_POSE_TWICE] = text
        if abs(their + our) < 1e-5 * max(1.0, abs(our)):
            choices[Kind.SIGN] = text
        if their and our:
            choices[Kind.FACTOR] = text
        choices[Kind.OFFSET] = text
        return choices

    def _name(self, source: Source) -> str:
        joints = self._manifest.joints
        many = source.signal.startswith("joint_") or source.signal == "last_action"
        which = f"joint {joints[source.value]!r}" if many else f"value {source.value}"
        return f"the trainer has {source.signal} of {which} here"


SIGMA_NOISE = 0.5
"""With noise, a subtracted constant is known to about this share of its standard deviation."""


def findings_of(manifest: Manifest, result: TermResult, dim: int) -> list[Finding]:
    """The term's differences, one for each kind."""
    name = manifest.observation.terms[result.term].term
    by_kind: dict[Kind, list[tuple[Value, str]]] = defaultdict(list)
    for value in result.differing:
        for kind, text in value.kinds.items():
            by_kind[kind].append((value, text))
    findings = []
    for kind, found in by_kind.items():
        labels = [_label(manifest, name, value.index) for value, _ in found]
        texts = [text for _, text in found]
        values = () if len(found) == dim else tuple(labels)
        findings.append(Finding("observation", kind, _joined(labels, texts), result.term, values))
    return findings


def _label(manifest: Manifest, term: str, index: int) -> str:
    return manifest.joints[index] if term in JOINT_TERMS else f"[{index}]"


def _joined(labels: Sequence[str], texts: Sequence[str]) -> str:
    """One text where all are the same, else each with its label."""
    if len(set(texts)) == 1:
        return texts[0]
    shown = "; ".join(f"{label}: {text}" for label, text in zip(labels[:SHOWN], texts[:SHOWN], strict=True))
    return shown + (f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
