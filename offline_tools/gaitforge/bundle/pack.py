"""Manifest, models, statistics and golden vectors become one bundle."""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gaitd import __version__
from gaitd.bundle.models import CHIP, check_models
from gaitd.bundle.rknn_file import read_rknn_file
from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Golden, Manifest
from gaitd.policy.observation import ObservationBuilder
from gaitforge.bundle import golden, report
from gaitforge.bundle.graph import Graph, read_encoders, read_graph
from gaitforge.bundle.write import write_bundle
from gaitforge.common import arrays, console, files
from gaitforge.common.manifest import checked_manifest, read_manifest
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy
from gaitforge.parity.capture import read_capture
from gaitforge.rknn import record
from gaitforge.rknn.budget import check_budget
from gaitforge.simulate import body
from gaitforge.simulate.tour import tour

TOLERANCE_MARGIN = 1.5
"""The self-test on the robot allows this much more than the largest error of the report."""

TOOLS = ("torch", "onnx", "onnxruntime", "mujoco", "numpy")


def pack(
    sources: Mapping[str, Path],
    output: Path,
    training_commit: str | None = None,
    accept_failed_gate: str | None = None,
    mjcf: Path | None = None,
) -> Path:
    """Write a bundle from files by kind: manifest and onnx, and rknn, obs_stats, report, observations,
    checkpoint, encoders where there are any. Returns its path. With several models, onnx and rknn are
    directories; encoders always is one.

    ``mjcf`` is the robot's model, for golden vectors from walking; the Lite3's is here.

    Raises InputError, or GateError for a report whose gate failed unless ``accept_failed_gate`` says why
    that is good enough.
    """
    if accept_failed_gate is not None and "report" not in sources:
        raise InputError("--accept-failed-gate needs the report whose gate failed: give --report")
    raw = read_manifest(sources["manifest"])
    of_models = ("onnx", "rknn") if raw.get("models") else ()
    for name, path in sources.items():
        if name not in (*of_models, "encoders"):
            files.existing(path, f"the {name.replace('_', ' ')} file")
    if of_models:
        return _pack_graph(sources, output, raw, training_commit, mjcf)
    policy = read_policy(sources["onnx"])
    budget = (raw.get("model") or {}).get("npu_memory_kib")
    raw["model"] = msgspec.to_builtins(policy.model) | ({"npu_memory_kib": budget} if budget else {})
    plain = {name: path for name, path in sources.items() if name != "encoders"}
    told = _provenance(plain, training_commit) | {"sha256_onnx": policy.sha256}
    raw["provenance"] = {**raw.get("provenance", {}), **told}
    verified = report.read(sources["report"]) if "report" in sources else None
    if "rknn" in sources:
        _fit_rknn(raw, sources, policy, verified)
    manifest = checked_manifest(raw, str(sources["manifest"]))
    check_fit(manifest, policy)
    encoders = read_encoders(manifest, sources.get("encoders"))
    contents: dict[str, Path | bytes] = {"model.onnx": policy.content, **encoders}
    for kind, name in (("rknn", "model.rknn"), ("obs_stats", "obs_stats.npz")):
        if kind in sources:
            contents[name] = sources[kind]
    if verified is not None:
        kinds = {"manifest": "manifest", "statistics": "obs_stats"}
        digests = {name: files.sha256(sources[kind]) for name, kind in kinds.items() if kind in sources}
        digests["model"] = policy.sha256
        contents["report.json"] = report.admit(sources["report"], verified, digests, accept_failed_gate)
    with console.step("Sampling golden vectors"):
        contents["golden.npz"], error = _golden(manifest, policy, sources, mjcf)
    _widen(raw, manifest, error)
    return write_bundle(output, raw, contents)


def _widen(raw: dict[str, Any], manifest: Manifest, error: float) -> None:
    """Allow as much of the CPU as the trainer's own actions are away from the model's."""
    if error > manifest.golden.onnx_tolerance:
        tolerance = float(f"{TOLERANCE_MARGIN * error:.2g}")
        raw["golden"] = {**raw.get("golden", {}), "onnx_tolerance": tolerance}
        console.note(f"golden.onnx_tolerance is {tolerance:g}: so far the trainer's own actions are")


def _pack_graph(
    sources: Mapping[str, Path],
    output: Path,
    raw: dict[str, Any],
    training_commit: str | None,
    mjcf: Path | None,
) -> Path:
    """Write a bundle of several models."""
    if "report" in sources:
        raise InputError(
            f"{sources['report']}: gaitforge verify judges a single model, and {sources['manifest']} has "
            "several: leave --report out"
        )
    manifest = checked_manifest(raw, str(sources["manifest"]))
    graph = read_graph(manifest, sources["onnx"], sources.get("rknn"))
    plain = {name: path for name, path in sources.items() if name not in ("onnx", "rknn", "encoders")}
    digests = {f"sha256_{name}": digest for name, digest in graph.sha256.items()}
    raw["provenance"] = {**raw.get("provenance", {}), **_provenance(plain, training_commit), **digests}
    contents: dict[str, Path | bytes] = {
        **graph.contents,
        **read_encoders(manifest, sources.get("encoders")),
    }
    if "obs_stats" in sources:
        contents["obs_stats.npz"] = sources["obs_stats"]
    with console.step("Sampling golden vectors"):
        contents["golden.npz"], error = _golden(manifest, graph, sources, mjcf)
    _widen(raw, manifest, error)
    return write_bundle(output, raw, contents)


