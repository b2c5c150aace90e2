"""unitree_rl_lab's deploy.yaml.

Gains stand in the order of the robot's motors; positions, scales and offsets in the policy's, and
``joint_ids_map`` tells the motor of each of the policy's joints. The file does not name the joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.draft import (
    Draft,
    clip_after_scale,
    histories,
    numbers,
    require,
    term,
)
from gaitforge.bundle.importers.isaac_terms import TERMS
from gaitforge.common import files

SWITCHES = ("use_gym_history", "scale_first")
RANGES = ("lin_vel_x", "lin_vel_y", "ang_vel_z")


def read(paths: Sequence[Path], joints: Sequence[str] | None) -> Draft:
    """Read one deploy.yaml; ``joints`` are the motors' joints in the motors' order. Raises InputError."""
    (path,) = paths
    raw = files.read_yaml(path, "the file")
    where = str(path)
    motors = [int(motor) for motor in require(raw, "joint_ids_map", where)]
    count = len(motors)
    if sorted(motors) != list(range(count)):
        raise InputError(f"{where}: joint_ids_map does not number each of {count} motors once")
    if joints is None:
        raise InputError(
            f"{where} does not name the joints: give the motors' joints, in order, with --joints"
        )
    if len(joints) != count:
        raise InputError(f"--joints: {len(joints)} names for the {count} joints of {where}")
    draft = Draft()

    def of_motors(key: str) -> list[float] | float:
        value = numbers(require(raw, key, where), count, f"{where}: {key}")
        return [value[motor] for motor in motors] if isinstance(value, list) else value

    default = numbers(require(raw, "default_joint_pos", where), count, f"{where}: default_joint_pos")
    draft.manifest = {
        "control_period_s": float(require(raw, "step_dt", where)),
        "joints": [joints[motor] for motor in motors],
        "default_joint_position_rad": default,
        "observation": _observation(require(raw, "observations", where), count, where, draft),
        "action": {
            **_action(require(raw, "actions", where), count, default, where, draft),
            "stiffness_nm_per_rad": of_motors("stiffness"),
            "damping_nms_per_rad": of_motors("damping"),
        },
    }
    _commands(raw.get("commands") or {}, draft)
    for key in sorted(raw.keys() - _KNOWN):
        draft.lose(f"{key}: gaitd has nothing like it")
    return draft


_KNOWN = {
    "actions",
    "commands",
    "damping",
    "default_joint_pos",
    "joint_ids_map",
    "observations",
    "step_dt",
    "stiffness",
}


def _observation(raw: dict[str, Any], count: int, where: str, draft: Draft) -> dict[str, Any]:
    terms, lengths = [], []
    scale_first = bool(raw.get("scale_first", False))
    for name, entry in raw.items():
        if name in SWITCHES:
            continue
        here = f"{where}: observations.{name}"
        kind = "clock_phase" if name == "gait_phase" else TERMS.get(name)
        if kind is None:
            draft.lose(f"the observation {name!r}: gaitd has no such term")
            continue
        given = entry.get("scale")
        scale = 1.0 if given is None else numbers(given, len(given) if isinstance(given, list) else 1, here)
        clip = clip_after_scale(entry.get("clip"), scale, here, draft, scale_first=scale_first)
        made = term(kind, scale, clip)
        if kind == "clock_phase":
            made["period_s"] = float(require(entry.get("params") or {}, "period", here))
        elif entry.get("params", {}).keys() - {"command_name"}:
            draft.lose(f"parameters of the observation {name!r}")
        terms.append(made)
        lengths.append(max(1, int(entry.get("history_length") or 1)))
    return histories(terms, lengths, "frame_major" if raw.get("use_gym_history") else "term_major")


def _action(
    raw: dict[str, Any], count: int, default: list[float] | float, where: str, draft: Draft
) -> dict[str, Any]:
    entry = require(raw, "JointPositionAction", f"{where}: actions")
    for name in sorted(raw.keys() - {"JointPositionAction"}):
        draft.lose(f"the action {name!r}: gaitd commands joint positions only")
    here = f"{where}: actions.JointPositionAction"
    if entry.get("joint_ids") not in (None, list(range(count))):
        raise InputError(f"{here}.joint_ids: a policy that moves only some of the joints is not supported")
    action: dict[str, Any] = {"scale": numbers(require(entry, "scale", here), count, f"{here}.scale")}
    if entry.get("offset") is not None:
        offset = numbers(entry["offset"], count, f"{here}.offset")
        action["offset"] = "default_joint_position" if offset == default else offset
    if entry.get("clip") is not None:
        draft.lose("the clip of the joint targets after scaling: set limits.position instead")
    return action


def _commands(raw: dict[str, Any], draft: Draft) -> None:
    ranges = (raw.get("base_velocity") or {}).get("ranges") or {}
    if all(ranges.get(key) is not None for key in RANGES):
        draft.manifest["velocity_command"] = {
            "unit": "si",
            "min": [float(ranges[key][0]) for key in RANGES],
            "max": [float(ranges[key][1]) for key in RANGES],
        }
    else:
        draft.lose("the range of the velocity command: not in the file")
    for name in sorted(raw.keys() - {"base_velocity"}):
        draft.lose(f"the command {name!r}: gaitd knows a velocity command only")
    if ranges.get("heading") is not None:
        draft.lose("the heading command: gaitd takes turn rates only")
