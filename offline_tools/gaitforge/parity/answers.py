"""The model's answers against the captured actions, and the joint targets that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.parity.explain import Expected, Explainer, Explanation
from gaitforge.parity.findings import Finding, Kind
from gaitforge.parity.signals import MOVING, Float64Array, Signals, Source

Prepare = Callable[[Float32Array], Float32Array]
"""Observations (steps, dim) before normalization to the model's inputs."""

EPSILONS = (0.0, 1e-8, 1e-5, 1e-2)
"""Added to the standard deviation by the usual normalizers."""


@dataclass(frozen=True)
class Answers:
    """What the model says to the captured observations."""

    error: float
    allowed: float
    findings: list[Finding]
    stats: tuple[Float32Array, Float32Array] | None = None
    epsilon: float = 0.0
    """The normalizer that the manifest lacks."""


class ModelComparer:
    """Runs the bundle's float model on captured observations."""

    def __init__(self, bundle: Bundle, backend: Backend, reset: np.ndarray, tolerance: float) -> None:
        self._bundle, self._backend, self._tolerance = bundle, backend, tolerance
        recurrent = bundle.manifest.remembers
        # A hidden state is known from the beginning of an episode on.
        self._first = int(np.argmax(reset)) if recurrent and not reset[0] else 0
        self.judged = not recurrent or bool(reset.any())
        self._reset = reset[self._first :]

    def compare(
        self,
        observations: Float32Array,
        actions: Float32Array,
        captured_stats: tuple[Float32Array, Float32Array] | None,
    ) -> Answers:
        """Compare, with the observations (steps, dim) before normalization and the raw actions (steps, n)."""
        rows, recorded = observations[self._first :], actions[self._first :].astype(np.float64)
        allowed = max(
            self._tolerance * max(1.0, float(np.abs(recorded).max())),
            self._bundle.manifest.golden.onnx_tolerance,
        )
        pipeline = self._bundle.pipeline()

        def normalize(given: Float32Array) -> Float32Array:
            return np.stack([pipeline.normalize(row).copy() for row in given])

        def error(prepare: Prepare) -> float:
            return float(np.abs(self._answers(prepare(rows)) - recorded).max())

        own = self._answers(normalize(rows))
        largest = float(np.abs(own - recorded).max())
        if largest <= allowed:
            return Answers(largest, allowed, [])
        normalization = self._bundle.manifest.normalization
        if normalization is not None:
            for kind, text, prepare in self._other_normalizers(normalize, captured_stats):
                if error(prepare) <= allowed:
                    return Answers(largest, allowed, [Finding("model", kind, text)])
        elif captured_stats is not None:
            mean, std = captured_stats
            for epsilon in EPSILONS:
                divisor = np.maximum(std + epsilon, 1e-12)
                if error(partial(_divided, mean=mean, divisor=divisor)) <= allowed:
                    text = f"the captured actions need the trainer's normalizer (epsilon {epsilon:g})"
                    finding = Finding("model", Kind.NORMALIZER_MISSING, text)
                    return Answers(largest, allowed, [finding], captured_stats, epsilon)
        findings = self._outputs(own, recorded, allowed)
        unexplained = [finding for finding in findings if finding.kind is Kind.UNEXPLAINED]
        joints = self._bundle.manifest.joints
        if unexplained and len(unexplained[0].values or joints) > len(joints) / 3:
            findings = unexplained
        if normalization is None and findings == unexplained:
            text = (
                "nothing done to the model's answers gives the captured actions: most likely the trainer "
                "normalizes observations and the manifest has no normalization; else the capture is of "
                "another checkpoint"
            )
            findings = [Finding("model", Kind.NORMALIZER_MISSING, text)]
        return Answers(largest, allowed, findings)

    def _answers(self, inputs: Float32Array) -> Float64Array:
        answers = np.empty((len(inputs), len(self._bundle.manifest.joints)))
        self._backend.reset()
        for index, row in enumerate(inputs):
            if self._reset[index]:
                self._backend.reset()
            answers[index] = self._backend.infer(row)
            self._backend.commit()
        self._backend.reset()
        return answers

    def _other_normalizers(
        self, normalize: Prepare, captured: tuple[Float32Array, Float32Array] | None
    ) -> Iterator[tuple[Kind, str, Prepare]]:
        text = "without normalization the model answers as captured: its normalizer is in it"
        yield Kind.NORMALIZER_DOUBLED, text, lambda given: given
        text = "the trainer normalizes once more than gaitd"
        yield Kind.NORMALIZER_MISSING, text, lambda given: normalize(normalize(given))
        stats = self._bundle.obs_stats()
        assert stats is not None
        mean, std = stats
        if mean.size == self._bundle.pipeline().builder.dim and (std > 0).all():
            text = "obs_stats.npz holds the variance where the standard deviation belongs"
            yield Kind.NORMALIZER, text, partial(_divided, mean=mean, divisor=np.sqrt(std))
        if captured is not None:
            for epsilon in EPSILONS:
                divisor = np.maximum(captured[1] + epsilon, 1e-12)
                text = f"obs_stats.npz is not the trainer's normalizer (epsilon {epsilon:g})"
                yield Kind.NORMALIZER, text, partial(_divided, mean=captured[0], divisor=divisor)

    def _outputs(self, own: Float64Array, actions: Float64Array, allowed: float) -> list[Finding]:
        """Explain the captured actions by what may be done to the model's answers."""
        count = own.shape[1]
        signals = _signals({"action": own, "squashed": np.tanh(own)})
        explainer = Explainer(signals, self._tolerance)
        joints = self._bundle.manifest.joints
        findings: dict[Kind, list[tuple[str, str]]] = {}
        for index in range(count):
            column = actions[signals.steps, index]
            if np.abs(column - own[signals.steps, index]).max() <= allowed:
                continue
            made = None
            if column.std() > MOVING:
                made = explainer.explain(column, Expected(Source("action", index), 1.0, 0.0))
            if made is not None and made.noise and made.source != Source("action", index):
                made = None  # joints move alike: a likeness to another's is no explanation
            for kind, text in _output_kinds(made, index, joints).items():
                findings.setdefault(kind, []).append((joints[index], text))
        if not findings:
            findings[Kind.UNEXPLAINED] = [(joints[0], "it differs at the beginning of an episode alone")]
        return _gathered("model", findings, count)


