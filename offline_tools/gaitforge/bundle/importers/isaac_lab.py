"""Isaac Lab's IO_descriptors.yaml: terms with the functions they come from, joints, gains and limits.

Isaac Lab clips a term before it scales it, clips the joint position target and feeds the raw action back; its
history begins with the first frame.
"""

from __future__ import annotations

from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.accounting import Account, Section
from gaitforge.bundle.importers.draft import Draft, Source
from gaitforge.bundle.importers.isaac_terms import TERMS, no_such_term
from gaitforge.bundle.importers.values import (
    Joints,
    count,
    each,
    gains,
    histories,
    number,
    numbers,
    pair,
    target_clip,
    term,
)
from gaitforge.bundle.importers.wheels import drive_wheels
from gaitforge.common import files

POSITION, VELOCITY = "JointPositionAction", "JointVelocityAction"

ENTRY = {
    "dtype": "all is float32 here",
    "mdp_type": "says that it is an observation or an action",
    "full_path": "the function; its name stands beside it",
    "shape": "comes from the term",
    "observation_type": "comes from the term",
    "action_type": "comes from full_path",
    "units": "comes from the term",
    "axes": "comes from the term",
    "description": "for people",
}
ROBOT = {
    "default_joint_armature": "of the simulated robot",
    "default_joint_friction": "of the simulated robot",
    "default_joint_dynamic_friction": "of the simulated robot",
    "default_joint_viscous_friction": "of the simulated robot",
    "default_joint_vel": "where an episode begins",
    "body_names": "of the simulated robot",
}
SCENE = {"decimation": "dt is the control period", "physics_dt": "dt is the control period"}
"""Keys that mean nothing to a manifest, and why."""


def read(source: Source) -> Draft:
    """Read one IO_descriptors.yaml. Raises InputError."""
    (path,) = source.paths
    account = Account(str(path), source.ignored)
    top = account.open(files.read_yaml(path, "the file"))
    actions = _action_entries(top)
    names = [name for action in actions for name in action.texts("joint_names")]
    wheels = [name for action in actions if _kind(action) == VELOCITY for name in action.texts("joint_names")]
    length = len(names)
    robot = _robot(top.section("articulations"), names)
    order = [robot.texts("joint_names").index(name) for name in names]
    draft = Draft()

    def of_joints(key: str) -> Joints:
        values = each(numbers(robot.take(key), len(order), robot.name(key)), len(order))
        return numbers([values[place] for place in order], length, robot.name(key))

    def of_actions(key: str, rest: float | None) -> Joints:
        values: list[float] = []
        for action in actions:
            own = len(action.texts("joint_names"))
            given = action.take(key) if rest is None else action.get(key, rest)
            values += each(numbers(given, own, action.name(key)), own)
        return numbers(values, length, key)

    default = of_joints("default_joint_pos")
    offset = of_actions("offset", 0.0)
    scene = top.section("scene")
    observation = _observation(top.section("observations"), names, default, draft)
    draft.manifest |= {
        "control_period_s": number(scene.take("dt"), scene.name("dt")),
        "joints": names,
        "default_joint_position_rad": default,
        "observation": observation,
        "action": {
            "scale": of_actions("scale", None),
            "offset": "default_joint_position" if offset == default else offset,
            **_target_clip(actions, length),
        },
    }
    stiffness, damping = of_joints("default_joint_stiffness"), of_joints("default_joint_damping")
    gains(draft, stiffness, damping, str(path), [names.index(wheel) for wheel in wheels])
    limits = robot.items("default_joint_pos_limits")
    if len(limits) == len(order):
        edges = [pair(limits[place], robot.name("default_joint_pos_limits")) for place in order]
        if all(edge is not None for edge in edges):
            low, high = ([edge[side] for edge in edges if edge is not None] for side in (0, 1))
            draft.manifest["limits"] = {"position": {"min_rad": low, "max_rad": high}}
    if wheels:
        where = robot.name("default_joint_stiffness")
        drive_wheels(draft, wheels, where, limits_are_of_action=False)
    draft.lose("the range of the velocity command: not in the file", "velocity_command")
    for action in actions:
        action.skip(ENTRY)
        action.section("extras").skip(ENTRY)
    robot.skip(ROBOT)
    scene.skip(SCENE)
    for ignored in account.finish():
        draft.lose(f"{ignored}: --ignore says so")
    return draft


