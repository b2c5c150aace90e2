"""What a policy must do by itself, what a converted model must reach, and whether they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array
from gaitd.system.known_names import known_names
from gaitforge.common import files
from gaitforge.verify.evaluation import Result
from gaitforge.verify.joint_errors import JointBound, JointErrors
from gaitforge.verify.pace import NOTHING_ASKED, other_scale
from gaitforge.verify.walking import PAST, Leg, Velocity, Walk, in_words


class Floor(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What the float model itself must do: a model cannot pass by being as bad as it was trained."""

    falls: int = 0
    """Walks that may end on the floor."""
    hard_landings: int = 0
    """Times that the fallback damping may drop it, or not let it down, out of a walk."""
    tracking_fraction: float = 0.5
    """The part of each commanded velocity that must be reached, in its direction."""
    drift: float = 0.3
    """How much more than commanded it may move, m/s and rad/s; half as much again is always allowed."""


class Bounds(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Bounds of one precision, against the float model."""

    action_mean: float
    """Of the action error, raw action units; as a part of the actions' root mean square where that is > 1."""
    action_max: float
    """Likewise."""
    cosine_min: float
    """Smallest cosine between the actions of one step."""
    joint_mean_rad: float
    """Mean error of a joint's position target."""
    joint_max_rad: float
    """Its largest error, also in closed loop."""
    joint_mean_share: float
    """Mean error of a joint's velocity or torque target, as a part of its limit in the manifest."""
    joint_max_share: float
    """Likewise its largest error, also in closed loop."""
    distance_fraction: float = 0.05
    """How much shorter or longer than float's the way may be in closed loop."""
    yaw_bias_rad_per_s: float = 0.05
    """How far the mean turn rate may be from float's."""
    extra_falls: int = 0
    """Falls beyond float's."""

    @property
    def joint_mean(self) -> JointBound:
        """Of every joint's mean error."""
        return JointBound(self.joint_mean_rad, self.joint_mean_share)

    @property
    def joint_max(self) -> JointBound:
        """Of every joint's largest error."""
        return JointBound(self.joint_max_rad, self.joint_max_share)


class Gate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Bounds by precision. Defaults: fp16 is float but for rounding; int8 as accurate as calibration in
    closed loop makes it on a policy that walks.
    """

    floor: Floor = Floor()
    failover_tracking: float = 1.1
    """Mean velocity error in the second after a failover, as a part of that without one; beyond it the
    standby is not on by default. No policy fails for it."""
    torch: float = 1e-4
    """Largest action error of ONNX against torch."""
    torch_joint_rad: float = 1e-4
    """Largest error of a joint's position target of ONNX against torch."""
    torch_joint_share: float = 1e-4
    """Likewise of a velocity or torque target, as a part of its limit in the manifest."""
    fp16: Bounds = Bounds(
        action_mean=0.005,
        action_max=0.03,
        cosine_min=0.999,
        joint_mean_rad=0.001,
        joint_max_rad=0.005,
        joint_mean_share=0.001,
        joint_max_share=0.005,
    )
    int8: Bounds = Bounds(
        action_mean=0.08,
        action_max=0.8,
        cosine_min=0.9,
        joint_mean_rad=0.03,
        joint_max_rad=0.2,
        joint_mean_share=0.03,
        joint_max_share=0.2,
    )

    def joint_max(self, name: str) -> JointBound:
        """Of every joint's largest error of the result with that name; of float, what fp16 is allowed."""
        if name == "torch":
            return JointBound(self.torch_joint_rad, self.torch_joint_share)
        return (self.int8 if name in ("int8", "hybrid") else self.fp16).joint_max


def read_gate(path: Path | None) -> Gate:
    """Read a YAML of bounds; what it leaves out keeps its default. Raises InputError."""
    if path is None:
        return Gate()
    try:
        raw = files.read_yaml(path, "the gate")
        defaults = msgspec.to_builtins(Gate())
        for key in raw.keys() & {"fp16", "int8"}:
            raw[key] = {**defaults[key], **raw[key]}  # their bounds have no defaults of their own
        return msgspec.convert(raw, Gate)
    except TypeError as error:
        raise InputError(f"{path}: fp16 and int8 must hold keys and values") from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}{known_names(str(error), Gate)}") from error


def other_bounds(bounds: Gate) -> list[str]:
    """Those that are not the default, such as "fp16.joint_max_rad 0.05 (default 0.005)"."""
    here, default = _flat(msgspec.to_builtins(bounds)), _flat(msgspec.to_builtins(Gate()))
    return [
        f"{key} {here[key]:g} (default {value:g})" for key, value in default.items() if here[key] != value
    ]


