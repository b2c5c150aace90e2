"""gaitforge verify: is the converted policy still the policy that was trained?"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import GateError, InputError
from gaitd.policy.contract import Float32Array, Manifest
from gaitforge.bundle import golden
from gaitforge.common import console, files
from gaitforge.data import arrays, calibrate
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy, run_rows
from gaitforge.rknn import record
from gaitforge.rknn.convert import ALGORITHMS, ALIASES, DTYPE
from gaitforge.rknn.hybrid import Trial, search
from gaitforge.rknn.simulator import SimulatorBackend
from gaitforge.rknn.toolkit import BuildOptions, Quantization, Toolkit
from gaitforge.verify import evaluation, gate
from gaitforge.verify.evaluation import Result
from gaitforge.verify.reports import Verdict, write_reports
from gaitforge.verify.walking import Walk, judge

if TYPE_CHECKING:
    from gaitforge.cli import Subparsers

SEEDS = 5
SECONDS = 10.0
HELD_OUT_SEED = 1000
"""Walks that give the common inputs start from here; calibration counts up from 0."""


@dataclass(frozen=True)
class Request:
    """What is to be verified, and how."""

    policy: PolicyOnnx
    manifest: Manifest
    stats: evaluation.Stats | None
    inputs: Float32Array
    """(N, observation_dim) model inputs common to all precisions."""
    tour: Walk | None = None
    """How the float model followed every kind of command, where it can be simulated."""
    quantization: Quantization | None = None
    """None leaves int8 out."""
    target: str = "rk3588"
    hybrid: bool = False
    seeds: int = SEEDS
    """0 leaves the closed loop out."""
    seconds: float = SECONDS
    command: tuple[float, float, float] | None = None
    """None is the largest forward velocity."""
    bounds: gate.Gate = field(default_factory=gate.Gate)


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "verify",
        help="compare float, fp16 and int8, on the same inputs and walking",
        description="Compare torch, ONNX and the toolkit's simulator in float16 and int8, and judge.",
    )
    parser.add_argument("model", type=Path, help="the float ONNX model")
    parser.add_argument("--manifest", type=Path, required=True, help="YAML with the policy's contract")
    parser.add_argument("--obs-stats", type=Path, help=".npz with mean and std, if the policy normalizes")
    parser.add_argument("--checkpoint", type=Path, help="also compare with this checkpoint in torch")
    parser.add_argument("--config", type=Path, help="YAML that describes the checkpoint's actor")
    parser.add_argument("--activation", help="activation of the checkpoint, where there is no --config")
    parser.add_argument(
        "--dataset", type=Path, help="calibration observations; without them int8 is left out"
    )
    parser.add_argument("--inputs", type=Path, help="model inputs to compare on (default: a simulated walk)")
    parser.add_argument("--quant-dtype", default=DTYPE, help="default: %(default)s")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="normal", help="default: %(default)s")
    parser.add_argument("--fp16-layers", nargs="+", metavar="LAYER", help="layers kept in float16 in int8")
    parser.add_argument(
        "--hybrid",
        action="store_true",
        help="if int8 fails, search layers to keep in float16 until it passes",
    )
    parser.add_argument("--target", default="rk3588", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="walks for each; 0 for none (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of a walk (%(default)s)")
    parser.add_argument(
        "--command", metavar="F,L,Y", help="velocity command of the walks (default: full ahead)"
    )
    parser.add_argument("--gate", type=Path, help="YAML with other bounds")
    parser.add_argument("--output", type=Path, default=Path("verify"), help="directory (%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Verify and write report.json and report.html. Raises GateError when the gate fails."""
    from gaitforge.bundle.pack import check_fit, checked_manifest, read_manifest

    policy = read_policy(args.model)
    manifest = replace_model(checked_manifest(read_manifest(args.manifest), str(args.manifest)), policy)
    check_fit(manifest, policy)
    stats = arrays.contract_stats(manifest, args.obs_stats, str(args.manifest))
    simulated = golden.can_simulate(manifest)
    if not simulated and args.seeds:
        console.note(f"robot {manifest.robot!r} cannot be simulated here: no closed loop")
    inputs, tour = common_inputs(policy, manifest, stats, args.inputs, walk=simulated and args.seeds > 0)
    torch_actions = None
    if args.checkpoint is not None:
        torch_actions = _torch_actions(args.checkpoint, args.config, args.activation, inputs)
    verdict = verify(
        Request(
            policy=policy,
            manifest=manifest,
            stats=stats,
            inputs=inputs,
            tour=tour,
            quantization=_quantization(args, policy),
            target=args.target,
            hybrid=args.hybrid,
            seeds=args.seeds if simulated else 0,
            seconds=args.seconds,
            command=_command(args.command),
            bounds=gate.read_gate(args.gate),
        ),
        args.output / "toolkit.log",
        torch_actions,
    )
    sources = {
        "manifest": args.manifest,
        "statistics": args.obs_stats,
        "dataset": args.dataset,
        "checkpoint": args.checkpoint,
    }
    write_reports(args.output, manifest, inputs, verdict, made_from(policy, sources))
    if verdict.failures:
        raise GateError(f"{'; '.join(verdict.failures)} (see {args.output / 'report.html'})")


def made_from(policy: PolicyOnnx, sources: Mapping[str, Path | None]) -> dict[str, str]:
    """What a report was made from, by digest; `gaitforge pack` compares those of DECISIVE (bundle.report)."""
    digests = {name: files.sha256(path) for name, path in sources.items() if path is not None}
    return {f"sha256 of {name}": digest for name, digest in {"model": policy.sha256, **digests}.items()}


