"""Capture files (docs/parity.md), read strictly: they come from outside."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gaitd.bundle.untrusted import load_arrays
from gaitd.errors import InputError, printable
from gaitd.policy.joints import order_from
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.replay import StateTrace
from gaitd.system.plain_file import read_plain
from gaitd.wire.generated import STATE_VALUES
from gaitforge.parity.gaitd_capture import ANY, FIELDS, FORMAT, JOINTS, VERSION

MAX_BYTES = 256 * 1024 * 1024
MAX_STEPS = 100_000
MAX_JOINTS = 256
REQUIRED = ("joint_position", "joint_velocity", "angular_velocity", "observation", "action")


class Meta(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a capture says of itself."""

    format: str
    version: int
    writer: str
    joints: list[str]
    control_period_s: float
    observation: Literal["raw", "normalized"]
    """Whether the observations are what went into the policy's normalizer or what came out of it."""
    notes: list[str] = []


@dataclass(frozen=True)
class Capture:
    """Some seconds of a policy in its trainer."""

    path: Path
    meta: Meta
    arrays: dict[str, Float32Array]
    """Per step, by name of ``FIELDS``; joints in the capture's order."""
    reset: npt.NDArray[np.bool_]
    """(steps,) whether an episode begins with this step."""
    stats: tuple[Float32Array, Float32Array] | None
    """Mean and std of the trainer's normalizer, where it was captured."""

    def __len__(self) -> int:
        return len(self.reset)

    @property
    def observation(self) -> Float32Array:
        """(steps, observation_dim) as given to the policy."""
        return self.arrays["observation"]

    @property
    def action(self) -> Float32Array:
        """(steps, n) raw, in the order of the policy's actions."""
        return self.arrays["action"]

    def trace(self, manifest: Manifest) -> StateTrace:
        """The states with the policy's joints in its order. Raises InputError for a missing joint."""
        missing = [name for name in manifest.joints if name not in self.meta.joints]
        if missing:
            raise InputError(
                f"{self.path}: joint {missing[0]!r} of the policy is not among the capture's: "
                f"{', '.join(self.meta.joints)}"
            )
        order = order_from(self.meta.joints, manifest.joints)
        fields = {}
        for name in STATE_VALUES:
            if name in self.arrays:
                array = self.arrays[name]
                fields[name] = array[:, order] if FIELDS[name] == JOINTS else array
        return StateTrace(fields, self.reset)

    def target(self, manifest: Manifest) -> Float32Array | None:
        """Joint position targets (steps, n) in the policy's order; NaN where they are not known."""
        if "joint_target" not in self.arrays:
            return None
        return self.arrays["joint_target"][:, order_from(self.meta.joints, manifest.joints)]


def read_capture(path: Path) -> Capture:
    """Read and check a capture. Raises InputError that names the array and what is wrong with it."""
    try:
        data = read_plain(path, MAX_BYTES)
        names = _names(path, data)
        arrays = load_arrays(data, names)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    meta = _meta(path, arrays.pop("meta"))
    reset = arrays.pop("reset")
    steps = len(reset) if reset.ndim == 1 else 0
    if not 2 <= steps <= MAX_STEPS or not np.isin(reset, (0.0, 1.0)).all():
        raise InputError(
            f"{path}: reset has shape {reset.shape}; expected 2 to {MAX_STEPS} values of 0 and 1"
        )
    stats = _stats(path, arrays)
    for name, array in arrays.items():
        size = {JOINTS: len(meta.joints), ANY: array.shape[-1] if array.ndim == 2 else 1}.get(
            FIELDS[name], FIELDS[name]
        )
        if array.shape != (steps, size) or size == 0:
            raise InputError(f"{path}: {name} has shape {array.shape}, expected {(steps, size)}")
        bad = ~np.isfinite(array) if name != "joint_target" else np.isinf(array)
        if bad.any():
            step, value = np.argwhere(bad)[0]
            raise InputError(f"{path}: {name}, step {step}, value {value} is {array[step, value]}")
    _complete_orientation(path, arrays)
    return Capture(path, meta, arrays, reset > 0, stats)


def _names(path: Path, data: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.namelist()
    except Exception as error:  # zipfile lets out whatever its parts raise
        raise InputError(f"{path}: not a capture, or damaged ({printable(str(error))})") from None
    names = [member.removesuffix(".npy") for member in members]
    known = {*FIELDS, "meta", "reset", "observation_mean", "observation_std"}
    for member, name in zip(members, names, strict=True):
        if name not in known or members.count(member) > 1:
            raise InputError(f"{path}: {printable(member)!r} is no array of a capture, or is there twice")
    for name in ("meta", "reset", *REQUIRED):
        if name not in names:
            raise InputError(f"{path}: array {name!r} is missing; is this a capture?")
    return names


def _meta(path: Path, array: Float32Array) -> Meta:
    try:
        meta = msgspec.json.decode(array.astype(np.uint8).tobytes(), type=Meta)
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"{path}: meta: {printable(str(error))}") from None
    if meta.format != FORMAT or meta.version != VERSION:
        raise InputError(
            f"{path}: format {printable(meta.format, 40)!r} version {meta.version}; this gaitforge reads "
            f"{FORMAT!r} version {VERSION}"
        )
    if not 1 <= len(meta.joints) <= MAX_JOINTS or len(set(meta.joints)) != len(meta.joints):
        raise InputError(f"{path}: meta: joints: expected 1 to {MAX_JOINTS} different names")
    if not 0 < meta.control_period_s < math.inf:
        raise InputError(f"{path}: meta: control_period_s is {meta.control_period_s}, expected above 0")
    return meta


def _stats(path: Path, arrays: dict[str, Float32Array]) -> tuple[Float32Array, Float32Array] | None:
    mean, std = arrays.pop("observation_mean", None), arrays.pop("observation_std", None)
    if mean is None and std is None:
        return None
    size = arrays["observation"].shape[-1]
    if mean is None or std is None or mean.shape != (size,) or std.shape != (size,):
        raise InputError(f"{path}: observation_mean and observation_std: expected both, {size} values each")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise InputError(f"{path}: observation_mean and observation_std must be finite, std not negative")
    return mean, std


def _complete_orientation(path: Path, arrays: dict[str, Float32Array]) -> None:
    """Check the orientation; where there is projected gravity alone, make one of it, with a yaw of zero."""
    if "orientation" in arrays:
        norms = np.linalg.norm(arrays["orientation"], axis=1)
        if not ((norms > 0.9) & (norms < 1.1)).all():
            step = int(np.argmax(np.abs(norms - 1.0)))
            raise InputError(f"{path}: orientation, step {step}: its norm is {norms[step]:.3g}, expected 1")
    elif "projected_gravity" in arrays:
        x, y, z = arrays["projected_gravity"].astype(np.float64).T
        roll, pitch = np.arctan2(-y, -z) / 2, np.arctan2(x, np.hypot(y, z)) / 2
        quaternion = (
            np.cos(roll) * np.cos(pitch),
            np.sin(roll) * np.cos(pitch),
            np.cos(roll) * np.sin(pitch),
            -np.sin(roll) * np.sin(pitch),
        )
        arrays["orientation"] = np.stack(quaternion, axis=1).astype(np.float32)
    else:
        raise InputError(f"{path}: neither orientation nor projected_gravity is there")
