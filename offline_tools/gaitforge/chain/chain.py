"""gaitforge chain: from a checkpoint to a verified bundle in one go."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gaitd.errors import GateError, InputError
from gaitd.policy.contract import Manifest
from gaitforge.bundle import golden, pack
from gaitforge.chain.resume import Steps
from gaitforge.common import console, files
from gaitforge.data import arrays, calibrate, environment
from gaitforge.model import export
from gaitforge.model import torch_policy as policy_torch
from gaitforge.model.onnx_policy import read_policy
from gaitforge.rknn import convert, record
from gaitforge.rknn.toolkit import BuildOptions, Quantization
from gaitforge.verify import evaluation, gate, reports
from gaitforge.verify import verification as verify

if TYPE_CHECKING:
    from gaitforge.cli import Subparsers

SAMPLES = 2048
HELD_OUT = 512
"""Observations of an environment that are kept from calibration, to verify with."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "chain",
        help="export, calibrate, convert, verify and pack in one go",
        description="Make a verified bundle of a checkpoint. What has not changed since the last time is "
        "skipped.",
    )
    parser.add_argument("checkpoint", type=Path, help="training checkpoint")
    parser.add_argument("--config", type=Path, help="YAML that describes the actor")
    parser.add_argument("--activation", help="activation of the hidden layers, where there is no --config")
    parser.add_argument(
        "--manifest", type=Path, help="the contract (default: manifest.yaml beside CHECKPOINT)"
    )
    parser.add_argument(
        "--obs-stats",
        type=Path,
        help="statistics for a contract with normalization (default: the checkpoint's own, else the one "
        "*obs_stats.npz beside it)",
    )
    parser.add_argument("--env", metavar="MODULE:FACTORY", help="environment, for robots without simulation")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="calibration (default: %(default)s)")
    parser.add_argument(
        "--replace-unsupported", nargs="*", metavar="OPERATOR", help="as in gaitforge convert"
    )
    parser.add_argument("--do-quant", action="store_true", help="quantize the model for the NPU")
    parser.add_argument(
        "--hybrid", action="store_true", help="keep layers in float16 if the gate asks for it"
    )
    parser.add_argument(
        "--algorithm", choices=convert.ALGORITHMS, default="normal", help="default: %(default)s"
    )
    parser.add_argument("--target", default="rk3588", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=verify.SEEDS, help="walks to verify with (%(default)s)")
    parser.add_argument("--gate", type=Path, help="YAML with other bounds")
    parser.add_argument("--training-commit", help="git commit of the training code, for the provenance")
    parser.add_argument("--output", type=Path, help="directory (default: CHECKPOINT's name without .pt)")
    parser.set_defaults(run=run)


class _Places:
    """Files of a chain."""

    def __init__(self, directory: Path, name: str) -> None:
        self.onnx = directory / "policy.onnx"
        self.own_stats = export.stats_path(self.onnx)
        """Of a normalizer that the checkpoint brings."""
        self.stats = directory / "obs_stats.npz"
        self.manifest = directory / "manifest.yaml"
        self.calibration = directory / "calib_obs.npy"
        self.raw = directory / "raw_obs.npy"
        """The same before normalization."""
        self.held_out = directory / "verify_obs.npy"
        self.report = directory / "verify" / "report.json"
        self.page = directory / "verify" / "report.html"
        self.layers = directory / "verify" / "fp16_layers.yaml"
        self.rknn = directory / "policy.rknn"
        self.log = directory / "toolkit.log"
        self.bundle = directory / f"{name}.gaitd"


def run(args: argparse.Namespace) -> None:
    """Run the chain."""
    files.existing(args.checkpoint, "the checkpoint")
    if args.hybrid and not args.do_quant:
        raise InputError("--hybrid chooses layers of a quantized model: add --do-quant")
    source = args.manifest or args.checkpoint.with_name("manifest.yaml")
    raw = pack.read_manifest(source)
    pack.checked_manifest(raw, str(source))
    directory = args.output or args.checkpoint.with_suffix("")
    directory.mkdir(parents=True, exist_ok=True)
    places = _Places(directory, str(raw["name"]))
    steps = Steps(directory / "chain.json")
    _export(args, steps, places)
    manifest = _contract(args, steps, places, source, raw)
    _calibrate(args, steps, places, manifest)
    _verify(args, steps, places, manifest)
    _convert(args, steps, places)
    _pack(args, steps, places)
    console.say(f"{places.bundle} is ready; its report is {places.page}")


def _export(args: argparse.Namespace, steps: Steps, places: _Places) -> None:
    def make() -> None:
        export.export(
            args.checkpoint,
            places.onnx,
            config=args.config,
            activation=args.activation,
            separate_normalizer=True,
        )
        if args.replace_unsupported is not None:
            convert.replace_operators(places.onnx, args.replace_unsupported, args.target, places.log)

    steps.run(
        "export",
        [args.checkpoint, args.config],
        {key: getattr(args, key) for key in ("activation", "replace_unsupported", "target")},
        [places.onnx, places.own_stats],
        make,
    )


