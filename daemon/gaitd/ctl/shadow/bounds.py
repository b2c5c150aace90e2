"""Where a verdict's bound comes from: a comparison over a simulated walk, the bundle's report, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from gaitd.bundle.failovers import REPORT, npu_precision
from gaitd.bundle.read import Bundle
from gaitd.ctl.shadow.verdict import MIN_STEPS, Allowed, Bound, default_bound
from gaitd.errors import InputError
from gaitd.policy.manifest import Manifest
from gaitd.shared.shadow import QUANTILES, ShadowReport
from gaitd.system.plain_file import read_plain

MAX_BYTES = 1 << 20
MODEL = "model.onnx"


def simulated_bound(path: Path, policy_id: str, of_id: str, backend: str) -> Bound:
    """What the two showed in simulation, as --output wrote it. Raises InputError."""
    try:
        found = msgspec.json.decode(read_plain(path, MAX_BYTES), type=ShadowReport)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not what gaitctl shadow --output or gaitforge shadow writes: {error}"
        ) from None
    if (found.policy_id, found.of_id) != (policy_id, of_id):
        raise InputError(
            f"{path}: compares {found.policy} ({found.policy_id}) with {found.of} ({found.of_id}), here it "
            f"is {policy_id} with {of_id}; make one of these two"
        )
    if found.compared < MIN_STEPS:
        raise InputError(f"{path}: compares {found.compared} steps, {MIN_STEPS} are needed")
    tail = QUANTILES.index(0.99)
    joints = {joint: Allowed(found.mean_rad[joint], values[tail]) for joint, values in found.joints.items()}
    return replace(
        default_bound(backend), source=f"{found.compared} steps in simulation ({path.name})", joints=joints
    )


class _Error(msgspec.Struct):
    mean: float
    max: float


class _Precision(msgspec.Struct):
    error_rad: Mapping[str, _Error]


class _Report(msgspec.Struct):
    joints: Mapping[str, _Precision]


def report_bound(bundle: Bundle, walking: Manifest, backend: str) -> Bound:
    """What the bundle's report says of the model on the NPU against the one on the CPU; else the default.

    Only where both policies have the same model, and the one that walks has it on the NPU (``backend``).
    """
    default = default_bound(backend)
    same = bundle.manifest.files.get(MODEL) == walking.files.get(MODEL) is not None
    if not (same and backend.startswith("rknn") and bundle.has(REPORT)):
        return default
    try:
        report = msgspec.json.decode(bundle.read_bytes(REPORT), type=_Report)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return default  # one that another tool wrote
    precision = npu_precision(walking)
    if precision not in report.joints:
        return default
    errors = report.joints[precision].error_rad
    joints = {joint: Allowed(error.mean, error.max) for joint, error in errors.items()}
    return replace(default, source=f"{precision} against float in the bundle's {REPORT}", joints=joints)
