"""Policy bundles: read, verify, refuse.

A bundle is a directory, or the same files in one uncompressed zip named ``*.gaitd``. Its identity is the
sha256 of manifest.yaml, which in turn holds the sha256 of every other file.
"""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from gaitd.bundle.bounds import check_bounds
from gaitd.bundle.models import MODEL_NAME, check_models, model_files
from gaitd.bundle.untrusted import array_names, load_arrays, load_yaml, read_files
from gaitd.errors import InputError, printable
from gaitd.policy.admission import AdmissionLimits, StateAdmission
from gaitd.policy.brake import brakes
from gaitd.policy.declared import MotionArrays
from gaitd.policy.encoder import check_encoders, encoded
from gaitd.policy.graph import model_graph
from gaitd.policy.joints import check_known_joints, check_same_joints, gain_array
from gaitd.policy.manifest import FORMATS, Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.replay import StateTrace, check_terms, check_trace
from gaitd.policy.schema import newest_keys
from gaitd.system.known_names import known_names
from gaitd.system.memory import memory_limit
from gaitd.wire.generated import STATE_VALUES

MANIFEST = "manifest.yaml"
MOTION = "motion.npz"
KNOWN_FILES = (MANIFEST, "model.onnx", "model.rknn", "obs_stats.npz", "golden.npz", MOTION, "report.json")
"""Beside the files of the models that a manifest names itself."""
SUFFIX = ".gaitd"
MAX_MEMORY_BYTES = 256 * 1024 * 1024
"""What verifying a bundle may take; gaitd.service has 768 MB for all its processes."""
MAX_GOLDEN_ROWS = 10_000
"""The self-test infers each before gaitd is ready: 10 s at 1 ms."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, held in memory: what was checked is what runs, whatever happens to the file."""

    path: Path
    id: str
    """sha256 of manifest.yaml, 64 hex digits."""
    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def policy_id(self) -> str:
        """The first 16 hex digits of the id, as commands carry it."""
        return self.id[:16]

    def has(self, name: str) -> bool:
        """Whether the bundle holds that file."""
        return name in self.files

    def has_models(self, suffix: Literal["onnx", "rknn"]) -> bool:
        """Whether all models are there for the CPU, or for the NPU those that may run on it."""
        graph = self.manifest.models
        names = [each.name for each in graph if suffix == "onnx" or each.backend != "onnx"]
        return all(self.has(f"{name}.{suffix}") for name in (names if graph else ["model"]))

    def read_bytes(self, name: str) -> bytes:
        """Content of one file. Raises InputError when the bundle does not hold it."""
        if name not in self.files:
            raise InputError(f"{self.path}: holds no {name}; it has {', '.join(sorted(self.files))}")
        return self.files[name]

    def obs_stats(self) -> tuple[Float32Array, Float32Array] | None:
        """Mean and std of the observation, or None for a policy without normalization."""
        if self.manifest.normalization is None:
            return None
        arrays = _load_npz(self.path, "obs_stats.npz", self.read_bytes("obs_stats.npz"), ("mean", "std"))
        return arrays["mean"].ravel(), arrays["std"].ravel()

    def golden(self) -> tuple[Float32Array, Float32Array]:
        """Recorded observations [N, observation_dim] before normalization and float actions [N, n]."""
        names = ("observation", "action")
        arrays = _load_npz(self.path, "golden.npz", self.read_bytes("golden.npz"), names)
        return arrays["observation"], arrays["action"]

    def captured_states(self) -> StateTrace | None:
        """The states that the golden observations were made from outside gaitd; None without a capture."""
        data = self.read_bytes("golden.npz")
        names = array_names(data)
        states = [name for name in STATE_VALUES if f"state_{name}" in names]
        if "state_reset" not in names:
            return None
        inputs = [name for each in self.manifest.inputs if (name := f"state_input_{each.name}") in names]
        keys = ["state_reset", *(f"state_{name}" for name in states), *inputs]
        arrays = _load_npz(self.path, "golden.npz", data, tuple(keys))
        fields = {name: arrays[f"state_{name}"] for name in states}
        return StateTrace(fields, arrays["state_reset"] > 0, tuple(arrays[name] for name in inputs))

    def motion(self) -> MotionArrays | None:
        """The motion reference, (frames, values) by name; None of a policy without one."""
        if self.manifest.motion is None:
            return None
        return _load_npz(self.path, MOTION, self.read_bytes(MOTION), tuple(self.manifest.motion.arrays))

    def pipeline(self) -> PolicyPipeline:
        """A fresh pipeline of this policy."""
        return PolicyPipeline(self.manifest, self.obs_stats(), self.motion())


