"""A draft of the three files that a training of another robot needs, from its MuJoCo model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gaitd.errors import InputError
from gaitforge.common import console, files
from gaitforge.common.manifest import dump_yaml
from gaitforge.simulate import mjcf as models
from gaitforge.simulate.physics import mujoco
from gaitforge.train.config import Gait, Randomization
from gaitforge.train.draft.anatomy import Anatomy, name_colliders, study
from gaitforge.train.draft.contract import PERIOD_S, commands, manifest

ITERATIONS = 450
ENVIRONMENTS = 1024

_HEAD = "# A draft of gaitforge train --mjcf: read it, and correct what you know better.\n"

# As the Lite3 learnt to walk (examples/lite3_trained); ``torque`` follows from the robot's mass.
_ALWAYS = {
    "velocity": 2.0,
    "velocity_error": -2.0,
    "turning": 1.5,
    "bobbing": -2.0,
    "rocking": -0.05,
    "tilt": -3.0,
    "height": -20.0,
    "action_change": -0.015,
    "action_bend": -0.001,
    "pose": -0.15,
    "still_joints": -0.01,
}
_WALKING = {
    "contact": 1.0,
    "swing": -4.0,
    "acceleration": -1.5e-7,
    "slip": -0.1,
    "abduction": -0.1,
    "still_pose": -0.5,
    "still_feet": -3.0,
}
_LOW = -0.5
_LITE3_KG, _LITE3_TORQUE = 12.0, -2e-4


def draft(mjcf: Path, folder: Path) -> Path:
    """Write train.yaml, robot.yaml and manifest.yaml, with a copy of the model, into ``folder``.

    In the copy every geom that collides has a name. Says what was guessed. Returns train.yaml. Raises
    InputError when the model cannot be read, has no motors, feet or free base, or when there is a
    train.yaml already.
    """
    settings = folder / "train.yaml"
    if settings.exists():
        raise InputError(f"{settings} exists already: give another --output")
    spec = models.read(mjcf)
    name_colliders(spec)
    with models.refusals(str(mjcf)):
        model = spec.compile()
    models.check_base(model, str(mjcf))
    robot = study(model, str(mjcf))
    names = [model.joint(joint).name for joint in robot.legs + robot.wheels]
    wheels = names[len(robot.legs) :]
    models.check(spec, names, str(mjcf), wheels)
    torque = [_torque(model, joint) for joint in robot.legs + robot.wheels]
    _say_guesses(robot, wheels)
    if spec.meshes:  # which stay where they are
        spec.meshdir = str((mjcf.parent / spec.meshdir).resolve())
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / mjcf.name, spec.to_xml())
    _write(folder / "manifest.yaml", manifest(robot, mjcf.stem, names, torque))
    _write(
        folder / "robot.yaml",
        {
            "feet": robot.feet,
            "terminal": robot.others,
            "torque_limit_nm": torque,
            "timestep_s": PERIOD_S / 5,
            "randomization": msgspec.to_builtins(Randomization()),
        },
    )
    _write(settings, _settings(robot, mjcf.name))
    return settings


def _say_guesses(robot: Anatomy, wheels: list[str]) -> None:
    if robot.bent:
        console.note(
            "the model has no keyframe, so that default_joint_position_rad has each leg bent, foot below "
            "hip: correct it in manifest.yaml to the pose that the robot stands in"
        )
    elif not robot.model.nkey:
        console.note(
            "the model has no keyframe, so that default_joint_position_rad is its own pose, moved into the "
            "joints' ranges: correct it in manifest.yaml to the pose that the robot stands in"
        )
    if wheels:
        console.note(
            f"{', '.join(wheels)}: a motor and no range, so taken for wheels that drive; without a gait, and "
            "without commands to the side"
        )
    if not robot.others:
        console.note(
            "besides the feet nothing touches the floor in this model: only a tilt ends an episode; give "
            "trunk and knees geoms that collide, and add them to terminal in robot.yaml, else it may kneel"
        )


def _settings(robot: Anatomy, mjcf: str) -> dict[str, Any]:
    mass_kg = float(robot.model.body_mass.sum())
    rewards = _ALWAYS | {"torque": float(f"{_LITE3_TORQUE * (_LITE3_KG / mass_kg) ** 2:.2g}")}
    settings: dict[str, Any] = {
        "manifest": "manifest.yaml",
        "robot": "robot.yaml",
        "mjcf": mjcf,
        "seed": 0,
        "environments": ENVIRONMENTS,
        "iterations": ITERATIONS,
    }
    if not robot.wheels:
        rewards |= _WALKING
        settings["gait"] = msgspec.to_builtins(Gait(offsets=_offsets(len(robot.feet))))
    if robot.others:
        rewards["low"] = _LOW
    low, high = commands(robot)
    return settings | {
        "rewards": rewards,
        "commands": {
            "forward": [low[0], high[0]],
            "left": [low[1], high[1]],
            "turn": [low[2], high[2]],
            "zero": 0.1,
            "straight": 0.15,
        },
        "pushes": {"speed_m_per_s": 1.2},
        "curriculum": {"tracking_width": [0.12, 0.04]},
        "learning": {"epochs": 4},
    }


def _torque(model: mujoco.MjModel, joint: int) -> float:
    """The most of its motor [Nm]: of the joint, else of its actuator."""
    most = models.torque_limit_nm(model, joint)
    if most is None:
        raise InputError(
            f"joint {model.joint(joint).name!r} has no torque limit in the model: add actuatorfrcrange"
        )
    return most


def _offsets(feet: int) -> list[float]:
    """A trot for four feet in the order front left, front right, hind left, hind right; else in turn."""
    return [0.0, 0.5, 0.5, 0.0] if feet == 4 else [index / feet for index in range(feet)]


def _write(path: Path, values: dict[str, Any]) -> None:
    files.write_text(path, _HEAD + dump_yaml(values, short_lists=True).decode())
