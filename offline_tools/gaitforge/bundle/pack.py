"""gaitforge pack: manifest, models, statistics and golden vectors become one bundle."""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gaitd import __version__
from gaitd.backends.rknn_file import read_rknn_file
from gaitd.bundle.models import CHIP, check_models
from gaitd.bundle.read import decode_manifest, write_bundle
from gaitd.bundle.untrusted import dump_yaml
from gaitd.errors import InputError
from gaitd.policy.contract import Golden, Manifest
from gaitd.policy.observation import ObservationBuilder
from gaitforge.bundle import golden, report
from gaitforge.common import console, files
from gaitforge.data import arrays
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy
from gaitforge.rknn import record

if TYPE_CHECKING:
    from gaitforge.cli import Subparsers

TOLERANCE_MARGIN = 1.5
"""The self-test on the robot allows this much more than the largest error of the report."""

TOOLS = ("torch", "onnx", "onnxruntime", "mujoco", "numpy")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "pack",
        help="put a policy and all that belongs to it into a bundle",
        description="Write a policy bundle: a single file when OUTPUT ends in .gaitd, else a directory.",
    )
    parser.add_argument("--manifest", type=Path, required=True, help="YAML with the policy's contract")
    parser.add_argument("--onnx", type=Path, required=True, help="the float model")
    parser.add_argument("--rknn", type=Path, help="the model for the NPU")
    parser.add_argument("--obs-stats", type=Path, help=".npz with mean and std, if the policy normalizes")
    parser.add_argument("--report", type=Path, help="report.json of gaitforge verify")
    parser.add_argument(
        "--accept-failed-gate", metavar="WHY", help="pack although the report says that the gate failed"
    )
    parser.add_argument(
        "--observations",
        type=Path,
        help="recorded observations before normalization, to take golden vectors from "
        "(default: a simulated closed loop, for robots that can be simulated)",
    )
    parser.add_argument("--training-commit", help="git commit of the training code, for the provenance")
    parser.add_argument("--checkpoint", type=Path, help="the checkpoint, for its hash in the provenance")
    parser.add_argument("--output", type=Path, required=True, help="bundle to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the bundle."""
    sources = {
        "checkpoint": args.checkpoint,
        "manifest": args.manifest,
        "onnx": args.onnx,
        "rknn": args.rknn,
        "obs_stats": args.obs_stats,
        "report": args.report,
        "observations": args.observations,
    }
    path = pack(
        sources={name: path for name, path in sources.items() if path is not None},
        output=args.output,
        training_commit=args.training_commit,
        accept_failed_gate=args.accept_failed_gate,
    )
    console.say(f"packed {path}")


def pack(
    sources: Mapping[str, Path],
    output: Path,
    training_commit: str | None = None,
    accept_failed_gate: str | None = None,
) -> Path:
    """Write a bundle from files by kind: manifest and onnx, and rknn, obs_stats, report, observations,
    checkpoint where there are any. Returns its path.

    Raises InputError, or GateError for a report whose gate failed unless ``accept_failed_gate`` says why
    that is good enough.
    """
    if accept_failed_gate is not None and "report" not in sources:
        raise InputError("--accept-failed-gate needs the report whose gate failed: give --report")
    for name, path in sources.items():
        files.existing(path, f"the {name.replace('_', ' ')} file")
    policy = read_policy(sources["onnx"])
    raw = read_manifest(sources["manifest"])
    raw["model"] = msgspec.to_builtins(policy.model)
    raw["provenance"] = {**raw.get("provenance", {}), **_provenance(sources, policy, training_commit)}
    contents: dict[str, Path | bytes] = {"model.onnx": policy.content}
    if "obs_stats" in sources:
        contents["obs_stats.npz"] = sources["obs_stats"]
    verified = report.read(sources["report"]) if "report" in sources else None
    if "rknn" in sources:
        contents["model.rknn"] = sources["rknn"].read_bytes()
        _fit_rknn(raw, sources, policy, verified)
    manifest = checked_manifest(raw, str(sources["manifest"]))
    check_fit(manifest, policy)
    if verified is not None:
        kinds = {"manifest": "manifest", "statistics": "obs_stats"}
        digests = {name: files.sha256(sources[kind]) for name, kind in kinds.items() if kind in sources}
        digests["model"] = policy.sha256
        contents["report.json"] = report.admit(sources["report"], verified, digests, accept_failed_gate)
    with console.step("Sampling golden vectors"):
        contents["golden.npz"] = _golden(manifest, policy, sources)
    return write_bundle(output, raw, contents)


def _fit_rknn(
    raw: dict[str, Any], sources: Mapping[str, Path], policy: PolicyOnnx, verified: report.Report | None
) -> None:
    """Check that the .rknn model is one for the robot and of this ONNX model, and set how exact the NPU has
    to be.

    The robot's self-test compares the NPU with the float actions: a quantized model cannot be closer than
    what its report measured.
    """
    content = sources["rknn"].read_bytes()
    try:
        check_models({"model.rknn": content})
    except InputError as error:
        raise InputError(f"{sources['rknn']}: {error}") from error
    toolkit = read_rknn_file(content).toolkit
    console.say(f"{sources['rknn']}: for the {CHIP}, by rknn-toolkit2 {toolkit}; librknnrt must be as new")
    if not record.path_beside(sources["rknn"]).is_file():
        console.note(
            f"no {record.path_beside(sources['rknn'])}: what {sources['rknn']} was made from is unknown"
        )
        return
    made = record.read(sources["rknn"])
    if made.onnx_sha256 != policy.sha256:
        raise InputError(
            f"{sources['rknn']} was not made from {sources['onnx']} but from {made.onnx}: pack that, or "
            "convert again"
        )
    if "golden" in raw or verified is None:
        return
    name = "fp16" if made.quant_dtype is None else "hybrid" if made.fp16_layers else "int8"
    if name in verified.precisions:
        largest = verified.precisions[name].largest_error()
        tolerance = max(Golden().rknn_tolerance, round(TOLERANCE_MARGIN * largest, 3))
        raw["golden"] = {"rknn_tolerance": tolerance}


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest's YAML as it stands, without ``files``. Raises InputError."""
    raw = files.read_yaml(path, "the manifest")
    raw.pop("files", None)
    return raw


def checked_manifest(raw: Mapping[str, Any], where: str) -> Manifest:
    """Decode a manifest that has no ``files`` yet. Raises InputError that starts with ``where``."""
    return decode_manifest(dump_yaml({**raw, "files": {}}), where)


def check_fit(manifest: Manifest, policy: PolicyOnnx) -> None:
    """Raise InputError when the model's tensors are not as long as the manifest makes them."""
    observation = ObservationBuilder(manifest).dim
    if policy.observation_dim != observation:
        raise InputError(
            f"{policy.path} takes {policy.observation_dim} values, but the manifest's observation terms "
            f"make {observation}"
        )
    if policy.action_dim != len(manifest.joints):
        raise InputError(f"{policy.path} gives {policy.action_dim} actions for {len(manifest.joints)} joints")


def _golden(manifest: Manifest, policy: PolicyOnnx, sources: Mapping[str, Path]) -> bytes:
    stats = arrays.contract_stats(manifest, sources.get("obs_stats"), str(sources["manifest"]))
    backend = policy.backend()
    if "observations" in sources:
        observations = arrays.read_observations(sources["observations"], policy.observation_dim)
    elif golden.can_simulate(manifest):
        observations = golden.tour(manifest, backend, stats)
    else:
        raise InputError(
            f"robot {manifest.robot!r} cannot be simulated here to sample golden vectors: "
            "give recorded observations with --observations"
        )
    buffer = io.BytesIO()
    np.savez(buffer, **golden.sample(manifest, backend, observations, stats))  # type: ignore[arg-type]
    return buffer.getvalue()


def _provenance(
    sources: Mapping[str, Path], policy: PolicyOnnx, training_commit: str | None
) -> dict[str, str]:
    provenance = {f"sha256_{name}": files.sha256(path) for name, path in sorted(sources.items())}
    provenance["sha256_onnx"] = policy.sha256
    provenance["gaitforge"] = __version__
    for tool in TOOLS:
        try:
            provenance[tool] = version(tool)
        except PackageNotFoundError:
            continue
    if training_commit:
        provenance["training_commit"] = training_commit
    return provenance
