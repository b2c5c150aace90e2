"""From a checkpoint to a verified bundle in one go."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaitd.bundle.untrusted import load_yaml
from gaitd.errors import GateError, InputError
from gaitd.policy.manifest import Manifest
from gaitd.policy.observation import ObservationBuilder
from gaitforge.bundle import pack
from gaitforge.chain.resume import Steps
from gaitforge.checkpoint.choices import Choices
from gaitforge.common import arrays, console, files
from gaitforge.common.arrays import Stats
from gaitforge.common.manifest import checked_manifest, dump_yaml, load_manifest, read_manifest
from gaitforge.data import calibrate, coverage, environment
from gaitforge.model import export
from gaitforge.model.onnx_policy import read_policy
from gaitforge.parity.capture import read_capture
from gaitforge.rknn import convert, record
from gaitforge.rknn.budget import budget_of
from gaitforge.rknn.toolkit import BuildOptions, Quantization
from gaitforge.simulate import body
from gaitforge.simulate.body import Body
from gaitforge.simulate.terrain import Kind
from gaitforge.verify import gate, reports
from gaitforge.verify import verification as verify

SAMPLES = 2048
HELD_OUT = 512
"""Observations of an environment that are kept from calibration, to verify with."""


@dataclass(frozen=True)
class Options:
    """What a bundle is made of, and how."""

    checkpoint: Path
    manifest: Path
    """The contract."""
    config: Path | None = None
    """YAML that describes the actor."""
    choices: Choices = field(default_factory=Choices)
    """What the checkpoint does not tell."""
    obs_stats: Path | None = None
    """None takes the checkpoint's own, else the one ``*obs_stats.npz`` beside it."""
    mjcf: Path | None = None
    """The robot's model; None: the Lite3's, where the policy is for its joints."""
    terrain: Kind = "flat"
    """What it calibrates and verifies on."""
    env: str | None = None
    """MODULE:FACTORY, for robots without simulation."""
    samples: int = SAMPLES
    replace_unsupported: list[str] | None = None
    """Operators to replace beside those the NPU does not compute; None replaces none at all."""
    do_quant: bool = False
    hybrid: bool = False
    algorithm: str = "normal"
    target: str = "rk3588"
    seeds: int = verify.SEEDS
    gate: Path | None = None
    capture: Path | None = None
    """What the trainer saw and did: judged by the gate, and the bundle's golden vectors."""
    training_commit: str | None = None


class Places:
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


def make_bundle(options: Options, directory: Path) -> Places:
    """Make a verified bundle in ``directory``; what has not changed since the last time is skipped.

    Raises InputError for wrong input, GateError when the verification fails, BackendError when the
    toolkit is missing or refuses.
    """
    files.existing(options.checkpoint, "the checkpoint")
    if options.capture is not None:
        files.existing(options.capture, "the capture")
    if not files.found(options.manifest):
        raise InputError(
            f"the manifest {options.manifest} does not exist: write the policy's contract there, beginning "
            "with examples/lite3_walk/manifest.yaml or gaitforge import, or name another file with --manifest"
        )
    raw = read_manifest(options.manifest)
    contract = checked_manifest(raw, str(options.manifest))
    if contract.models:
        raise InputError(
            f"{options.manifest}: models: a checkpoint becomes one model, and this policy has several: make "
            "each with gaitforge export and gaitforge convert, and the bundle with gaitforge pack --onnx DIR "
            "--rknn DIR"
        )
    directory.mkdir(parents=True, exist_ok=True)
    places = Places(directory, str(raw["name"]))
    steps = Steps(directory / "chain.json")
    _export(options, steps, places, contract)
    manifest = _contract(options, steps, places, raw)
    _calibrate(options, steps, places, manifest)
    _verify(options, steps, places, manifest)
    _convert(options, steps, places)
    _pack(options, steps, places)
    return places