def compare_targets(
    manifest: Manifest,
    pipeline: PolicyPipeline,
    targets: Float32Array,
    actions: Float32Array,
    tolerance: float,
) -> tuple[float, float, list[Finding]]:
    """Compare captured joint targets (steps, n) with those of gaitd: error [rad], allowed, differences."""
    known = np.isfinite(targets).all(axis=1)
    clipped = np.stack([pipeline.mapper.clip(row) for row in actions])
    own = np.stack([pipeline.mapper.target(row) for row in clipped]).astype(np.float64)
    error = np.abs(targets[known] - own[known])
    largest = float(error.max(initial=0.0))
    allowed = tolerance * max(1.0, float(np.abs(own).max()))
    if not known.any() or largest <= allowed:
        return (largest if known.any() else float("nan")), allowed, []
    # Rows that are not known would be seen as a jump: leave them out of every signal.
    signals = _signals(
        {"action": clipped[known].astype(np.float64), "unclipped": actions[known].astype(np.float64)}
    )
    explainer = Explainer(signals, tolerance)
    zero = np.zeros(len(manifest.joints), np.float32)
    offset = pipeline.mapper.target(zero).astype(np.float64)
    scale = pipeline.mapper.target(zero + 1.0).astype(np.float64) - offset
    found: dict[Kind, list[tuple[str, str]]] = {}
    for index, joint in enumerate(manifest.joints):
        column = targets[known][signals.steps, index].astype(np.float64)
        if error[signals.steps, index].max() <= allowed:
            continue
        factor = float(scale[index]) or 1.0
        expected = Expected(Source("action", index), factor, -float(offset[index]) / factor)
        made = explainer.explain(column, expected) if column.std() > MOVING else None
        for kind, text in _target_kinds(made, expected, manifest.joints).items():
            found.setdefault(kind, []).append((joint, text))
    if not found:
        found[Kind.UNEXPLAINED] = [(manifest.joints[0], "the first or last steps differ")]
    return largest, allowed, _gathered("target", found, len(manifest.joints))


