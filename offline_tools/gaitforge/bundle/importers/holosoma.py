"""The metadata that holosoma attaches to the ONNX file: JSON by key.

Its observation is the terms sorted by name, scaled, then clipped; its history is stacked by term and begins
with zeros.
"""

from __future__ import annotations

import json
import math
from typing import Any

from gaitd.errors import InputError
from gaitforge.bundle.importers.accounting import Account, Section
from gaitforge.bundle.importers.draft import NO_VELOCITY_TARGETS, Draft, Source
from gaitforge.bundle.importers.isaac_terms import no_such_term
from gaitforge.bundle.importers.onnx_file import metadata
from gaitforge.bundle.importers.values import (
    collapse,
    count,
    each,
    gains,
    histories,
    number,
    numbers,
    pair,
    term,
    velocity_range,
)

TERMS: dict[str, tuple[str, dict[str, Any]]] = {
    "actions": ("last_action", {}),
    "base_ang_vel": ("base_angular_velocity", {}),
    "base_lin_vel": ("base_linear_velocity", {}),
    "command_ang_vel": ("velocity_command", {"axes": ["turn"]}),
    "command_lin_vel": ("velocity_command", {"axes": ["forward", "left"]}),
    "cos_phase": ("phase", {"name": "gait_cos"}),
    "dof_pos": ("joint_position_relative", {}),
    "dof_vel": ("joint_velocity", {}),
    "projected_gravity": ("projected_gravity", {}),
    "sin_phase": ("phase", {"name": "gait_sin"}),
}
"""Names of its functions: the term, and what belongs to it."""
GAIT = "LocomotionGait"
"""Its clock of two feet, half a turn apart. Standing, both show the same place."""
STAND = 0.01
"""m/s and rad/s below which it stands."""
RANGES = ("lin_vel_x", "lin_vel_y", "ang_vel_yaw")

TOP = {
    "iteration": "of the training run",
    "robot_urdf": "the robot's description; the limits stand in the configuration",
    "robot_urdf_path": "the robot's description",
    "wandb_run_path": "where the training run is kept",
}
CONFIG = dict.fromkeys(
    (
        "algo",
        "curriculum",
        "env_class",
        "eval_overrides",
        "logger",
        "nightly",
        "randomization",
        "reward",
        "termination",
        "terrain",
        "training",
    ),
    "of the training",
)
TERM = {"noise": "of the training"}
"""Keys that mean nothing to a manifest, and why."""


def read(source: Source) -> Draft:
    """Read the metadata of one ONNX file. Raises InputError."""
    (path,) = source.paths
    texts, width = metadata(path)
    if "dof_names" not in texts:
        raise InputError(f"{path}: no metadata dof_names; it has {', '.join(texts) or 'none'}")
    account = Account(str(path), source.ignored)
    top = account.open({key: _json(text, f"{path}: {key}") for key, text in texts.items()})
    names = top.texts("dof_names")
    draft = Draft(model_width=width)
    draft.manifest = {"joints": names, "action": {}}
    stiffness = numbers(top.take("kp"), len(names), top.name("kp"))
    damping = numbers(top.take("kd"), len(names), top.name("kd"))
    ranges = top.section("command_ranges")
    ranges.skip({"heading": "for sampling commands in training"})
    edges = [ranges.get(key) for key in RANGES]
    if all(edge is not None for edge in edges):
        draft.manifest["velocity_command"] = velocity_range(edges, ranges.name(RANGES[0]))
    config = top.section("experiment_config")
    if config.names():
        _configuration(config, names, each(stiffness, len(names)), draft)
        gains(draft, stiffness, damping, str(path))
    else:
        draft.manifest["action"] |= {"stiffness_nm_per_rad": stiffness, "damping_nms_per_rad": damping}
    top.skip(TOP)
    for ignored in account.finish():
        draft.lose(f"{ignored}: --ignore says so")
    return draft


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON as holosoma writes it: {error}") from error


def _configuration(config: Section, names: list[str], stiffness: list[float], draft: Draft) -> None:
    """What the training's own configuration adds to the metadata; of robot and simulator only that."""
    robot, simulator = config.section("robot"), config.section("simulator")
    angles = robot.section("init_state").section("default_joint_angles")
    draft.manifest["default_joint_position_rad"] = collapse(
        [number(angles.take(name), angles.name(name)) for name in names]
    )
    draft.manifest["observation"] = _observation(config.section("observation"), draft)
    _phases(config.section("command"), draft)
    draft.manifest["action"] |= _action(robot, config.section("action"), names, stiffness)
    sim = simulator.section("config").section("sim")
    if sim.get("fps") is not None:
        decimation = count(sim.take("control_decimation"), sim.name("control_decimation"))
        draft.manifest["control_period_s"] = round(decimation / number(sim.take("fps"), sim.name("fps")), 9)
    low, high = robot.get("dof_pos_lower_limit_list"), robot.get("dof_pos_upper_limit_list")
    if low is not None and high is not None:
        draft.manifest["limits"] = {
            "position": {
                "min_rad": numbers(low, len(names), robot.name("dof_pos_lower_limit_list")),
                "max_rad": numbers(high, len(names), robot.name("dof_pos_upper_limit_list")),
            }
        }
    for section in (robot, robot.section("init_state"), robot.section("control"), simulator, sim):
        section.skip(dict.fromkeys(section.names(), "of the simulated robot"))
    simulator.section("config").skip(dict.fromkeys(simulator.section("config").names(), "of the simulator"))
    angles.skip(dict.fromkeys(angles.names(), "of joints that the policy does not move"))
    config.skip(CONFIG)


