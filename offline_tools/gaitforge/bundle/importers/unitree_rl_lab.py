"""deploy.yaml of unitree_rl_lab and unitree_rl_mjlab.

Gains stand in the order of the robot's motors, of which the policy need not move all; positions, scales and
offsets stand in the policy's, and ``joint_ids_map`` tells the motor of each of its joints. The file does
not name the joints; unitree_rl_mjlab's ONNX model does. Their deploy code clips the joint position target and
feeds the raw action back; its history begins with the first frame.
"""

from __future__ import annotations

from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.accounting import Account, Section
from gaitforge.bundle.importers.draft import NO_VELOCITY_TARGETS, Draft, Source
from gaitforge.bundle.importers.isaac_terms import TERMS, no_such_term
from gaitforge.bundle.importers.onnx_file import metadata
from gaitforge.bundle.importers.values import (
    Joints,
    count,
    flag,
    gains,
    histories,
    is_all,
    number,
    numbers,
    pair,
    target_clip,
    term,
    velocity_range,
)
from gaitforge.common import files

SWITCHES = ("use_gym_history", "scale_first")
RANGES = ("lin_vel_x", "lin_vel_y", "ang_vel_z")

MEANINGLESS = {"heading": "for sampling commands in training; the deployed command is a turn rate"}
SELECTION = {
    "body_names": "bodies, in a term of joints",
    "body_ids": "bodies, in a term of joints",
    "preserve_order": "joint_ids says the order",
}
"""Keys that mean nothing to a manifest, and why."""


def read(source: Source) -> Draft:
    """Read one deploy.yaml; the names are the motors' joints in the motors' order. Raises InputError."""
    path = source.paths[0]
    account = Account(str(path), source.ignored)
    top = account.open(files.read_yaml(path, "the file"))
    motors = [count(motor, top.name("joint_ids_map")) for motor in top.items("joint_ids_map")]
    length = len(motors)
    top.take("joint_ids_map")
    if len(set(motors)) != length or not motors:
        raise InputError(f"{path}: joint_ids_map does not number each motor once")
    stiffness = top.take("stiffness")
    motor_count = len(stiffness) if isinstance(stiffness, list) else max(motors) + 1
    if max(motors) >= motor_count:
        raise InputError(
            f"{top.name('stiffness')}: {motor_count} values, but joint_ids_map has motor {max(motors)}"
        )
    draft = Draft()
    names = _names(source, motors, motor_count, draft)

    def of_motors(key: str) -> Joints:
        value = top.take(key)
        if isinstance(value, list) and len(value) == motor_count:
            value = [value[motor] for motor in motors]
        elif isinstance(value, list):
            raise InputError(f"{top.name(key)}: expected {motor_count} values, got {len(value)}")
        return numbers(value, length, top.name(key))

    default = numbers(top.take("default_joint_pos"), length, top.name("default_joint_pos"))
    observation = _observation(top.section("observations"), names, draft)
    draft.manifest |= {
        "control_period_s": number(top.take("step_dt"), top.name("step_dt")),
        "joints": names,
        "default_joint_position_rad": default,
        "observation": observation,
        "action": _action(top.section("actions"), length, default),
    }
    gains(draft, of_motors("stiffness"), of_motors("damping"), str(path))
    _commands(top.section("commands"), draft)
    for ignored in account.finish():
        draft.lose(f"{ignored}: --ignore says so")
    return draft


def _names(source: Source, motors: list[int], motor_count: int, draft: Draft) -> list[str]:
    """The policy's joints: of ``--joints`` by motor, or of the model's metadata as it stands."""
    if source.joints is not None:
        named = list(range(motor_count))
        if len(source.joints) == len(motors) < motor_count:
            named = sorted(motors)
            draft.lose(f"--joints: taken as the names of the motors that the policy moves, {named}")
        elif len(source.joints) != motor_count:
            raise InputError(
                f"--joints: {len(source.joints)} names for the {motor_count} motors of {source.paths[0]}, of "
                f"which the policy moves {len(motors)}: name all of these or those, in the motors' order"
            )
        return [source.joints[named.index(motor)] for motor in motors]
    if len(source.paths) > 1:
        joint_names = metadata(source.paths[1])[0].get("joint_names")
        if not joint_names:
            raise InputError(
                f"{source.paths[1]}: its metadata has no joint_names: give the motors' joints, in order, "
                "with --joints"
            )
        names = joint_names.split(",")
        if len(names) != len(motors):
            raise InputError(
                f"{source.paths[1]}: its metadata names {len(names)} joints, joint_ids_map {len(motors)}"
            )
        return [name.strip() for name in names]
    raise InputError(
        f"{source.paths[0]} does not name the joints: give the motors' joints, in order, with --joints"
    )


