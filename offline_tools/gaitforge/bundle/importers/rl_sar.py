"""rl_sar's config.yaml of a policy, with the base.yaml of its robot.

Lists stand in the policy's order; joint i of the policy is ``joint_names[joint_mapping[i]]``. rl_sar clips
the raw action and feeds the clipped action back; its history begins with zeros.
"""

from __future__ import annotations

from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.accounting import Account, Section
from gaitforge.bundle.importers.draft import Draft, Source
from gaitforge.bundle.importers.isaac_terms import no_such_term
from gaitforge.bundle.importers.values import Joints, count, each, gains, histories, number, numbers, term
from gaitforge.bundle.importers.wheels import drive_wheels
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
"""The manifest's term and the key of its scale."""

MEANINGLESS = {
    "fixed_kd": "gains of rl_sar's own stand-up",
    "fixed_kp": "gains of rl_sar's own stand-up",
    "joint_controller_names": "controllers of its simulation",
    "model_name": "the file of the model",
    **{key: "the scale of a term, wanted or not" for _, key in TERMS.values() if key},
}
"""Keys that mean nothing to a manifest, and why."""


def read(source: Source) -> Draft:
    """Read config.yaml and base.yaml; what both say, config.yaml's holds. Raises InputError."""
    where = source.where
    account = Account(where, source.ignored)
    top = account.open(_merged(source))
    draft = Draft()
    top.skip({"joint_names": "--joints may name them"})
    names = list(source.joints) if source.joints is not None else top.texts("joint_names")
    length = len(names)
    if count(top.get("num_of_dofs", length), top.name("num_of_dofs")) != length:
        raise InputError(
            f"{top.name('num_of_dofs')}: {top.get('num_of_dofs')}, but {length} joints are named"
        )
    mapping = [
        count(index, top.name("joint_mapping")) for index in top.items("joint_mapping") or range(length)
    ]
    if sorted(mapping) != list(range(length)):
        raise InputError(f"{where}: joint_mapping does not name each of the {length} joints once")
    wheels = [count(index, top.name("wheel_indices")) for index in top.items("wheel_indices") or ()]
    if any(wheel >= length for wheel in wheels) or len(set(wheels)) != len(wheels):
        raise InputError(f"{top.name('wheel_indices')}: {wheels}: expected places among the {length} joints")

    def of_joints(key: str) -> Joints:
        return numbers(top.take(key), length, top.name(key))

    draft.manifest = {
        "joints": [names[index] for index in mapping],
        "default_joint_position_rad": of_joints("default_dof_pos"),
        "observation": _observation(top, length, wheels, draft),
        "action": {"scale": of_joints("action_scale")},
    }
    gains(draft, of_joints("rl_kp"), of_joints("rl_kd"), where, wheels)
    _clip(top, length, draft)
    if wheels:
        drive_wheels(
            draft,
            [draft.manifest["joints"][wheel] for wheel in wheels],
            top.name("rl_kp"),
            limits_are_of_action=True,
        )
    if top.get("dt") is not None and top.get("decimation") is not None:
        period_s = number(top.take("dt"), top.name("dt")) * count(top.take("decimation"), "decimation")
        draft.manifest["control_period_s"] = round(period_s, 9)
    if top.get("torque_limits") is not None:
        draft.lose("torque_limits: rl_sar cuts torques with it, not targets", "limits.torque")
    draft.lose("the range of the velocity command: not in the file", "velocity_command")
    top.skip(MEANINGLESS)
    for path in account.finish():
        draft.lose(f"{path}: --ignore says so")
    return draft


def _merged(source: Source) -> dict[str, Any]:
    """Lay the files over each other; each has one key, the robot's or the policy's, above the rest."""
    parts = []
    for path in source.paths:
        raw = files.read_yaml(path, "the file")
        if len(raw) == 1 and isinstance(next(iter(raw.values())), dict):
            raw = next(iter(raw.values()))
        parts.append(raw)
    parts.sort(key=lambda part: "observations" in part)
    return {key: value for part in parts for key, value in part.items()}


def _observation(top: Section, length: int, wheels: list[int], draft: Draft) -> dict[str, Any]:
    terms, frame = [], 0
    for name in top.texts("observations"):
        if name not in TERMS:
            draft.refuse(f"{top.name('observations')}: {no_such_term(name)}", "observation.terms")
            continue
        kind, key = TERMS[name]
        where = top.name(key or "observations")
        scale = numbers(1.0 if key is None else top.take(key), None, where)
        if wheels and kind == "joint_position_relative":  # rl_sar shows 0 for how far a wheel has turned
            scale = [0.0 if index in wheels else one for index, one in enumerate(each(scale, length))]
        terms.append(term(kind, scale, None, where, draft, scale_first=True))
        frame += length if kind in ("last_action", "joint_position_relative", "joint_velocity") else 3
    steps = [
        count(step, top.name("observations_history")) for step in top.items("observations_history") or [0]
    ]
    ages = sorted(steps)
    if ages != list(range(len(steps))) or steps not in (ages, ages[::-1]):
        raise InputError(
            f"{top.name('observations_history')}: {steps}: only consecutive frames up to the newest can be "
            "stacked, in order"
        )
    dims = count(top.get("num_observations", frame), top.name("num_observations"))
    if dims not in (frame, frame * len(steps)):
        text = f"{top.name('num_observations')}: {dims}, but the observations make {frame}"
        draft.refuse(text, "observation.terms")
    priority = top.get("observations_history_priority", "time")
    if priority not in ("time", "term"):
        raise InputError(f"{top.name('observations_history_priority')}: {priority!r}, expected time or term")
    layout = "term_major" if priority == "term" else "frame_major"
    observation = histories(terms, [len(steps)] * len(terms), layout)
    if len(steps) > 1:
        observation["history"]["order"] = "newest_first" if steps == ages else "oldest_first"
        observation["history"]["fill"] = "zeros"
    if top.get("clip_obs") is not None:
        observation["clip"] = number(top.take("clip_obs"), top.name("clip_obs"))
    return observation


def _clip(top: Section, length: int, draft: Draft) -> None:
    """One clip for all is the action's; one a joint is a range of targets, which feeds back the same."""
    lower, upper = top.get("clip_actions_lower") or None, top.get("clip_actions_upper") or None
    if lower is None or upper is None:
        return
    low = numbers(lower, length, top.name("clip_actions_lower"))
    high = numbers(upper, length, top.name("clip_actions_upper"))
    if not isinstance(low, list) and not isinstance(high, list):
        draft.manifest["action"]["clip"] = [low, high]
        return
    default, scale = (
        each(values, length)
        for values in (draft.manifest["default_joint_position_rad"], draft.manifest["action"]["scale"])
    )
    edges = [
        sorted((one * factor + rest, other * factor + rest))
        for one, other, factor, rest in zip(
            each(low, length), each(high, length), scale, default, strict=True
        )
    ]
    draft.manifest["limits"] = {
        "position": {
            "min_rad": [round(edge[0], 9) for edge in edges],
            "max_rad": [round(edge[1], 9) for edge in edges],
        }
    }
