"""rl_sar's config.yaml of a policy, with the base.yaml of its robot.

Lists stand in the policy's order; joint i of the policy is ``joint_names[joint_mapping[i]]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.draft import Draft, histories, numbers, require, term
from gaitforge.common import files

TERMS = {
    "actions": ("last_action", None),
    "ang_vel": ("base_angular_velocity", "ang_vel_scale"),
    "commands": ("velocity_command", "commands_scale"),
    "dof_pos": ("joint_position_relative", "dof_pos_scale"),
    "dof_vel": ("joint_velocity", "dof_vel_scale"),
    "gravity_vec": ("projected_gravity", None),
    "lin_vel": ("base_linear_velocity", "lin_vel_scale"),
}
"""gaitd's term and the key of its scale."""

TAKEN = {
    "action_scale",
    "clip_actions_lower",
    "clip_actions_upper",
    "clip_obs",
    "decimation",
    "default_dof_pos",
    "dt",
    "joint_mapping",
    "joint_names",
    "model_name",
    "num_observations",
    "num_of_dofs",
    "observations",
    "observations_history",
    "observations_history_priority",
    "rl_kd",
    "rl_kp",
    "torque_limits",
    *(key for _, key in TERMS.values() if key),
}


def read(paths: Sequence[Path], joints: Sequence[str] | None) -> Draft:
    """Read config.yaml and base.yaml; what both say, config.yaml's holds. Raises InputError."""
    raw = _merged(paths)
    where = ", ".join(map(str, paths))
    draft = Draft()
    names = list(joints) if joints is not None else require(raw, "joint_names", where)
    count = len(names)
    mapping = [int(index) for index in raw.get("joint_mapping") or range(count)]
    if sorted(mapping) != list(range(count)):
        raise InputError(f"{where}: joint_mapping does not name each of the {count} joints once")

    def of_joints(key: str) -> list[float] | float:
        return numbers(require(raw, key, where), count, f"{where}: {key}")

    draft.manifest = {
        "joints": [names[index] for index in mapping],
        "default_joint_position_rad": of_joints("default_dof_pos"),
        "observation": _observation(raw, where, draft),
        "action": {
            "scale": of_joints("action_scale"),
            "stiffness_nm_per_rad": of_joints("rl_kp"),
            "damping_nms_per_rad": of_joints("rl_kd"),
            **_clip(raw, count, where, draft),
        },
    }
    if raw.get("dt") is not None and raw.get("decimation") is not None:
        draft.manifest["control_period_s"] = round(float(raw["dt"]) * int(raw["decimation"]), 9)
    if raw.get("torque_limits") is not None:
        draft.manifest["limits"] = {"torque": {"max_nm": of_joints("torque_limits")}}
        draft.lose("limits.position: not in the file, and a manifest needs it")
    draft.lose("the range of the velocity command: not in the file")
    if raw.get("wheel_indices"):
        draft.lose(f"the wheels {raw['wheel_indices']}: gaitd commands joint positions only")
    for key in sorted(raw.keys() - TAKEN - {"wheel_indices"}):
        draft.lose(f"{key}: gaitd has nothing like it")
    return draft


def _merged(paths: Sequence[Path]) -> dict[str, Any]:
    """Lay the files over each other; each has one key, the robot's or the policy's, above the rest."""
    parts = []
    for path in paths:
        raw = files.read_yaml(path, "the file")
        if len(raw) == 1 and isinstance(next(iter(raw.values())), dict):
            raw = next(iter(raw.values()))
        parts.append(raw)
    parts.sort(key=lambda part: "observations" in part)
    return {key: value for part in parts for key, value in part.items()}


def _observation(raw: dict[str, Any], where: str, draft: Draft) -> dict[str, Any]:
    terms = []
    for name in require(raw, "observations", where):
        if name not in TERMS:
            draft.lose(f"the observation {name!r}: gaitd has no such term")
            continue
        kind, key = TERMS[name]
        given = 1.0 if key is None else require(raw, key, where)
        scale = numbers(given, len(given) if isinstance(given, list) else 1, f"{where}: {key}")
        terms.append(term(kind, scale, None))
    steps = [int(step) for step in raw.get("observations_history") or [0]]
    ages = sorted(steps)
    if ages != list(range(len(steps))):
        draft.lose(f"observations_history {steps}: only consecutive frames up to the newest can be stacked")
    layout = "term_major" if raw.get("observations_history_priority") == "term" else "frame_major"
    observation = histories(terms, [len(steps)] * len(terms), layout)
    if len(steps) > 1:
        observation["history"]["order"] = "newest_first" if steps == ages else "oldest_first"
        draft.lose("what stands in the history before the session: not in the file, taken as the first frame")
    if raw.get("clip_obs") is not None:
        observation["clip"] = float(raw["clip_obs"])
    return observation


def _clip(raw: dict[str, Any], count: int, where: str, draft: Draft) -> dict[str, Any]:
    if raw.get("clip_actions_lower") is None or raw.get("clip_actions_upper") is None:
        return {}
    low = numbers(raw["clip_actions_lower"], count, f"{where}: clip_actions_lower")
    high = numbers(raw["clip_actions_upper"], count, f"{where}: clip_actions_upper")
    if isinstance(low, list) or isinstance(high, list):
        draft.lose("clip_actions: a different clip for each joint; set limits.position instead")
        return {}
    return {"clip": [low, high]}
