"""Is the converted policy still the policy that was trained?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gaitd.backends.base import Backend
from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.common import arrays, console, files
from gaitforge.common.arrays import Stats
from gaitforge.data.calibrate import normalized
from gaitforge.model.onnx_policy import PolicyOnnx, run_rows
from gaitforge.parity.capture import Capture
from gaitforge.rknn.hybrid import Trial, search
from gaitforge.rknn.simulator import SimulatorBackend
from gaitforge.rknn.toolkit import BuildOptions, Quantization, Toolkit
from gaitforge.simulate.body import Body
from gaitforge.simulate.tour import TOUR_S, tour_script, walk_tour
from gaitforge.verify import evaluation, gate
from gaitforge.verify.captured import compare_capture
from gaitforge.verify.evaluation import Result
from gaitforge.verify.failover import GAP_PERIODS, FailoverWalk, walk_failovers
from gaitforge.verify.landing import Landing, land, landing_failures
from gaitforge.verify.reports import Verdict
from gaitforge.verify.walking import Walk, judge

SEEDS = 5
SECONDS = 10.0
PHASES_A_SEED = 2
"""Of the gait, at which each kind of failover is walked, for each walk that is asked for."""
HELD_OUT_SEED = 1000
"""Walks that give the common inputs start from here; calibration counts up from 0."""


@dataclass(frozen=True)
class Request:
    """What is to be verified, and how."""

    policy: PolicyOnnx
    manifest: Manifest
    stats: Stats | None
    inputs: Float32Array
    """(N, observation_dim) model inputs common to all precisions."""
    tour: Walk | None = None
    """How the float model followed every kind of command, where it can be simulated."""
    quantization: Quantization | None = None
    """None leaves int8 out."""
    target: str = "rk3588"
    hybrid: bool = False
    robot: Body | None = None
    """What walks; None leaves the closed loop out."""
    seeds: int = SEEDS
    """Likewise 0."""
    seconds: float = SECONDS
    command: tuple[float, float, float] | None = None
    """None is the largest forward velocity."""
    capture: Capture | None = None
    """What the trainer saw and did; any difference fails the gate."""
    bounds: gate.Gate = field(default_factory=gate.Gate)

    @property
    def walker(self) -> Body | None:
        """What walks in closed loop, if anything is to."""
        return self.robot if self.seeds else None


def replace_model(manifest: Manifest, policy: PolicyOnnx) -> Manifest:
    """Return the manifest with the model section that the ONNX file itself tells."""
    import msgspec

    return msgspec.structs.replace(manifest, model=policy.model)


def common_inputs(
    policy: PolicyOnnx,
    manifest: Manifest,
    stats: Stats | None,
    recorded: Path | None,
    robot: Body | None,
    walk: bool,
) -> tuple[Float32Array, Walk | None]:
    """Model inputs (N, dim): recorded ones, else those of a simulated walk; and how that went, if it was to
    be walked. Raises InputError.
    """
    inputs = None if recorded is None else arrays.read_observations(recorded, policy.observation_dim)
    if inputs is not None and not walk:
        return inputs, None
    if robot is None:
        raise InputError(
            f"robot {manifest.robot!r} cannot be simulated here: give its model with --mjcf, or --inputs"
        )
    with console.step("Walking in all directions with the float model"):
        raw, run = walk_tour(manifest, policy.backend(), stats, seed=HELD_OUT_SEED, body=robot)
    tour = judge(manifest, run, tour_script(manifest), TOUR_S) if walk else None
    return normalized(manifest, raw, stats) if inputs is None else inputs, tour


def made_from(policy: PolicyOnnx, sources: Mapping[str, Path | None]) -> dict[str, str]:
    """What a report was made from, by digest; packing compares those of bundle.report.DECISIVE."""
    digests = {name: files.sha256(path) for name, path in sources.items() if path is not None}
    return {f"sha256 of {name}": digest for name, digest in {"model": policy.sha256, **digests}.items()}


def verify(request: Request, log: Path, torch_actions: Float32Array | None = None) -> Verdict:
    """Run all comparisons. Raises BackendError when the toolkit is missing."""
    with Toolkit(log) as toolkit:  # first, as it starts while the float model walks
        return _verify(request, toolkit, torch_actions)


def _verify(request: Request, toolkit: Toolkit, torch_actions: Float32Array | None) -> Verdict:
    policy, manifest = request.policy, request.manifest
    parity = None
    if request.capture is not None:
        parity = compare_capture(policy, manifest, request.stats, request.capture)
    float_backend = policy.backend()
    reference = run_rows(float_backend, request.inputs)
    floating = Result("float", reference, evaluation.action_error(manifest, reference, reference))
    if request.walker is not None:
        with console.step(f"Walking {request.seeds} times with the float model"):
            floating = replace(floating, closed_loop=_walk(request, float_backend))
    walks = [*(floating.closed_loop.walks if floating.closed_loop else ()), request.tour]
    failures = gate.floor_failures([walk for walk in walks if walk is not None], request.bounds.floor)
    if failures:
        console.note(
            "the float model fails the gate already; the conversion is measured all the same, for the report"
        )
    failures += parity.failures(manifest) if parity is not None else []
    landings: list[Landing] = []
    if request.walker is not None:
        with console.step("Letting the robot go out of a walk"):
            landings = land(manifest, float_backend, request.stats, body=request.walker)
        if request.walker.sinks:
            console.note(
                f"{request.walker.where}: no geom of the base can touch the floor, so that it sinks through "
                "when it goes down: how it lands is not the real robot's; let one collide"
            )
        bound = request.walker.stature.hard_m_per_s
        failures += landing_failures(landings, request.bounds.floor.hard_landings, bound)
    results = [floating]
    if torch_actions is not None:
        error = evaluation.action_error(manifest, torch_actions, reference)
        results.append(Result("torch", torch_actions, error))
        failures += gate.torch_failures(results[-1], request.bounds)
    plain = BuildOptions(request.target)
    results.append(_measure("fp16", request, toolkit, plain, reference))
    failures += gate.failures(results[-1], floating, request.bounds.fp16)
    fp16_layers = None
    if request.quantization is not None:
        options = replace(plain, quantization=request.quantization)
        results.append(_measure("int8", request, toolkit, options, reference))
        missed = gate.failures(results[-1], floating, request.bounds.int8)
        if missed and request.hybrid:
            hybrid, fp16_layers = _find_hybrid(request, toolkit, options, floating)
            results.append(hybrid)
            missed = []
        failures += missed
    return Verdict(
        results, failures, fp16_layers, toolkit.versions(), request.bounds, request.tour, parity, landings
    )


def _measure(
    name: str, request: Request, toolkit: Toolkit, options: BuildOptions, reference: Float32Array
) -> Result:
    policy = request.policy
    with console.step(f"Building {name} and running it on {len(request.inputs)} inputs"):
        toolkit.build(policy, options)
        backend = SimulatorBackend(toolkit, policy)
        actions = backend.run_rows(request.inputs)
    result = Result(name, actions, evaluation.action_error(request.manifest, reference, actions))
    if request.walker is not None:
        with console.step(f"Walking {request.seeds} times with {name}"):
            result = replace(result, closed_loop=_walk(request, backend))
        result = replace(result, failovers=_fail_over(name, request, backend))
    return result


def _find_hybrid(
    request: Request, toolkit: Toolkit, options: BuildOptions, floating: Result
) -> tuple[Result, list[str]]:
    """Search layers to keep in float16 until int8's gate passes, in closed loop too. Raises GateError."""
    bounds, policy = request.bounds.int8, request.policy
    found: list[Result] = []

    def passes(trial: Trial) -> bool:
        if trial.mean_error > bounds.action_mean or trial.max_error > bounds.action_max:
            return False
        backend = SimulatorBackend(toolkit, policy)
        actions = backend.run_rows(request.inputs)
        error = evaluation.action_error(request.manifest, floating.actions, actions)
        loop = _walk(request, backend) if request.walker is not None else None
        result = Result("hybrid", actions, error, loop)
        if gate.failures(result, floating, bounds):
            return False
        found.append(replace(result, failovers=_fail_over("hybrid", request, backend)))
        return True

    console.say("int8 fails the gate; searching layers to keep in float16:")
    trial = search(toolkit, policy, options, request.inputs, floating.actions, passes)
    console.say(f"passes with --fp16-layers {' '.join(trial.fp16_layers)}")
    return found[-1], trial.fp16_layers


def _fail_over(name: str, request: Request, backend: Backend) -> list[FailoverWalk]:
    """Walks in which this model fails, as the worker's, and the float model goes on, as the standby's."""
    if request.walker is None:
        return []
    phases = PHASES_A_SEED * request.seeds
    with console.step(f"Failing over from {name} to float {phases * len(GAP_PERIODS)} times"):
        return walk_failovers(
            request.manifest, backend, request.policy.backend(), request.stats, request.walker, phases
        )


def _walk(request: Request, backend: Backend) -> evaluation.ClosedLoop:
    manifest = request.manifest
    command = request.command or (float(manifest.velocity_command.max[0]), 0.0, 0.0)
    judge = request.policy.backend()
    return evaluation.closed_loop(
        manifest,
        backend,
        lambda rows: run_rows(judge, rows),
        request.stats,
        command,
        request.seconds,
        request.seeds,
        request.walker,
    )