def _export(options: Options, steps: Steps, places: Places, contract: Manifest) -> None:
    from gaitforge.checkpoint.training import used_files

    choices = replace(
        options.choices,
        obs_dim=ObservationBuilder(contract).dim,
        act_dim=len(contract.joints),
    )

    def make() -> None:
        export.export(
            options.checkpoint,
            places.onnx,
            config=options.config,
            choices=choices,
            separate_normalizer=True,
        )
        if options.replace_unsupported is not None:
            convert.replace_operators(places.onnx, options.replace_unsupported, options.target, places.log)

    steps.run(
        "export",
        [options.checkpoint, options.config, *used_files(options.checkpoint)],
        {
            "choices": asdict(choices),
            **{key: getattr(options, key) for key in ("replace_unsupported", "target")},
        },
        [places.onnx, places.own_stats],
        make,
    )


def _contract(options: Options, steps: Steps, places: Places, raw: dict[str, Any]) -> Manifest:
    """Write the manifest as this policy needs it, with the statistics beside it."""
    source = options.manifest
    own = files.found(places.own_stats)
    statistics = places.own_stats if own else options.obs_stats or _found_stats(options.checkpoint)
    if raw.get("normalization") is not None and statistics is None:
        raise InputError(
            f"{source} has a normalization, but neither the checkpoint nor a file beside it has the "
            "statistics: give --obs-stats"
        )
    if own and options.obs_stats is not None:
        raise InputError("--obs-stats: the checkpoint has its own normalizer")
    said = raw.get("normalization")
    needed = _own_normalization(places.own_stats) if own else {}
    if own and said and said != needed:
        raise InputError(
            f"{source}: normalization is {said}, but the checkpoint's own normalizer needs {needed}: leave "
            "it out"
        )

    def write() -> None:
        manifest = dict(raw)
        if own:
            console.note(f"the contract's normalization is the checkpoint's own: {needed}")
            manifest["normalization"] = needed
        if statistics is not None and manifest.get("normalization") is not None:
            with files.replacing(places.stats) as beside:
                beside.write_bytes(files.read_model(statistics, "the observation statistics"))
        files.write_text(places.manifest, dump_yaml(manifest).decode())

    steps.run("contract", [source, statistics], {}, [places.manifest, places.stats], write)
    manifest = checked_manifest(read_manifest(places.manifest), str(source))
    policy = read_policy(places.onnx)
    pack.check_fit(manifest, policy)
    return verify.replace_model(manifest, policy)


def _own_normalization(path: Path) -> dict[str, float]:
    """Return the contract's normalization with exported statistics, whose std has the epsilon in it."""
    with np.load(path) as stats:
        return {"clip": float(stats["clip"])} if "clip" in stats.files else {}


def _found_stats(checkpoint: Path) -> Path | None:
    found = sorted(checkpoint.parent.glob("*obs_stats.npz"))
    return found[0] if len(found) == 1 else None


def _stats(places: Places, manifest: Manifest) -> Stats | None:
    return arrays.read_obs_stats(places.stats) if manifest.normalization is not None else None


def _calibrate(options: Options, steps: Steps, places: Places, manifest: Manifest) -> None:
    stats = _stats(places, manifest)

    def collect() -> None:
        if options.env is not None:
            made = environment.load_environment(options.env)
            acting = calibrate.pipeline_actor(manifest, read_policy(places.onnx), stats)
            raw = calibrate.roll_out(made, acting, options.samples + HELD_OUT)
            held_out, raw = raw[options.samples :], raw[: options.samples]
            calibrate.save(places.held_out, calibrate.normalized(manifest, held_out, stats))
        else:
            raw = calibrate.simulate(manifest, places.onnx, stats, options.samples, _robot(options, manifest))
        inputs = calibrate.normalized(manifest, raw, stats)
        calibrate.save(places.raw, raw)
        calibrate.save(places.calibration, inputs)
        coverage.report(inputs, manifest)

    if options.env is None and _robot(options, manifest) is None:
        raise InputError(calibrate.not_simulated(manifest))
    steps.run(
        "calibrate",
        [places.onnx, places.manifest, places.stats if stats is not None else None, options.mjcf],
        {"samples": options.samples, "env": options.env, "terrain": options.terrain},
        [places.raw, places.calibration, *_held_out(options, places)],
        collect,
    )


