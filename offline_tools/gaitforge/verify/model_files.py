"""Verifies a model that is a file, with what belongs to it in other files."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array
from gaitforge.bundle.pack import check_fit
from gaitforge.checkpoint.choices import Choices
from gaitforge.common import arrays, console
from gaitforge.common.manifest import load_manifest
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy
from gaitforge.parity.capture import read_capture
from gaitforge.rknn import record
from gaitforge.rknn.convert import DTYPE
from gaitforge.rknn.toolkit import Quantization
from gaitforge.simulate import body
from gaitforge.simulate.terrain import Kind
from gaitforge.verify import gate
from gaitforge.verify.reports import Verdict, write_reports
from gaitforge.verify.verification import (
    SECONDS,
    SEEDS,
    Request,
    common_inputs,
    made_from,
    replace_model,
    verify,
)


@dataclass(frozen=True)
class ModelFiles:
    """The model and what belongs to it."""

    model: Path
    """The float ONNX model."""
    manifest: Path
    """YAML with the policy's contract."""
    obs_stats: Path | None = None
    checkpoint: Path | None = None
    """Also compared with, in torch."""
    config: Path | None = None
    """YAML that describes the checkpoint's actor."""
    choices: Choices = field(default_factory=Choices)
    """What the checkpoint does not tell."""
    dataset: Path | None = None
    """Calibration observations; None leaves int8 out."""
    inputs: Path | None = None
    """Model inputs to compare on; None asks for a simulated walk."""
    capture: Path | None = None
    """What the trainer saw and did; None leaves parity out."""
    gate: Path | None = None
    """YAML with other bounds."""
    mjcf: Path | None = None
    """The robot's model; None walks with the Lite3, where the policy is for its joints."""


@dataclass(frozen=True)
class Settings:
    """How the model is verified; see Request."""

    quant_dtype: str = DTYPE
    algorithm: str = "normal"
    fp16_layers: list[str] | None = None
    target: str = "rk3588"
    hybrid: bool = False
    seeds: int = SEEDS
    seconds: float = SECONDS
    command: tuple[float, float, float] | None = None
    terrain: Kind = "flat"
    height_map: str | None = None


def verify_files(given: ModelFiles, settings: Settings, output: Path) -> Verdict:
    """Verify, and write report.json, report.html and toolkit.log into the directory ``output``.

    Raises InputError for what does not fit, BackendError when the toolkit is missing.
    """
    policy = read_policy(given.model)
    manifest = replace_model(load_manifest(given.manifest), policy)
    check_fit(manifest, policy)
    stats = arrays.read_obs_stats(given.obs_stats) if given.obs_stats is not None else None
    arrays.check_stats(manifest, stats, str(given.manifest))
    capture = read_capture(given.capture) if given.capture is not None else None
    robot = body.find(manifest, given.mjcf, settings.terrain, settings.height_map)
    if robot is None and settings.seeds:
        console.note(
            f"robot {manifest.robot!r} cannot be simulated here: no closed loop; give its model with --mjcf"
        )
    walk = robot is not None and settings.seeds > 0
    inputs, tour = common_inputs(policy, manifest, stats, given.inputs, robot, walk)
    torch_actions = _torch_actions(given, inputs)
    verdict = verify(
        Request(
            policy=policy,
            manifest=manifest,
            stats=stats,
            inputs=inputs,
            tour=tour,
            quantization=_quantization(given.dataset, settings, policy),
            target=settings.target,
            hybrid=settings.hybrid,
            robot=robot,
            seeds=settings.seeds,
            seconds=settings.seconds,
            command=settings.command,
            capture=capture,
            bounds=gate.read_gate(given.gate),
        ),
        output / "toolkit.log",
        torch_actions,
    )
    sources = {
        "manifest": given.manifest,
        "statistics": given.obs_stats,
        "dataset": given.dataset,
        "checkpoint": given.checkpoint,
        "capture": given.capture,
        "robot's model": given.mjcf,
    }
    facts = {**made_from(policy, sources), "terrain": settings.terrain}
    write_reports(output, manifest, inputs, verdict, facts)
    return verdict


def _quantization(dataset: Path | None, settings: Settings, policy: PolicyOnnx) -> Quantization | None:
    if dataset is None:
        console.note("without --dataset int8 is left out")
        return None
    inputs = record.calibration_inputs(policy, dataset)
    return Quantization(settings.quant_dtype, settings.algorithm, inputs, settings.fp16_layers)


def _torch_actions(given: ModelFiles, inputs: Float32Array) -> Float32Array | None:
    from gaitforge.model.torch_policy import load_source, run_torch

    if given.checkpoint is None:
        return None
    with contextlib.redirect_stdout(None):
        separate = given.obs_stats is not None  # the inputs are normalized already
        source = load_source(given.checkpoint, given.config, given.choices, separate)
    if source.obs_dim != inputs.shape[1]:
        raise InputError(
            f"{given.checkpoint} takes {source.obs_dim} values, the ONNX model {inputs.shape[1]}"
        )
    return run_torch(source, inputs)