def _observation(section: Section, names: list[str], draft: Draft) -> dict[str, Any]:
    switches = {name: flag(section.get(name, False), section.name(name)) for name in SWITCHES}
    terms, lengths = [], []
    for name in section.names():
        if name in SWITCHES:
            continue
        where = section.name(name)
        kind = "clock_phase" if name == "gait_phase" else TERMS.get(name)
        if kind is None:
            section.skip({name: "refused below"})
            draft.refuse(f"{where}: {no_such_term(name)}", "observation.terms")
            continue
        entry = section.section(name)
        scale = numbers(entry.get("scale", 1.0), None, f"{where}.scale")
        clip = pair(entry.get("clip"), f"{where}.clip")
        made = term(kind, scale, clip, where, draft, scale_first=switches["scale_first"])
        parameters = entry.section("params")
        parameters.get("command_name")
        if kind == "clock_phase":
            made["period_s"] = number(parameters.take("period"), parameters.name("period"))
        shown = _shown(parameters.section("asset_cfg"), names)
        if shown != names:
            made["joints"] = shown
            draft.manifest["format"] = 2
        terms.append(made)
        lengths.append(count(entry.get("history_length", 1), f"{where}.history_length"))
    if not terms:
        draft.refuse(f"{section.name('')[:-1]}: no observation", "observation.terms")
    return histories(terms, lengths, "frame_major" if switches["use_gym_history"] else "term_major")


def _shown(selection: Section, names: list[str]) -> list[str]:
    """The joints that a term is about, in its order. Raises InputError where the file does not say which."""
    if selection.get("name", "robot") != "robot":
        raise InputError(f"{selection.name('name')}: {selection.get('name')!r}, expected robot")
    chosen = selection.get("joint_ids")
    if isinstance(chosen, slice):
        chosen = list(range(len(names)))[chosen]
    places = range(len(names))
    if chosen is not None and (not isinstance(chosen, list) or any(one not in places for one in chosen)):
        raise InputError(
            f"{selection.name('joint_ids')}: {chosen!r}: expected places among the {len(names)} joints"
        )
    if selection.get("joint_names") not in (None, ".*", [".*"]) and selection.get("joint_ids") is None:
        raise InputError(f"{selection.name('joint_names')}: which joints these are is not in the file")
    selection.skip(SELECTION)
    return names if chosen is None else [names[one] for one in chosen]


def _action(actions: Section, length: int, default: Joints) -> dict[str, Any]:
    for name in actions.names():
        if "Velocity" in name:
            raise InputError(f"{actions.name(name)}: {NO_VELOCITY_TARGETS}")
    actions.take("JointPositionAction")
    entry = actions.section("JointPositionAction")
    if not is_all(entry.get("joint_ids"), length):
        raise InputError(
            f"{entry.name('joint_ids')}: {entry.get('joint_ids')}: a policy of only some of these joints, "
            "or in another order, is not supported"
        )
    if "joint_ids" not in entry.names() and entry.get("joint_names") not in (None, ".*", [".*"]):
        raise InputError(f"{entry.name('joint_names')}: which joints these are is not in the file")
    entry.skip({"joint_names": "joint_ids says which"})
    offset = numbers(entry.get("offset", 0.0), length, entry.name("offset"))
    return {
        "scale": numbers(entry.take("scale"), length, entry.name("scale")),
        "offset": "default_joint_position" if offset == default else offset,
        **target_clip(entry.get("clip"), length, entry.name("clip")),
    }


def _commands(commands: Section, draft: Draft) -> None:
    ranges = commands.section("base_velocity").section("ranges")
    edges = [ranges.get(key) for key in RANGES]
    if all(edge is not None for edge in edges):
        draft.manifest["velocity_command"] = velocity_range(edges, ranges.name("lin_vel_x"))
    else:
        draft.lose("the range of the velocity command: not in the file", "velocity_command")
    ranges.skip(MEANINGLESS)
