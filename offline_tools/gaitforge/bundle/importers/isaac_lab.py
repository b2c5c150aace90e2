"""Isaac Lab's IO_descriptors.yaml: terms with the functions they come from, joints, gains and limits."""

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

ACTION = "JointPositionAction"


def read(paths: Sequence[Path], joints: Sequence[str] | None) -> Draft:
    """Read one IO_descriptors.yaml. Raises InputError."""
    (path,) = paths
    raw = files.read_yaml(path, "the file")
    where = str(path)
    action = _action_entry(require(raw, "actions", where), where)
    names = list(require(action, "joint_names", f"{where}: {action.get('name')}"))
    draft = Draft()
    draft.manifest = {
        "control_period_s": float(require(require(raw, "scene", where), "dt", f"{where}: scene")),
        "joints": names,
        "observation": _observation(require(raw, "observations", where), names, where, draft),
        "action": {"scale": numbers(require(action, "scale", where), len(names), f"{where}: scale")},
    }
    _articulation(require(raw, "articulations", where), names, where, draft)
    default = draft.manifest["default_joint_position_rad"]
    offset = numbers(action.get("offset", 0.0), len(names), f"{where}: offset")
    draft.manifest["action"]["offset"] = "default_joint_position" if offset == default else offset
    if action.get("clip") is not None:
        draft.lose("the clip of the joint targets after scaling: set limits.position instead")
    draft.lose("the range of the velocity command: not in the file")
    return draft


def _action_entry(raw: list[dict[str, Any]], where: str) -> dict[str, Any]:
    entries = [entry for entry in raw if str(entry.get("full_path", "")).endswith(f".{ACTION}")]
    if len(raw) != 1 or len(entries) != 1:
        named = ", ".join(str(entry.get("name")) for entry in raw)
        raise InputError(f"{where}: expected one action, a {ACTION}, got {named or 'none'}")
    return entries[0]


def _observation(raw: dict[str, Any], joints: list[str], where: str, draft: Draft) -> dict[str, Any]:
    terms, lengths = [], []
    for entry in require(raw, "policy", f"{where}: observations"):
        name = require(entry, "name", f"{where}: observations.policy")
        here = f"{where}: observation {name}"
        if name not in TERMS:
            draft.lose(f"the observation {name!r} ({entry.get('full_path')}): gaitd has no such term")
            continue
        if entry.get("joint_names") not in (None, joints):
            raise InputError(f"{here}: its joints are not the action's, or in another order")
        overloads = entry.get("overloads") or {}
        given = overloads.get("scale")
        scale = 1.0 if given is None else numbers(given, len(given) if isinstance(given, list) else 1, here)
        terms.append(term(TERMS[name], scale, clip_after_scale(overloads.get("clip"), scale, here, draft)))
        lengths.append(max(1, int(overloads.get("history_length") or 0)))
        if (entry.get("extras") or {}).get("modifiers"):
            draft.lose(f"modifiers of the observation {name!r}")
    for group in sorted(raw.keys() - {"policy"}):
        draft.lose(f"the observation group {group!r}: only the policy's is used")
    return histories(terms, lengths, "term_major")


def _articulation(raw: dict[str, Any], joints: list[str], where: str, draft: Draft) -> None:
    robot = require(raw, "robot", f"{where}: articulations")
    here = f"{where}: articulations.robot"
    order = list(require(robot, "joint_names", here))
    if sorted(order) != sorted(joints):
        raise InputError(f"{here}: the action does not move exactly the robot's joints")
    places = [order.index(joint) for joint in joints]

    def of_joints(key: str) -> list[float] | float:
        values = require(robot, key, here)
        return numbers([values[place] for place in places], len(joints), f"{here}.{key}")

    draft.manifest["default_joint_position_rad"] = of_joints("default_joint_pos")
    for key, ours in (("stiffness", "stiffness_nm_per_rad"), ("damping", "damping_nms_per_rad")):
        gains = of_joints(f"default_joint_{key}")
        if gains == 0.0:
            draft.lose(f"{key}: all zero, the gains are inside the actuator model; give action.{ours}")
        else:
            draft.manifest["action"][ours] = gains
    limits = robot.get("default_joint_pos_limits")
    if limits is not None:
        edges = [[float(limits[place][side]) for place in places] for side in (0, 1)]
        draft.manifest["limits"] = {"position": {"min_rad": edges[0], "max_rad": edges[1]}}
    for key in ("default_joint_armature", "default_joint_friction"):
        if any(robot.get(key) or []):
            draft.lose(f"{key}: a property of the simulated robot")
