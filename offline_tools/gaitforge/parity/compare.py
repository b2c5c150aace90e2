"""A capture replayed through gaitd's own pipeline and model, and every difference named."""

from __future__ import annotations

from gaitd.backends import open_backend
from gaitd.bundle.read import Bundle
from gaitd.errors import InputError
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.parity.answers import ModelComparer, compare_targets
from gaitforge.parity.capture import Capture
from gaitforge.parity.findings import Comparison, Finding, Kind, PartResult
from gaitforge.parity.normalizers import Statistics
from gaitforge.parity.observation import MIN_STEPS, ObservationResult, compare_observation
from gaitforge.parity.proposal import propose

TOLERANCE = 5e-4
"""Of an observation, for a value of 1 in the state's unit, and of its largest value."""
ACTION_TOLERANCE = 1e-3
"""Of an action, for the largest captured action."""


def compare(bundle: Bundle, capture: Capture, tolerance: float = TOLERANCE) -> Comparison:
    """Compare a bundle with a capture. Raises InputError when the capture cannot be of this policy."""
    manifest = bundle.manifest
    comparison = Comparison(notes=list(capture.meta.notes))
    if capture.action.shape[1] != len(manifest.joints):
        raise InputError(
            f"{capture.path}: actions have {capture.action.shape[1]} values, but the policy moves "
            f"{len(manifest.joints)} joints"
        )
    if len(capture) < MIN_STEPS:
        raise InputError(f"{capture.path}: {len(capture)} steps; at least {MIN_STEPS} are needed, better 5 s")
    ratio = capture.meta.control_period_s / manifest.control_period_s
    if abs(ratio - 1.0) > 1e-3:
        own = manifest.control_period_s
        text = f"the trainer's is {capture.meta.control_period_s:g} s, the manifest's {own:g} s"
        comparison.findings.append(Finding("capture", Kind.PERIOD, text))
    stats = bundle.obs_stats()
    observed = compare_observation(manifest, stats, capture, tolerance)
    comparison.parts += observed.parts
    comparison.findings += observed.findings
    if bundle.has_models("onnx"):
        _compare_model(bundle, capture, observed, comparison)
    else:
        comparison.findings.append(Finding("model", Kind.NOT_JUDGED, "the bundle holds no model.onnx"))
    targets = capture.target(manifest)
    if targets is not None:
        pipeline = PolicyPipeline(manifest, stats)
        error, allowed, findings = compare_targets(manifest, pipeline, targets, capture.action, tolerance)
        comparison.parts.append(PartResult("joint target", error, allowed))
        comparison.findings += findings
    propose(bundle, capture, observed, comparison, tolerance)
    return comparison


def _compare_model(
    bundle: Bundle, capture: Capture, observed: ObservationResult, comparison: Comparison
) -> None:
    dim = PolicyPipeline(bundle.manifest, None).builder.dim
    if observed.observations.shape[1] != dim:
        text = "the captured observations do not fit into it"
        comparison.findings.append(Finding("model", Kind.NOT_JUDGED, text))
        return
    backend = open_backend("onnx", bundle)
    try:
        model = ModelComparer(bundle, backend, capture.reset, ACTION_TOLERANCE)
        if not model.judged:
            text = "the hidden state is not known: capture from the beginning of an episode"
            comparison.findings.append(Finding("model", Kind.NOT_JUDGED, text))
            return
        answers = model.compare(observed.observations, capture.action, capture.stats)
    finally:
        backend.close()
    comparison.parts.append(PartResult("model", answers.error, answers.allowed))
    comparison.findings += answers.findings
    if answers.stats is not None and observed.stats is None:
        observed.stats = Statistics(*answers.stats, answers.epsilon)
