"""Values of trainers' files in the manifest's form."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.draft import Draft

Joints = float | list[float]
"""One number for all joints, or a list in the policy's order."""


def number(value: Any, where: str) -> float:
    """A finite number. Raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}: expected a number, got {value!r}")
    return float(value)


def flag(value: Any, where: str) -> bool:
    """A switch. Raises InputError."""
    if not isinstance(value, bool):
        raise InputError(f"{where}: expected true or false, got {value!r}")
    return value


def count(value: Any, where: str) -> int:
    """A whole number from 0. Raises InputError."""
    if number(value, where) != int(value) or value < 0:
        raise InputError(f"{where}: expected a whole number from 0, got {value!r}")
    return int(value)


def numbers(value: Any, length: int | None, where: str) -> Joints:
    """One number for all, or a list of ``length``; equal ones become one. Raises InputError."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return number(value, where)
    values = [number(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if len(values) != (len(values) if length is None else length) or not values:
        raise InputError(f"{where}: expected {length} values, got {len(values)}")
    return values[0] if len(set(values)) == 1 else values


def each(values: Joints, length: int) -> list[float]:
    """The values one by one."""
    return values if isinstance(values, list) else [values] * length


def collapse(values: Sequence[float]) -> Joints:
    """Equal values become one."""
    return values[0] if len(set(values)) == 1 else list(values)


def pair(value: Any, where: str) -> tuple[float, float] | None:
    """A clip (min, max), None when it is endless on both sides. Raises InputError."""
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise InputError(f"{where}: expected [min, max], got {value!r}")
    low, high = (
        float(edge) if isinstance(edge, int | float) and not isinstance(edge, bool) else math.nan
        for edge in value
    )
    if not low < high:
        raise InputError(f"{where}: expected [min, max] with min < max, got {value!r}")
    return None if (low, high) == (-math.inf, math.inf) else (low, high)


def pairs(value: Any, length: int, where: str) -> tuple[Joints, Joints] | None:
    """A clip for all joints, or one a joint: minima and maxima. Raises InputError."""
    if isinstance(value, Mapping):
        if list(value) != [".*"]:
            raise InputError(f"{where}: give it as a list, joint by joint; got patterns {', '.join(value)}")
        value = value[".*"]
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise InputError(f"{where}: expected [min, max] or one for each joint, got {value!r}")
    if not isinstance(value[0], Sequence):
        value = [value] * length
    if len(value) != length:
        raise InputError(f"{where}: expected {length} pairs, got {len(value)}")
    edges = [pair(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if all(edge is None for edge in edges):
        return None
    if any(edge is None or not all(map(math.isfinite, edge)) for edge in edges):
        raise InputError(f"{where}: expected finite edges for all joints or for none")
    known = [edge for edge in edges if edge is not None]
    return collapse([edge[0] for edge in known]), collapse([edge[1] for edge in known])


def target_clip(value: Any, length: int, where: str) -> dict[str, Any]:
    """A clip of the joint position target as part of the manifest's action; empty when there is none."""
    edges = pairs(value, length, where)
    return {} if edges is None else {"target_clip": {"min_rad": edges[0], "max_rad": edges[1]}}


def is_all(value: Any, length: int) -> bool:
    """Whether a selection of joints is null, a slice or a list that selects all, in order."""
    if isinstance(value, slice):
        return list(range(length))[value] == list(range(length))
    return value is None or value == list(range(length))


def term(
    name: str, scale: Joints, clip: tuple[float, float] | None, where: str, draft: Draft, *, scale_first: bool
) -> dict[str, Any]:
    """One observation term, without what is the default; the manifest clips after the scale."""
    entry: dict[str, Any] = {"term": name}
    if scale != 1.0:
        entry["scale"] = scale
    if clip is None:
        return entry
    if not scale_first:
        if isinstance(scale, list) or scale == 0:
            draft.refuse(
                f"{where}: a clip {list(clip)} before the scale {scale}: a manifest has one clip a term, "
                "after the scale",
                "observation.terms",
            )
            return entry
        clip = min(clip[0] * scale, clip[1] * scale), max(clip[0] * scale, clip[1] * scale)
    entry["clip"] = list(clip)
    return entry


def histories(terms: Sequence[dict[str, Any]], lengths: Sequence[int], layout: str) -> dict[str, Any]:
    """The observation's section from terms and how many frames each has (0 and 1: no history)."""
    observation: dict[str, Any] = {"terms": [dict(entry) for entry in terms]}
    lengths = [max(1, length) for length in lengths]
    if not lengths or max(lengths) == 1:
        return observation
    shared = len(set(lengths)) == 1
    observation["history"] = {"length": lengths[0] if shared else 1, "layout": layout}
    if not shared:
        for entry, length in zip(observation["terms"], lengths, strict=True):
            entry["history_length"] = length
    return observation


def gains(draft: Draft, stiffness: Joints, damping: Joints, where: str, wheels: Collection[int] = ()) -> None:
    """Put gains into the draft's action; a joint that the action moves needs stiffness, but for a wheel."""
    action, joints = draft.manifest["action"], draft.manifest["joints"]
    action["stiffness_nm_per_rad"], action["damping_nms_per_rad"] = stiffness, damping
    scales = each(action["scale"], len(joints))
    places = enumerate(zip(joints, each(stiffness, len(joints)), scales, strict=True))
    limp = [
        joint for place, (joint, gain, scale) in places if gain == 0 and scale != 0 and place not in wheels
    ]
    if len(limp) == len(joints):
        draft.refuse(
            f"{where}: all stiffnesses are 0, so the gains are elsewhere", "action.stiffness_nm_per_rad"
        )
    elif limp:
        raise InputError(
            f"{where}: {', '.join(limp)}: an action scale, but no stiffness, and the file does not say that "
            "they are wheels: write their group of action with the target velocity by hand"
        )


def velocity_range(low_high: Sequence[Any], where: str) -> dict[str, Any]:
    """The velocity command from the ranges of x, y [m/s] and yaw [rad/s]. Raises InputError."""
    edges = []
    for index, value in enumerate(low_high):
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
            raise InputError(f"{where}: expected [min, max], got {value!r}")
        edges.append([number(edge, f"{where}[{index}]") for edge in value])
    return {"unit": "si", "min": [edge[0] for edge in edges], "max": [edge[1] for edge in edges]}
