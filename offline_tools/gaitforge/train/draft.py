"""A draft of the three files that a training of another robot needs, from its MuJoCo model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gaitd.errors import InputError
from gaitforge.common import console, files
from gaitforge.common.manifest import dump_yaml
from gaitforge.simulate import mjcf as models
from gaitforge.simulate.physics import mujoco
from gaitforge.train.anatomy import Anatomy, name_colliders, study
from gaitforge.train.config import Gait, Randomization

PERIOD_S = 0.02
CLOCK_S = 0.4
ITERATIONS = 450
ENVIRONMENTS = 1024

_WEIGHT_ON_A_JOINT_RAD = 0.15
"""How far a joint may give way under its share of the robot's weight: the draft's stiffness."""
_G_M_PER_S2 = 9.81

_HEAD = "# A draft of gaitforge train --mjcf: read it, and correct what you know better.\n"

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
"""As the Lite3 learnt to walk (examples/lite3_trained); ``torque`` follows from the robot's mass."""
_LITE3_KG, _LITE3_TORQUE = 12.0, -2e-4

_WHEEL_M_PER_S, _WHEEL_CLIP = 1.0, 2.5
"""Of a raw action of 1 at a wheel, and the most of it."""
_BRAKE_SLOPE_RAD = 0.26
"""On which the brakes of the wheels hold the robot."""


def draft(mjcf: Path, folder: Path) -> Path:
    """Write train.yaml, robot.yaml and manifest.yaml, with a copy of the model, into ``folder``.

    In the copy every geom that collides has a name. Says what was guessed. Returns train.yaml. Raises InputError
    when the model cannot be read, has no motors, feet or free base, or when there is a train.yaml already.
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
    # The copy lies elsewhere, and so do its meshes from there.
    spec.meshdir, spec.texturedir = (
        str((mjcf.parent / each).resolve()) for each in (spec.meshdir, spec.texturedir)
    )
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / mjcf.name, spec.to_xml())
    _write(folder / "manifest.yaml", _manifest(robot, mjcf.stem, names, torque))
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
            "the model has no keyframe, so that default_joint_position_rad has each leg bent, foot below hip: correct "
            "it in manifest.yaml to the pose that the robot stands in"
        )
    elif not robot.model.nkey:
        console.note(
            "the model has no keyframe, so that default_joint_position_rad is its own pose, moved into the "
            "joints' ranges: correct it in manifest.yaml to the pose that the robot stands in"
        )
    if wheels:
        console.note(
            f"{', '.join(wheels)} have motors and no range: they are taken for wheels that drive, and the legs for "
            "what carries them; without a gait, and without commands to the side"
        )
    if not robot.others:
        console.note(
            "besides the feet nothing touches the floor in this model: only a tilt ends an episode; give trunk and "
            "knees geoms that collide, and add them to terminal in robot.yaml, else it may kneel"
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
    low, high = _commands(robot)
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


def _commands(robot: Anatomy) -> tuple[list[float], list[float]]:
    """Smallest and largest: m/s forward and to the left, rad/s to the left."""
    left = 0.0 if robot.wheels else 0.5
    return [-0.4, -left, -0.8], [0.8, left, 0.8]


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


def _manifest(robot: Anatomy, name: str, joints: list[str], torque: list[float]) -> dict[str, Any]:
    model, legs = robot.model, joints[: len(robot.legs)]
    weight_nm = float(model.body_mass.sum()) * _G_M_PER_S2 * 0.1  # on a lever of 10 cm
    stiffness = [
        round(min(most, weight_nm) / _WEIGHT_ON_A_JOINT_RAD / 2, 1) for most in torque[: len(robot.legs)]
    ]
    low, high = model.jnt_range[robot.legs].T
    command_low, command_high = _commands(robot)
    manifest: dict[str, Any] = {
        "format": 2,
        "name": name,
        "version": "0.1.0",
        "robot": name,
        "control_period_s": PERIOD_S,
        "joints": joints,
        "default_joint_position_rad": np.round(robot.pose[model.jnt_qposadr[robot.legs]], 3).tolist(),
        "observation": {
            "terms": [
                {"term": "base_angular_velocity", "scale": 0.25},
                {"term": "projected_gravity"},
                {"term": "velocity_command"},
                {"term": "joint_position_relative"},
                {"term": "joint_velocity", "scale": 0.05},
                {"term": "joint_position_relative", "delay_steps": 2},
                {"term": "last_action"},
                {"term": "phase", "name": "gait"},
            ]
        },
        "phases": {"gait": {"period_s": CLOCK_S, "gate": {"below": 0.1, "values": "zero"}}},
        "velocity_command": {"unit": "si", "min": command_low, "max": command_high},
        "action": {
            "scale": [0.125 if sideways else 0.25 for sideways in robot.abduction],
            "clip": [-6.0, 6.0],
            "stiffness_nm_per_rad": stiffness,
            "damping_nms_per_rad": [round(value / 30.0, 3) for value in stiffness],
        },
        "fallback_damping_nms_per_rad": [round(value / 12.0, 3) for value in stiffness],
        "limits": {
            "position": {"min_rad": np.round(low, 4).tolist(), "max_rad": np.round(high, 4).tolist()},
            "slew": {"max_rad_per_step": 1.0},
            "torque": {"max_nm": torque},
            "state": {"max_velocity_rad_per_s": 50.0},
            "posture": {"max_tilt_rad": 1.0, "max_start_error_rad": 0.5},
        },
    }
    return manifest


def _write(path: Path, values: dict[str, Any]) -> None:
    files.write_text(path, _HEAD + dump_yaml(values, short_lists=True).decode())