def _flat(bounds: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in bounds.items():
        flat |= (
            {f"{key}.{name}": each for name, each in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    return flat


def failures(result: Result, floating: Result, bounds: Bounds) -> list[str]:
    """Say which bounds a precision does not keep, with both numbers; empty when it passes."""
    found: list[str] = []

    def most(what: str, value: float, bound: float) -> None:
        if not value <= bound:
            found.append(f"{result.name}: {what} is {value:.4g}, allowed is {bound:.4g}")

    open_loop = result.action_error
    size = max(1.0, open_loop.size)
    most("mean action error", open_loop.mean, size * bounds.action_mean)
    most("largest action error", open_loop.max, size * bounds.action_max)
    joints = open_loop.joints
    found += _joint_failures(f"{result.name}: mean error", joints, joints.mean, bounds.joint_mean)
    found += _joint_failures(f"{result.name}: largest error", joints, joints.largest, bounds.joint_max)
    if not open_loop.cosine_min >= bounds.cosine_min:
        found.append(
            f"{result.name}: smallest cosine is {open_loop.cosine_min:.4g}, needed is {bounds.cosine_min:.4g}"
        )
    loop, reference = result.closed_loop, floating.closed_loop
    if loop is None or reference is None:
        return found
    most("mean action error in closed loop", loop.action_mean, size * bounds.action_mean)
    most("largest action error in closed loop", loop.action_max, size * bounds.action_max)
    where = f"{result.name}: largest error in closed loop"
    found += _joint_failures(where, loop.joints, loop.joints.largest, bounds.joint_max)
    most("falls", loop.falls, reference.falls + bounds.extra_falls)
    # A robot that hardly moves has no distance to compare.
    if reference.distance_m > 1.0:
        change = abs(loop.distance_m / reference.distance_m - 1.0)
        most("change of the distance walked", change, bounds.distance_fraction)
    most("change of the yaw rate [rad/s]", abs(loop.yaw_bias - reference.yaw_bias), bounds.yaw_bias_rad_per_s)
    return found


def torch_failures(result: Result, bounds: Gate) -> list[str]:
    """Say how ONNX differs from torch; empty when it does not."""
    error, found = result.action_error, []
    if not error.max <= bounds.torch:
        found.append(f"{result.name}: largest action error is {error.max:.4g}, allowed is {bounds.torch:.4g}")
    bound = bounds.joint_max(result.name)
    return found + _joint_failures(f"{result.name}: largest error", error.joints, error.joints.largest, bound)


def _joint_failures(what: str, joints: JointErrors, errors: Float32Array, bound: JointBound) -> list[str]:
    """Name the worst joint and its unit where it is beyond the bound."""
    index, error, allowed = joints.worst(errors, bound)
    if error <= allowed:
        return []
    unit = joints.units[index]
    return [f"{what} of {joints.joints[index]} is {error:.4g} {unit}, allowed is {allowed:.4g} {unit}"]


def floor_failures(walks: Sequence[Walk], bounds: Floor) -> list[str]:
    """Say where the float model itself falls or does not follow its command; empty when it walks well."""
    down = [walk for walk in walks if not walk.kept_up]
    found = []
    if len(down) > bounds.falls:
        outcomes = ", ".join(dict.fromkeys(walk.outcome for walk in down))
        found.append(
            f"float: {len(down)} of {len(walks)} walks failed ({outcomes}), allowed is {bounds.falls}"
        )
    legs: dict[Velocity, list[Leg]] = {}
    for walk in walks:
        for leg in walk.legs if walk.kept_up else ():
            legs.setdefault(leg.asked, []).append(leg)
    walked = {asked: _mean(same) for asked, same in legs.items()}
    strayed = [
        f"float: asked to {in_words(asked)}, it {in_words(did, PAST)}"
        for asked, did in walked.items()
        if not _follows(asked, did, bounds)
    ]
    if strayed and (scale := other_scale(walked)):
        strayed.append(f"float: {scale}")
    elif strayed:
        strayed[-1] += (
            "; look at the order of joints and terms, at scales and defaults, and whether velocity_command "
            "is the range that it was trained for"
        )
    return found + strayed


def _mean(legs: Sequence[Leg]) -> Velocity:
    forward, left, turn = np.mean([leg.walked for leg in legs], axis=0).tolist()
    return forward, left, turn


def _follows(asked: Velocity, walked: Velocity, bounds: Floor) -> bool:
    for wanted, got in zip(asked, walked, strict=True):
        along = got if wanted >= 0.0 else -got
        least = bounds.tracking_fraction * abs(wanted) if abs(wanted) >= NOTHING_ASKED else -bounds.drift
        most = abs(wanted) + max(bounds.drift, 0.5 * abs(wanted))
        if not least <= along <= most:
            return False
    return True
