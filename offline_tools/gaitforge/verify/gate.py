"""What a policy must do by itself, what a converted model must reach, and whether they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from gaitd.errors import InputError
from gaitd.system.known_names import known_names
from gaitforge.common import files
from gaitforge.verify.evaluation import Result
from gaitforge.verify.walking import PAST, Leg, Velocity, Walk, in_words

NOTHING_ASKED = 0.1
"""A velocity command below this, m/s or rad/s, asks for nothing in that direction."""


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
    """Mean error of the joint position target of the worst joint."""
    joint_max_rad: float
    """Largest error of a joint position target, also in closed loop."""
    distance_fraction: float = 0.05
    """How much shorter or longer than float's the way may be in closed loop."""
    yaw_bias_rad_per_s: float = 0.05
    """How far the mean turn rate may be from float's."""
    extra_falls: int = 0
    """Falls beyond float's."""


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
    """Largest error of a joint position target of ONNX against torch."""
    fp16: Bounds = Bounds(
        action_mean=0.005, action_max=0.03, cosine_min=0.999, joint_mean_rad=0.001, joint_max_rad=0.005
    )
    int8: Bounds = Bounds(
        action_mean=0.08, action_max=0.8, cosine_min=0.9, joint_mean_rad=0.03, joint_max_rad=0.2
    )


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
    most("mean joint error [rad]", float(open_loop.joint_mean_rad.max()), bounds.joint_mean_rad)
    most("largest joint error [rad]", open_loop.joint_max_rad, bounds.joint_max_rad)
    if not open_loop.cosine_min >= bounds.cosine_min:
        found.append(
            f"{result.name}: smallest cosine is {open_loop.cosine_min:.4g}, needed is {bounds.cosine_min:.4g}"
        )
    loop, reference = result.closed_loop, floating.closed_loop
    if loop is None or reference is None:
        return found
    most("mean action error in closed loop", loop.action_mean, size * bounds.action_mean)
    most("largest action error in closed loop", loop.action_max, size * bounds.action_max)
    most("largest joint error in closed loop [rad]", loop.joint_max_rad, bounds.joint_max_rad)
    most("falls", loop.falls, reference.falls + bounds.extra_falls)
    # A robot that hardly moves has no distance to compare.
    if reference.distance_m > 1.0:
        change = abs(loop.distance_m / reference.distance_m - 1.0)
        most("change of the distance walked", change, bounds.distance_fraction)
    most("change of the yaw rate [rad/s]", abs(loop.yaw_bias - reference.yaw_bias), bounds.yaw_bias_rad_per_s)
    return found


def torch_failures(result: Result, bounds: Gate) -> list[str]:
    """Say how ONNX differs from torch; empty when it does not."""
    error = result.action_error
    measured = (
        ("largest action error", error.max, bounds.torch),
        ("largest joint error [rad]", error.joint_max_rad, bounds.torch_joint_rad),
    )
    return [
        f"{result.name}: {what} is {value:.4g}, allowed is {bound:.4g}"
        for what, value, bound in measured
        if not value <= bound
    ]


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
    strayed = []
    for asked, same in legs.items():
        forward, left, turn = np.mean([leg.walked for leg in same], axis=0).tolist()
        if not _follows(asked, (forward, left, turn), bounds):
            strayed.append(f"float: asked to {in_words(asked)}, it {in_words((forward, left, turn), PAST)}")
    if strayed:
        strayed[-1] += (
            "; look at the order of joints and terms, at scales and defaults, and whether velocity_command "
            "is the range that it was trained for"
        )
    return found + strayed


def _follows(asked: Velocity, walked: Velocity, bounds: Floor) -> bool:
    for wanted, got in zip(asked, walked, strict=True):
        along = got if wanted >= 0.0 else -got
        least = bounds.tracking_fraction * abs(wanted) if abs(wanted) >= NOTHING_ASKED else -bounds.drift
        most = abs(wanted) + max(bounds.drift, 0.5 * abs(wanted))
        if not least <= along <= most:
            return False
    return True