def _robot(options: Options, manifest: Manifest) -> Body | None:
    return body.find(manifest, options.mjcf, options.terrain)


def _held_out(options: Options, places: Places) -> list[Path]:
    """Inputs to verify with that come from an environment; those of the simulated robot are walked for."""
    return [places.held_out] if options.env is not None else []


def _verify(options: Options, steps: Steps, places: Places, manifest: Manifest) -> None:
    stats = _stats(places, manifest)
    bounds = gate.read_gate(options.gate)

    def check() -> None:
        policy = read_policy(places.onnx)
        quantization = None
        if options.do_quant:
            dataset = record.calibration_inputs(policy, places.calibration)
            quantization = Quantization(convert.DTYPE, options.algorithm, dataset)
        robot = _robot(options, manifest)
        walk = robot is not None and options.seeds > 0
        recorded = places.held_out if options.env is not None else None
        inputs, tour = verify.common_inputs(policy, manifest, stats, recorded, robot, walk)
        request = verify.Request(
            policy=policy,
            manifest=manifest,
            stats=stats,
            inputs=inputs,
            tour=tour,
            quantization=quantization,
            target=options.target,
            hybrid=options.hybrid,
            robot=robot,
            seeds=options.seeds,
            capture=read_capture(options.capture) if options.capture is not None else None,
            bounds=bounds,
        )
        verdict = verify.verify(request, places.log)
        sources = {
            "manifest": places.manifest,
            "statistics": places.stats if stats is not None else None,
            "checkpoint": options.checkpoint,
            "capture": options.capture,
            "robot's model": options.mjcf,
        }
        facts = {**verify.made_from(policy, sources), "terrain": options.terrain}
        reports.write_reports(places.report.parent, manifest, inputs, verdict, facts)
        files.write_text(places.layers, dump_yaml(verdict.fp16_layers).decode())
        if verdict.failures:
            raise GateError(f"{'; '.join(verdict.failures)} (see {places.page})")

    steps.run(
        "verify",
        [
            places.onnx,
            places.manifest,
            places.stats if stats is not None else None,
            places.calibration,
            *_held_out(options, places),
            options.gate,
            options.capture,
            options.mjcf,
        ],
        {
            key: getattr(options, key)
            for key in ("do_quant", "algorithm", "target", "hybrid", "seeds", "terrain")
        },
        [places.report, places.page, places.layers],
        check,
    )


def _convert(options: Options, steps: Steps, places: Places) -> None:
    def build() -> None:
        layers = load_yaml(places.layers.read_bytes())
        quantization = (
            Quantization(convert.DTYPE, options.algorithm, {}, layers) if options.do_quant else None
        )
        convert.convert(
            places.onnx,
            places.rknn,
            options=BuildOptions(options.target, quantization=quantization),
            dataset=places.calibration if options.do_quant else None,
            npu_memory_kib=budget_of(load_manifest(places.manifest), places.rknn),
        )

    steps.run(
        "convert",
        [places.onnx, places.calibration, places.layers, places.manifest],
        {key: getattr(options, key) for key in ("do_quant", "algorithm", "target")},
        [places.rknn, record.path_beside(places.rknn)],
        build,
    )


def _pack(options: Options, steps: Steps, places: Places) -> None:
    sources = {
        "manifest": places.manifest,
        "onnx": places.onnx,
        "rknn": places.rknn,
        "report": places.report,
        "observations": places.raw,
        "checkpoint": options.checkpoint,
    }
    if read_manifest(places.manifest).get("normalization") is not None:
        sources["obs_stats"] = places.stats
    if options.capture is not None:
        sources["capture"] = options.capture
    steps.run(
        "pack",
        list(sources.values()),
        {"training_commit": options.training_commit},
        [places.bundle],
        lambda: pack.pack(sources, places.bundle, options.training_commit),
    )
