"""Manifest, models, statistics and golden vectors become one bundle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gaitd import __version__
from gaitd.errors import InputError
from gaitd.policy.contract import Golden, Manifest
from gaitd.policy.observation import ObservationBuilder
from gaitforge.bundle import golden
from gaitforge.bundle.write import write_bundle
from gaitforge.common import arrays, console, files
from gaitforge.common.manifest import checked_manifest, read_manifest
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy
from gaitforge.rknn import record
from gaitforge.simulate.tour import can_simulate, tour

TOLERANCE_MARGIN = 1.5
"""The self-test on the robot allows this much more than the largest error of the report."""

TOOLS = ("torch", "onnx", "onnxruntime", "mujoco", "numpy")


def pack(sources: Mapping[str, Path], output: Path, training_commit: str | None = None) -> Path:
    """Write a bundle from files by kind: manifest and onnx, and rknn, obs_stats, report, observations,
    checkpoint where there are any. Returns its path. Raises InputError.
    """
    for name, path in sources.items():
        files.existing(path, f"the {name.replace('_', ' ')} file")
    policy = read_policy(sources["onnx"])
    raw = read_manifest(sources["manifest"])
    raw["model"] = msgspec.to_builtins(policy.model)
    raw["provenance"] = {**raw.get("provenance", {}), **_provenance(sources, training_commit)}
    if "rknn" in sources:
        _fit_rknn(raw, sources)
    manifest = checked_manifest(raw, str(sources["manifest"]))
    check_fit(manifest, policy)
    contents: dict[str, Path | bytes] = {"model.onnx": policy.content}
    for kind, name in (("rknn", "model.rknn"), ("obs_stats", "obs_stats.npz"), ("report", "report.json")):
        if kind in sources:
            contents[name] = sources[kind]
    with console.step("Sampling golden vectors"):
        contents["golden.npz"] = _golden(manifest, policy, sources)
    return write_bundle(output, raw, contents)


def _fit_rknn(raw: dict[str, Any], sources: Mapping[str, Path]) -> None:
    """Check that the .rknn model is of this ONNX model, and set how exact the NPU has to be.

    The robot's self-test compares the NPU with the float actions: a quantized model cannot be closer than
    what its report measured.
    """
    if not record.path_beside(sources["rknn"]).is_file():
        console.note(
            f"no {record.path_beside(sources['rknn'])}: what {sources['rknn']} was made from is unknown"
        )
        return
    made = record.read(sources["rknn"])
    if made.onnx_sha256 != files.sha256(sources["onnx"]):
        raise InputError(
            f"{sources['rknn']} was not made from {sources['onnx']} but from {made.onnx}: pack that, or "
            "convert again"
        )
    if "golden" in raw or "report" not in sources:
        return
    precisions = json.loads(sources["report"].read_text())["precisions"]
    name = "fp16" if made.quant_dtype is None else "hybrid" if made.fp16_layers else "int8"
    if name in precisions:
        parts = [precisions[name], precisions[name]["closed_loop"] or {}]
        largest = max(part["action_error"]["max"] for part in parts if part)
        tolerance = max(Golden().rknn_tolerance, round(TOLERANCE_MARGIN * largest, 3))
        raw["golden"] = {"rknn_tolerance": tolerance}


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
    stats = arrays.read_obs_stats(sources["obs_stats"]) if "obs_stats" in sources else None
    backend = policy.backend()
    if "observations" in sources:
        observations = arrays.read_observations(sources["observations"], policy.observation_dim)
    elif can_simulate(manifest):
        observations = tour(manifest, backend, stats)
    else:
        raise InputError(
            f"robot {manifest.robot!r} cannot be simulated here to sample golden vectors: "
            "give recorded observations with --observations"
        )
    buffer = io.BytesIO()
    np.savez(buffer, **golden.sample(manifest, backend, observations, stats))  # type: ignore[arg-type]
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