def open_bundle(path: Path) -> Bundle:
    """Read a bundle and verify everything but the model itself.

    Raises InputError, one line naming file and key, for anything missing, unknown, altered or
    contradictory.
    """
    try:
        with memory_limit(MAX_MEMORY_BYTES):
            return _open_bundle(path)
    except MemoryError:
        raise InputError(f"{path}: takes more than {MAX_MEMORY_BYTES} bytes of memory to verify") from None


def _open_bundle(path: Path) -> Bundle:
    files = read_files(path, is_known)
    if MANIFEST not in files:
        raise InputError(f"{path}: {MANIFEST} is missing; is this a policy bundle?")
    manifest = decode_manifest(files[MANIFEST], f"{path}: {MANIFEST}")
    _check_files(path, manifest, files)
    bundle = Bundle(path, hashlib.sha256(files[MANIFEST]).hexdigest(), manifest, files)
    _check_contents(bundle)
    return bundle


def is_known(name: str) -> bool:
    """Whether a bundle may have a file of that name: of one model, or of several with names of their own."""
    stem, _, suffix = name.rpartition(".")
    return name in KNOWN_FILES or (suffix in ("onnx", "rknn") and MODEL_NAME.fullmatch(stem) is not None)


def decode_manifest(data: bytes, where: str) -> Manifest:
    """Decode manifest.yaml. Raises InputError that starts with ``where`` and names the key."""
    try:
        value = load_yaml(data)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if isinstance(value, dict) and value.get("format") not in FORMATS:
        known = " or ".join(map(str, FORMATS))
        raise InputError(f"{where}: format: expected {known}, got {reprlib.repr(value.get('format'))}")
    try:
        manifest = msgspec.convert(value, Manifest)
        _check_format(manifest)
        check_bounds(manifest)
    except (msgspec.ValidationError, InputError) as error:
        problem = f"{error}{known_names(str(error), Manifest)}"
        raise InputError(f"{where}: {printable(problem)}") from None
    return manifest


def _check_format(manifest: Manifest) -> None:
    """A manifest of format 1 has none of the keys that came later: an older gaitd would refuse it."""
    newer = newest_keys(manifest) if manifest.format == 1 else []
    if manifest.format == 1 and isinstance(manifest.action, list):
        newer.append("action, a list of groups,")
    if newer:
        raise InputError(f"{newer[0]} is of format 2: write `format: 2`, which holds all of format 1 too")