def _signals(arrays: dict[str, Float64Array]) -> Signals:
    """Answers at delays of -1, 0 and 1 steps."""
    length = len(next(iter(arrays.values())))
    steps = np.arange(1, length - 1)
    sources, columns = [], []
    for name, array in arrays.items():
        for delay in (0, 1, -1):
            sources += [Source(name, value, delay) for value in range(array.shape[1])]
            columns.append(array[steps - delay])
    return Signals(steps, sources, np.concatenate(columns, axis=1))


def _output_kinds(made: Explanation | None, index: int, joints: list[str]) -> dict[Kind, str]:
    if made is None:
        return {Kind.UNEXPLAINED: "not made of the model's answers in any way that is known"}
    kinds = _common(made, Expected(Source("action", index), 1.0, 0.0), joints)
    if made.source.signal == "squashed":
        kinds[Kind.SQUASHED] = "the captured actions are tanh of the model's answers"
    if abs(made.factor - 1.0) > 3e-3 and abs(made.factor + 1.0) > 3e-3:
        kinds[Kind.FACTOR] = f"captured actions are the model's times {made.factor:.4g}"
    if abs(made.subtracted) > 3e-3 + made.noise:
        kinds[Kind.OFFSET] = f"captured actions are the model's less {made.subtracted:.4g}"
    if made.noise and not kinds:
        kinds[Kind.NOISE] = f"standard deviation {made.noise:.2g}: recorded with exploration?"
    return kinds


def _target_kinds(made: Explanation | None, expected: Expected, joints: list[str]) -> dict[Kind, str]:
    if made is None:
        return {Kind.UNEXPLAINED: "not made of the captured actions in any way that is known"}
    kinds = _common(made, expected, joints)
    if made.source.signal == "unclipped":
        kinds[Kind.CLIPPED] = "gaitd clips the action, the trainer does not"
    if abs(abs(made.factor / expected.factor) - 1.0) > 3e-3:
        kinds[Kind.FACTOR] = f"the trainer's scale is {made.factor:.6g}, the manifest's {expected.factor:.6g}"
    theirs, ours = -made.factor * made.subtracted, -expected.factor * expected.subtracted
    if abs(theirs - ours) > 3e-3 + made.noise:
        kind = Kind.DEFAULT_POSE
        if abs(ours) < 1e-6:
            kind = Kind.DEFAULT_POSE_MISSING
        elif min(abs(theirs), abs(theirs - ours / 2)) < 3e-3:
            kind = Kind.DEFAULT_POSE_TWICE
        kinds[kind] = f"the trainer adds {theirs:.4g} rad, gaitd {ours:.4g}"
    if made.noise and not kinds:
        kinds[Kind.NOISE] = f"standard deviation {made.noise:.2g}"
    return kinds


def _common(made: Explanation, expected: Expected, joints: list[str]) -> dict[Kind, str]:
    kinds = {}
    if made.source.value != expected.source.value:
        kinds[Kind.PERMUTATION] = f"it is the model's value for {joints[made.source.value]!r}"
    if made.source.delay_steps != 0:
        who = "captured" if made.source.delay_steps > 0 else "gaitd's"
        kinds[Kind.LATE] = f"the {who} value is one step late"
    if made.factor / expected.factor < 0:
        kinds[Kind.SIGN] = "the captured value is the negative"
    if made.clip is not None:
        kinds[Kind.CLIPPED] = f"the captured value is held to {made.clip[0]:.4g}..{made.clip[1]:.4g}"
    return kinds


def _gathered(part: str, found: dict[Kind, list[tuple[str, str]]], count: int) -> list[Finding]:
    findings = []
    for kind, entries in found.items():
        texts = {text for _, text in entries}
        text = (
            texts.pop() if len(texts) == 1 else "; ".join(f"{joint}: {text}" for joint, text in entries[:4])
        )
        joints = () if len(entries) == count else tuple(joint for joint, _ in entries)
        findings.append(Finding(part, kind, text, values=joints))
    return findings


def _divided(given: Float32Array, mean: Float32Array, divisor: Float32Array) -> Float32Array:
    return np.asarray((given - mean) / divisor, np.float32)