def replace_model(manifest: Manifest, policy: PolicyOnnx) -> Manifest:
    """Return the manifest with the model section that the ONNX file itself tells."""
    import msgspec

    return msgspec.structs.replace(manifest, model=policy.model)


def common_inputs(
    policy: PolicyOnnx,
    manifest: Manifest,
    stats: evaluation.Stats | None,
    recorded: Path | None,
    walk: bool,
) -> tuple[Float32Array, Walk | None]:
    """Model inputs (N, dim): recorded ones, else those of a simulated walk; and how that went, if it was to
    be walked. Raises InputError.
    """
    inputs = None if recorded is None else arrays.read_observations(recorded, policy.observation_dim)
    if inputs is not None and not walk:
        return inputs, None
    if not golden.can_simulate(manifest):
        raise InputError(f"robot {manifest.robot!r} cannot be simulated here: give --inputs")
    with console.step("Walking in all directions with the float model"):
        raw, run = golden.walk_tour(manifest, policy.backend(), stats, seed=HELD_OUT_SEED)
    tour = judge(manifest, run, golden.tour_script(manifest), golden.TOUR_S) if walk else None
    return calibrate.normalized(manifest, raw, stats) if inputs is None else inputs, tour


def verify(request: Request, log: Path, torch_actions: Float32Array | None = None) -> Verdict:
    """Run all comparisons. Raises BackendError when the toolkit is missing."""
    policy, manifest = request.policy, request.manifest
    float_backend = policy.backend()
    reference = run_rows(float_backend, request.inputs)
    floating = Result("float", reference, evaluation.action_error(manifest, reference, reference))
    if request.seeds:
        with console.step(f"Walking {request.seeds} times with the float model"):
            floating = replace(floating, closed_loop=_walk(request, float_backend))
    walks = [*(floating.closed_loop.walks if floating.closed_loop else ()), request.tour]
    failures = gate.floor_failures([walk for walk in walks if walk is not None], request.bounds.floor)
    results = [floating]
    if torch_actions is not None:
        error = evaluation.action_error(manifest, torch_actions, reference)
        results.append(Result("torch", torch_actions, error))
        failures += gate.torch_failures(results[-1], request.bounds)
    fp16_layers = None
    with Toolkit(log) as toolkit:
        versions = toolkit.versions()
        plain = BuildOptions(request.target)
        fp16 = _measure("fp16", request, toolkit, plain, reference)
        results.append(fp16)
        failures += gate.failures(fp16, floating, request.bounds.fp16)
        if request.quantization is not None:
            options = replace(plain, quantization=request.quantization)
            int8 = _measure("int8", request, toolkit, options, reference)
            results.append(int8)
            missed = gate.failures(int8, floating, request.bounds.int8)
            if missed and request.hybrid:
                hybrid, fp16_layers = _find_hybrid(request, toolkit, options, floating)
                results.append(hybrid)
                missed = []
            failures += missed
    return Verdict(results, failures, fp16_layers, versions, request.bounds, request.tour)


def _measure(
    name: str, request: Request, toolkit: Toolkit, options: BuildOptions, reference: Float32Array
) -> Result:
    policy = request.policy
    with console.step(f"Building {name} and running it on {len(request.inputs)} inputs"):
        toolkit.build(policy, options)
        backend = SimulatorBackend(toolkit, policy)
        actions = backend.run_rows(request.inputs)
    result = Result(name, actions, evaluation.action_error(request.manifest, reference, actions))
    if request.seeds:
        with console.step(f"Walking {request.seeds} times with {name}"):
            result = replace(result, closed_loop=_walk(request, backend))
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
        loop = _walk(request, backend) if request.seeds else None
        found.append(Result("hybrid", actions, error, loop))
        return not gate.failures(found[-1], floating, bounds)

    console.say("int8 fails the gate; searching layers to keep in float16:")
    trial = search(toolkit, policy, options, request.inputs, floating.actions, passes)
    console.say(f"passes with --fp16-layers {' '.join(trial.fp16_layers)}")
    return found[-1], trial.fp16_layers


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
    )


def _quantization(args: argparse.Namespace, policy: PolicyOnnx) -> Quantization | None:
    if args.dataset is None:
        if args.hybrid:
            raise InputError("--hybrid needs --dataset, as gaitforge calibrate collects it")
        console.note("without --dataset int8 is left out")
        return None
    inputs = record.calibration_inputs(policy, args.dataset)
    dtype = ALIASES.get(args.quant_dtype, args.quant_dtype)
    return Quantization(dtype, args.algorithm, inputs, args.fp16_layers)


def _torch_actions(
    checkpoint: Path, config: Path | None, activation: str | None, inputs: Float32Array
) -> Float32Array:
    from gaitforge.model.torch_policy import load_source, run_torch

    with contextlib.redirect_stdout(None):
        source = load_source(checkpoint, config, activation)
    if source.obs_dim != inputs.shape[1]:
        raise InputError(f"{checkpoint} takes {source.obs_dim} values, the ONNX model {inputs.shape[1]}")
    return run_torch(source, inputs)


def _command(text: str | None) -> tuple[float, float, float] | None:
    from gaitforge.simulate.script import parse_command

    if text is None:
        return None
    forward, left, yaw = (float(value) for value in np.asarray(parse_command(text).at(0.0)))
    return forward, left, yaw