def _contract(
    args: argparse.Namespace, steps: Steps, places: _Places, source: Path, raw: dict[str, Any]
) -> Manifest:
    """Write the manifest as this policy needs it, with the statistics beside it."""
    own = policy_torch.has_normalizer(args.checkpoint)
    statistics = places.own_stats if own else args.obs_stats or _found_stats(args.checkpoint)
    if raw.get("normalization") is not None and statistics is None:
        raise InputError(
            f"{source} has a normalization, but neither the checkpoint nor a file beside it has the "
            "statistics: give --obs-stats"
        )
    if own and args.obs_stats is not None:
        raise InputError("--obs-stats: the checkpoint has its own normalizer")

    def write() -> None:
        manifest = dict(raw)
        if own and manifest.get("normalization") is None:
            console.note("the contract gets a normalization: the checkpoint has a normalizer")
            manifest["normalization"] = {}
        if statistics is not None and manifest.get("normalization") is not None:
            with files.replacing(places.stats) as beside:
                beside.write_bytes(statistics.read_bytes())
        files.write_text(places.manifest, yaml.safe_dump(manifest, sort_keys=False))

    steps.run("contract", [source, statistics], {}, [places.manifest, places.stats], write)
    manifest = pack.checked_manifest(pack.read_manifest(places.manifest), str(source))
    policy = read_policy(places.onnx)
    pack.check_fit(manifest, policy)
    return verify.replace_model(manifest, policy)


def _found_stats(checkpoint: Path) -> Path | None:
    found = sorted(checkpoint.parent.glob("*obs_stats.npz"))
    return found[0] if len(found) == 1 else None


def _stats(places: _Places, manifest: Manifest) -> evaluation.Stats | None:
    return arrays.read_obs_stats(places.stats) if manifest.normalization is not None else None


def _calibrate(args: argparse.Namespace, steps: Steps, places: _Places, manifest: Manifest) -> None:
    stats = _stats(places, manifest)

    def collect() -> None:
        if args.env is not None:
            made = environment.load_environment(args.env)
            acting = calibrate.pipeline_actor(manifest, read_policy(places.onnx), stats)
            raw = calibrate.roll_out(made, acting, args.samples + HELD_OUT)
            held_out, raw = raw[args.samples :], raw[: args.samples]
            calibrate.save(places.held_out, calibrate.normalized(manifest, held_out, stats))
        else:
            raw = calibrate.simulate(manifest, places.onnx, stats, args.samples)
        inputs = calibrate.normalized(manifest, raw, stats)
        calibrate.save(places.raw, raw)
        calibrate.save(places.calibration, inputs)
        calibrate.report(inputs, manifest)

    if args.env is None and not golden.can_simulate(manifest):
        raise InputError(f"robot {manifest.robot!r} cannot be simulated here: give an environment with --env")
    steps.run(
        "calibrate",
        [places.onnx, places.manifest, places.stats if stats is not None else None],
        {"samples": args.samples, "env": args.env},
        [places.raw, places.calibration, *_held_out(args, places)],
        collect,
    )


def _held_out(args: argparse.Namespace, places: _Places) -> list[Path]:
    """Inputs to verify with that come from an environment; those of the simulated robot are walked for."""
    return [places.held_out] if args.env is not None else []


def _verify(args: argparse.Namespace, steps: Steps, places: _Places, manifest: Manifest) -> None:
    stats = _stats(places, manifest)
    bounds = gate.read_gate(args.gate)

    def check() -> None:
        policy = read_policy(places.onnx)
        quantization = None
        if args.do_quant:
            dataset = record.calibration_inputs(policy, places.calibration)
            quantization = Quantization(convert.DTYPE, args.algorithm, dataset)
        simulated = golden.can_simulate(manifest) and args.seeds > 0
        recorded = places.held_out if args.env is not None else None
        inputs, tour = verify.common_inputs(policy, manifest, stats, recorded, walk=simulated)
        request = verify.Request(
            policy=policy,
            manifest=manifest,
            stats=stats,
            inputs=inputs,
            tour=tour,
            quantization=quantization,
            target=args.target,
            hybrid=args.hybrid,
            seeds=args.seeds if simulated else 0,
            bounds=bounds,
        )
        verdict = verify.verify(request, places.log)
        sources = {
            "manifest": places.manifest,
            "statistics": places.stats if stats is not None else None,
            "checkpoint": args.checkpoint,
        }
        reports.write_reports(
            places.report.parent, manifest, inputs, verdict, verify.made_from(policy, sources)
        )
        files.write_text(places.layers, yaml.safe_dump(verdict.fp16_layers))
        if verdict.failures:
            raise GateError(f"{'; '.join(verdict.failures)} (see {places.page})")

    steps.run(
        "verify",
        [
            places.onnx,
            places.manifest,
            places.stats if stats is not None else None,
            places.calibration,
            *_held_out(args, places),
            args.gate,
        ],
        {key: getattr(args, key) for key in ("do_quant", "algorithm", "target", "hybrid", "seeds")},
        [places.report, places.page, places.layers],
        check,
    )


def _convert(args: argparse.Namespace, steps: Steps, places: _Places) -> None:
    def build() -> None:
        layers = yaml.safe_load(places.layers.read_text())
        quantization = Quantization(convert.DTYPE, args.algorithm, {}, layers) if args.do_quant else None
        convert.convert(
            places.onnx,
            places.rknn,
            options=BuildOptions(args.target, quantization=quantization),
            dataset=places.calibration if args.do_quant else None,
        )

    steps.run(
        "convert",
        [places.onnx, places.calibration, places.layers],
        {key: getattr(args, key) for key in ("do_quant", "algorithm", "target")},
        [places.rknn, record.path_beside(places.rknn)],
        build,
    )


def _pack(args: argparse.Namespace, steps: Steps, places: _Places) -> None:
    sources = {
        "manifest": places.manifest,
        "onnx": places.onnx,
        "rknn": places.rknn,
        "report": places.report,
        "observations": places.raw,
        "checkpoint": args.checkpoint,
    }
    if pack.read_manifest(places.manifest).get("normalization") is not None:
        sources["obs_stats"] = places.stats
    steps.run(
        "pack",
        list(sources.values()),
        {"training_commit": args.training_commit},
        [places.bundle],
        lambda: pack.pack(sources, places.bundle, args.training_commit),
    )