def _action_entries(top: Section) -> list[Section]:
    top.take("actions")
    entries = list(top.entries("actions"))
    kinds = [_kind(entry) for entry in entries]
    names = ", ".join(str(entry.get("name")) for entry in entries) or "none"
    if sorted(kinds) not in ([POSITION], [POSITION, VELOCITY]):
        raise InputError(
            f"{top.name('actions')}: expected a {POSITION}, and for wheels a {VELOCITY} beside it, "
            f"got {names}"
        )
    return entries


def _kind(entry: Section) -> str:
    return str(entry.get("full_path", "")).rpartition(".")[2]


def _target_clip(actions: list[Section], length: int) -> dict[str, Any]:
    if len(actions) == 1:
        return target_clip(actions[0].get("clip"), length, actions[0].name("clip"))
    for action in actions:
        if action.get("clip") is not None:
            raise InputError(
                f"{action.name('clip')}: {action.get('clip')}: with wheels a clip of targets is to be given "
                "by hand, for each group of action"
            )
    return {}


def _robot(articulations: Section, names: list[str]) -> Section:
    articulations.take("robot")
    robot = articulations.section("robot")
    if sorted(robot.texts("joint_names")) != sorted(names):
        raise InputError(f"{robot.name('joint_names')}: the action does not move exactly the robot's joints")
    return robot


def _observation(groups: Section, joints: list[str], default: Joints, draft: Draft) -> dict[str, Any]:
    terms, lengths = [], []
    groups.take("policy")
    for entry in groups.entries("policy"):
        name = str(entry.take("name"))
        where = entry.name("")[:-1]
        overloads, extras = entry.section("overloads"), entry.section("extras")
        if name not in TERMS:
            entry.skip(dict.fromkeys(entry.names(), "refused below"))
            overloads.skip(dict.fromkeys(overloads.names(), "refused below"))
            extras.skip(dict.fromkeys(extras.names(), "refused below"))
            draft.refuse(f"{where}: {no_such_term(name)}", "observation.terms")
            continue
        shown = entry.get("joint_names") or joints
        if any(joint not in joints for joint in shown):
            raise InputError(f"{where}: some of its joints are not the action's")
        rest = each(default, len(joints))
        _check_offsets(entry, [rest[joints.index(joint)] for joint in shown])
        length = count(overloads.get("history_length", 0), overloads.name("history_length"))
        if length > 1 and not overloads.get("flatten_history_dim", True):
            draft.refuse(f"{where}: a history that is not flattened", "observation.terms")
        overloads.skip({"flatten_history_dim": "there is no history to flatten"})
        scale = numbers(overloads.get("scale", 1.0), None, overloads.name("scale"))
        clip = pair(overloads.get("clip"), overloads.name("clip"))
        made = term(TERMS[name], scale, clip, where, draft, scale_first=False)
        if shown != joints:
            made["joints"] = list(shown)
            draft.manifest["format"] = 2
        terms.append(made)
        lengths.append(length)
        if extras.get("modifiers"):
            draft.refuse(f"{where}: modifiers {extras.get('modifiers')!r}", "observation.terms")
        entry.skip(ENTRY)
        extras.skip(ENTRY)
    groups.skip(dict.fromkeys(groups.names(), "only the policy's group is what the policy sees"))
    return histories(terms, lengths, "term_major")


def _check_offsets(entry: Section, default: list[float]) -> None:
    """A relative term is relative to the default position, and to the velocity 0. Raises InputError."""
    length = len(default)
    for key, expected in (("joint_pos_offsets", default), ("joint_vel_offsets", [0.0] * length)):
        given = entry.get(key)
        if given is not None and each(numbers(given, length, entry.name(key)), length) != expected:
            raise InputError(f"{entry.name(key)}: {given}, expected the default ({expected})")