def _phases(command: Section, draft: Draft) -> None:
    """The clocks that the observation shows, as an evaluation runs them."""
    terms = draft.manifest["observation"]["terms"]
    shown = [entry["name"] for entry in terms if entry["term"] == "phase"]
    clocks = command.section("setup_terms")
    gaits = [name for name in clocks.names() if str(clocks.section(name).get("func", "")).endswith(GAIT)]
    command.skip(dict.fromkeys(command.names(), "of the training"))
    for name in clocks.names():
        clocks.section(name).skip(dict.fromkeys(clocks.section(name).names(), "of the training"))
    if not shown:
        return
    if len(gaits) != 1:
        draft.refuse(f"{command.name('setup_terms')}: expected one {GAIT} behind the phase", "phases")
        return
    params = clocks.section(gaits[0]).section("params")
    period_s = number(params.get("gait_period", 1.0), params.name("gait_period"))
    stands = number(params.get("stand_phase_value", math.pi), params.name("stand_phase_value"))
    params.skip(dict.fromkeys(params.names(), "of the training"))
    clock = {
        "period_s": period_s,
        "offsets_turns": [0.0, 0.5],
        "gate": {"below": STAND, "turns": round(stands / (2 * math.pi), 9)},
    }
    draft.manifest["phases"] = {name: {**clock, "functions": [name[-3:]]} for name in sorted(shown)}
    draft.lose(
        f"it stands where the whole command is shorter than {STAND}; in training, where its velocity and its "
        "turn both were"
    )


def _action(robot: Section, action: Section, names: list[str], stiffness: list[float]) -> dict[str, Any]:
    terms = action.section("terms")
    for name in terms.names():
        entry = terms.section(name)
        entry.get("func")
        if entry.get("scale", 1.0) != 1.0 or entry.get("clip") is not None:
            raise InputError(f"{entry.name('scale')}: expected 1, and no clip: robot.control has them")
        entry.section("params")
    control = robot.section("control")
    if control.get("control_type", "P") != "P":
        raise InputError(
            f"{control.name('control_type')}: {control.get('control_type')}, expected P. "
            f"{NO_VELOCITY_TARGETS.capitalize()}"
        )
    scale = number(control.take("action_scale"), control.name("action_scale"))
    made: dict[str, Any] = {"scale": scale}
    if control.get("action_scales_by_effort_limit_over_p_gain"):
        key = "dof_effort_limit_list"
        efforts = each(numbers(robot.take(key), len(names), robot.name(key)), len(names))
        made["scale"] = collapse(
            [
                scale * effort / gain if gain else scale
                for effort, gain in zip(efforts, stiffness, strict=True)
            ]
        )
    if control.get("clip_actions"):
        edge = number(control.take("action_clip_value"), control.name("action_clip_value"))
        made["clip"] = [-edge, edge]
    return made


def _observation(observation: Section, draft: Draft) -> dict[str, Any]:
    groups = observation.section("groups")
    observation.skip({"clip_observations": "read by no code of the observation"})
    group = groups.section("actor_obs")
    groups.skip(dict.fromkeys(groups.names(), "only the actor's group is what the policy sees"))
    group.skip({"enable_noise": "of the training"})
    if not group.get("concatenate", True):
        draft.refuse(f"{group.name('concatenate')}: terms that are not concatenated", "observation.terms")
    length = count(group.get("history_length", 1), group.name("history_length"))
    entries, terms = group.section("terms"), []
    for name in sorted(entries.names()):
        entry = entries.section(name)
        where = entries.name(name)
        kind, details = TERMS.get(str(entry.get("func", name)).rpartition(":")[2], (None, {}))
        scale = numbers(entry.get("scale", 1.0), None, entry.name("scale"))
        clip = pair(entry.get("clip"), entry.name("clip"))
        entry.skip(TERM)
        if kind is None:
            draft.refuse(f"{where}: {no_such_term(name)}", "observation.terms")
            entry.get("params")
            continue
        entry.section("params")
        terms.append(term(kind, scale, clip, where, draft, scale_first=True) | details)
        if details:
            draft.manifest["format"] = 2
    made = histories(terms, [length] * len(terms), "term_major")
    if "history" in made:
        made["history"]["fill"] = "zeros"
    return made