def _check_files(path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    listed = set(manifest.files)
    encoders = [model_files(encoder.model)[0] for _, encoder in encoded(manifest.streams)]
    for name in sorted(set(files) - listed - {MANIFEST}):
        raise InputError(f"{path}: {printable(name)}: not listed under files in {MANIFEST}")
    for name, expected in manifest.files.items():
        known = [*KNOWN_FILES[1:], *(f for model in manifest.models for f in model_files(model.name))]
        known += encoders
        if name not in known:
            raise InputError(
                f"{path}: {MANIFEST}: files: a bundle holds no file named {name!r}; known: {', '.join(known)}"
            )
        if name not in files:
            raise InputError(f"{path}: {name} is missing, though {MANIFEST} lists it")
        got = hashlib.sha256(files[name]).hexdigest()
        if got != expected:
            raise InputError(f"{path}: {name}: sha256 is {got[:16]}..., {MANIFEST} says {expected[:16]}...")
    needed = ["golden.npz"] + (["obs_stats.npz"] if manifest.normalization is not None else [])
    needed += [MOTION] if manifest.motion is not None else []
    needed += encoders
    for name in needed:
        if name not in files:
            raise InputError(f"{path}: {name} is missing; every bundle of this policy needs it")
    if manifest.normalization is None and "obs_stats.npz" in files:
        raise InputError(f"{path}: obs_stats.npz is there, but {MANIFEST} has no normalization")
    if manifest.motion is None and MOTION in files:
        raise InputError(f"{path}: {MOTION} is there, but {MANIFEST} has no motion")
    for model in [model.name for model in manifest.models] or ["model"]:
        onnx, rknn = model_files(model)
        if onnx not in files and rknn not in files:
            raise InputError(f"{path}: holds neither {onnx} nor {rknn}")


def _check_contents(bundle: Bundle) -> None:
    manifest, where = bundle.manifest, f"{bundle.path}: {MANIFEST}"
    try:
        check_models(bundle.files)
    except InputError as error:
        raise InputError(f"{bundle.path}: {error}") from None
    try:
        check_joints_and_models(manifest)
        if not 1e-3 <= manifest.control_period_s <= 1.0:
            raise InputError(f"control_period_s: expected 0.001 to 1 s, got {manifest.control_period_s}")
        for low, high in zip(manifest.velocity_command.min, manifest.velocity_command.max, strict=True):
            if not -np.inf < low <= high < np.inf:
                raise InputError(f"velocity_command: expected finite min <= max, got {low} and {high}")
        for key in ("onnx_tolerance", "rknn_tolerance", "observation_tolerance"):
            if not 0 < getattr(manifest.golden, key) < np.inf:
                raise InputError(f"golden.{key}: expected above 0, got {getattr(manifest.golden, key)}")
        pipeline = bundle.pipeline()
        StateAdmission(manifest, AdmissionLimits.for_period(manifest.period_ns))
    except InputError as error:
        if str(error).startswith(("obs_stats.npz", MOTION)):
            raise InputError(f"{bundle.path}: {error}") from None
        if str(error).startswith(str(bundle.path)):
            raise
        raise InputError(f"{where}: {error}") from None
    observation, action = bundle.golden()
    rows = len(observation) if observation.ndim == 2 else 0
    if rows < 2 or observation.shape != (rows, pipeline.builder.dim):
        raise InputError(
            f"{bundle.path}: golden.npz: observation has shape {observation.shape}, expected at least 2 rows "
            f"of {pipeline.builder.dim}, as the manifest's terms make"
        )
    if rows > MAX_GOLDEN_ROWS:
        raise InputError(
            f"{bundle.path}: golden.npz: {rows} vectors, more than the {MAX_GOLDEN_ROWS} allowed"
        )
    shape = (rows, len(manifest.moved_joints))
    if action.shape != shape:
        raise InputError(f"{bundle.path}: golden.npz: action has shape {action.shape}, expected {shape}")
    if not (np.isfinite(observation).all() and np.isfinite(action).all()):
        raise InputError(f"{bundle.path}: golden.npz holds values that are not finite")
    _check_captured(bundle)


def _check_captured(bundle: Bundle) -> None:
    """Prove the terms: the captured states must make the captured observations."""
    try:
        trace = bundle.captured_states()
        if trace is None:
            return
        observation, action = bundle.golden()
        check_trace(bundle.manifest, trace, len(observation))
        check_terms(bundle.manifest, bundle.pipeline(), trace, observation, action)
    except InputError as error:
        raise InputError(f"{bundle.path}: golden.npz: {error}") from None


def check_joints_and_models(manifest: Manifest) -> None:
    """Raise InputError where joints, what damps them, and models do not fit together."""
    check_same_joints(manifest.joints, manifest.joints, "joints")
    check_known_joints(manifest.joints, manifest.continuous_joints, "continuous_joints")
    fallback_damping(manifest)
    brakes(manifest)
    model_graph(manifest)
    check_encoders(manifest)


def fallback_damping(manifest: Manifest) -> Float32Array:
    """Damping (n,) Nm s/rad of each motor in DAMPING. Raises InputError."""
    return gain_array(
        manifest.fallback_damping_nms_per_rad,
        manifest.joints,
        "fallback_damping_nms_per_rad",
        manifest.allow_zero_fallback_damping,
        "allow_zero_fallback_damping",
    )


def _load_npz(path: Path, name: str, data: bytes, arrays: tuple[str, ...]) -> dict[str, Float32Array]:
    try:
        return load_arrays(data, arrays)
    except InputError as error:
        raise InputError(f"{path}: {name}: {error}") from None