def _fit_rknn(
    raw: dict[str, Any], sources: Mapping[str, Path], policy: PolicyOnnx, verified: report.Report | None
) -> None:
    """Check that the .rknn model is one for the robot and of this ONNX model, and set how exact the NPU has
    to be.

    The robot's self-test compares the NPU with the float actions: a quantized model cannot be closer than
    what its report measured.
    """
    content = files.read_model(sources["rknn"], "the rknn file")
    try:
        check_models({"model.rknn": content})
    except InputError as error:
        raise InputError(f"{sources['rknn']}: {error}") from error
    toolkit = read_rknn_file(content).toolkit
    console.say(f"{sources['rknn']}: for the {CHIP}, by rknn-toolkit2 {toolkit}; librknnrt must be as new")
    if not files.found(record.path_beside(sources["rknn"])):
        console.note(
            f"no {record.path_beside(sources['rknn'])}: what {sources['rknn']} was made from is unknown"
        )
        return
    made = record.read(sources["rknn"])
    raw["provenance"]["rknn"] = record.describe(made)
    if made.onnx_sha256 != policy.sha256:
        raise InputError(
            f"{sources['rknn']} was not made from {sources['onnx']} but from {made.onnx}: pack that, or "
            "convert again"
        )
    budget_kib = raw["model"].get("npu_memory_kib")
    check_budget(budget_kib, made.weight_memory_kib, made.internal_memory_kib, sources["rknn"])
    if "golden" in raw or verified is None:
        return
    name = "fp16" if made.quant_dtype is None else "hybrid" if made.fp16_layers else "int8"
    if name in verified.precisions:
        largest = verified.precisions[name].largest_error()
        tolerance = max(Golden().rknn_tolerance, round(TOLERANCE_MARGIN * largest, 3))
        raw["golden"] = {"rknn_tolerance": tolerance}


def check_fit(manifest: Manifest, policy: PolicyOnnx) -> None:
    """Raise InputError when the model is one of several, or its tensors are not as the manifest has them."""
    if manifest.models:
        names = ", ".join(model.name for model in manifest.models)
        raise InputError(
            f"{policy.path} is one model, and the manifest has several: {names}. They are packed together "
            "(gaitforge pack --onnx DIRECTORY); nothing else here knows of them"
        )
    observation = ObservationBuilder(manifest).dim
    if policy.observation_dim != observation:
        raise InputError(
            f"{policy.path} takes {policy.observation_dim} values, but the manifest's observation terms "
            f"make {observation}"
        )
    moved = len(manifest.moved_joints)
    if policy.action_dim != moved:
        raise InputError(f"{policy.path} gives {policy.action_dim} actions for {moved} joints")


def _golden(
    manifest: Manifest, policy: PolicyOnnx | Graph, sources: Mapping[str, Path], mjcf: Path | None
) -> tuple[bytes, float]:
    """golden.npz, and how far the model is from captured actions."""
    stats = arrays.read_obs_stats(sources["obs_stats"]) if "obs_stats" in sources else None
    arrays.check_stats(manifest, stats, str(sources["manifest"]))
    backend = policy.backend()
    if "capture" in sources:
        captured = read_capture(sources["capture"])
        contents, error = golden.from_capture(manifest, backend, captured, stats)
        return _npz(contents), error
    if "observations" in sources:
        observations = arrays.read_observations(sources["observations"], ObservationBuilder(manifest).dim)
    elif (robot := body.find(manifest, mjcf)) is not None:
        observations = tour(manifest, backend, stats, body=robot)
    else:
        raise InputError(
            f"robot {manifest.robot!r} cannot be simulated here to sample golden vectors: give its model "
            "with --mjcf, a capture of the trainer with --capture, or recorded observations with "
            "--observations"
        )
    return _npz(golden.sample(manifest, backend, observations, stats)), 0.0


def _npz(contents: Mapping[str, Float32Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **contents)  # type: ignore[arg-type]
    return buffer.getvalue()


def _provenance(sources: Mapping[str, Path], training_commit: str | None) -> dict[str, str]:
    provenance = {f"sha256_{name}": files.sha256(path) for name, path in sorted(sources.items())}
    provenance["gaitforge"] = __version__
    for tool in TOOLS:
        try:
            provenance[tool] = version(tool)
        except PackageNotFoundError:
            continue
    if training_commit:
        provenance["training_commit"] = training_commit
    return provenance
