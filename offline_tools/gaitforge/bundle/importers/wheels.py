"""From a manifest whose joints all follow positions to one in which some are wheels: format 2."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.draft import Draft
from gaitforge.bundle.importers.values import each

_OF_JOINTS = ("scale", "offset", "stiffness_nm_per_rad", "damping_nms_per_rad")


def drive_wheels(draft: Draft, wheels: Collection[str], where: str, *, limits_are_of_action: bool) -> None:
    """``wheels`` of the draft's joints follow velocities: their part of its action becomes a group.

    Their scale is in rad/s then. They have no default position and no position limits any more, and what a
    manifest needs for them beyond that is missing. ``limits_are_of_action``: position limits were made of the
    action's range, so that those of a wheel are its speed. Raises InputError where a wheel has a stiffness.
    """
    manifest = draft.manifest
    joints, action = manifest["joints"], manifest["action"]
    legs = [joint for joint in joints if joint not in wheels]
    rolling = [joint for joint in joints if joint in wheels]
    stiff = _of(action["stiffness_nm_per_rad"], joints, rolling)
    if any(each(stiff, len(rolling))):
        raise InputError(f"{where}: {', '.join(rolling)}: a stiffness {stiff}, but wheels follow a velocity")
    manifest["format"] = 2
    manifest["continuous_joints"] = rolling
    manifest["action"] = [
        {"joints": legs, "target": "position", **_part(action, joints, legs)},
        {"joints": rolling, "target": "velocity", **_part(action, joints, rolling)},
    ]
    for key in ("stiffness_nm_per_rad", "offset"):
        manifest["action"][1].pop(key, None)
    manifest["default_joint_position_rad"] = _of(manifest["default_joint_position_rad"], joints, legs)
    position = manifest.get("limits", {}).get("position")
    if position is not None:
        manifest["limits"] = {
            "position": {key: _of(values, joints, legs) for key, values in position.items()}
        }
        low, high = (_of(position[key], joints, rolling) for key in ("min_rad", "max_rad"))
        if limits_are_of_action:
            edges = zip(each(low, len(rolling)), each(high, len(rolling)), strict=True)
            fastest = [max(abs(low), abs(high)) for low, high in edges]
            manifest["limits"]["velocity"] = {"max_rad_per_s": fastest}


def _part(action: dict[str, Any], joints: list[str], some: list[str]) -> dict[str, Any]:
    part = {key: _of(value, joints, some) if key in _OF_JOINTS else value for key, value in action.items()}
    if "target_clip" in part:
        raise InputError(
            "action.target_clip: with wheels it is to be given by hand, for each group of action"
        )
    return part


def _of(values: Any, joints: list[str], some: list[str]) -> Any:
    """Joint values of some joints: of a list, theirs; one number, and a word, stay."""
    if not isinstance(values, list):
        return values
    part = [value for joint, value in zip(joints, values, strict=True) if joint in some]
    return part[0] if part and len(set(part)) == 1 else part
