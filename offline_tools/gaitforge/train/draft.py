"""A draft of the three files that a training of another robot needs, from its MuJoCo model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitforge.common import console, files
from gaitforge.common.manifest import dump_yaml
from gaitforge.simulate import mjcf as models
from gaitforge.simulate.physics import mujoco
from gaitforge.train.config import Gait, Randomization

PERIOD_S = 0.02
CLOCK_S = 0.4
ITERATIONS = 450

_FOOT_ABOVE_LOWEST_M = 0.03
_WEIGHT_ON_A_JOINT_RAD = 0.15
"""How far a joint may give way under its share of the robot's weight: the draft's stiffness."""

_HEAD = "# A draft of gaitforge train --mjcf: read it, and correct what you know better.\n"

REWARDS = {
    "velocity": 2.0,
    "velocity_error": -2.0,
    "turning": 1.5,
    "contact": 1.0,
    "swing": -4.0,
    "bobbing": -2.0,
    "rocking": -0.05,
    "tilt": -3.0,
    "height": -20.0,
    "action_change": -0.015,
    "action_bend": -0.001,
    "acceleration": -1.5e-7,
    "slip": -0.1,
    "pose": -0.15,
    "abduction": -0.1,
    "still_pose": -0.5,
    "still_joints": -0.01,
    "still_feet": -3.0,
}
"""As the Lite3 learnt to walk (examples/lite3_trained); ``torque`` follows from the robot's mass."""
_LITE3_KG, _LITE3_TORQUE = 12.0, -2e-4


def draft(mjcf: Path, folder: Path) -> Path:
    """Write train.yaml, robot.yaml and manifest.yaml, with a copy of the model, into ``folder``.

    Says what was guessed. Returns train.yaml. Raises InputError when the model cannot be read, has no legs,
    feet without names or no free base, or when there is a train.yaml already.
    """
    settings = folder / "train.yaml"
    if settings.exists():
        raise InputError(f"{settings} exists already: give another --output")
    spec = models.read(mjcf)
    with models.refusals(str(mjcf)):
        model = spec.compile()
    models.check_base(model, str(mjcf))
    joints = _motors(model)
    if not joints:
        raise InputError(f"{mjcf}: it has no joint with a motor or a range: there is nothing to train")
    models.check(spec, [model.joint(joint).name for joint in joints], str(mjcf))
    pose = _pose(model)
    feet, others = _feet(model, pose, mjcf)
    if not model.nkey:
        console.note(
            "the model has no keyframe, so that default_joint_position_rad is its own pose, moved into the "
            "joints' ranges: correct it in manifest.yaml to the pose that the robot stands in"
        )
    if not others:
        console.note(
            "besides the feet no geom that touches the floor has a name: only a tilt ends an episode; "
            "name trunk and knees in the model, and add them to terminal in robot.yaml, else it may kneel"
        )
    torque = [_torque(model, joint) for joint in joints]
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(mjcf, folder / mjcf.name)
    _write(folder / "manifest.yaml", _manifest(model, mjcf.stem, joints, pose, torque))
    _write(
        folder / "robot.yaml",
        {
            "feet": feet,
            "terminal": others,
            "torque_limit_nm": torque,
            "timestep_s": PERIOD_S / 5,
            "randomization": msgspec.to_builtins(Randomization()),
        },
    )
    offsets = _offsets(len(feet))
    _write(
        settings,
        {
            "manifest": "manifest.yaml",
            "robot": "robot.yaml",
            "mjcf": mjcf.name,
            "iterations": ITERATIONS,
            "rewards": REWARDS | {"torque": _LITE3_TORQUE * (_LITE3_KG / float(model.body_mass.sum())) ** 2},
            "gait": msgspec.to_builtins(Gait(offsets=offsets)),
            "commands": {
                "forward": [-0.4, 0.8],
                "left": [-0.4, 0.4],
                "turn": [-0.8, 0.8],
                "zero": 0.2,
                "straight": 0.3,
            },
            "pushes": {"speed_m_per_s": 1.2},
            "curriculum": {"tracking_width": [0.12, 0.04]},
            "learning": {"epochs": 4},
        },
    )
    return settings


def _limited_hinges(model: mujoco.MjModel) -> list[int]:
    hinge = model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE
    return [int(joint) for joint in np.flatnonzero(hinge & (model.jnt_limited != 0))]


def _motors(model: mujoco.MjModel) -> list[int]:
    """Joints with an actuator; in a model without any, the hinges with a range."""
    return models.driven_joints(model) or _limited_hinges(model)


def _pose(model: mujoco.MjModel) -> npt.NDArray[np.float64]:
    """(nq,) of the first keyframe, else the model's own with every joint inside its range."""
    pose: npt.NDArray[np.float64] = (model.key_qpos[0] if model.nkey else model.qpos0).copy()
    for joint in _limited_hinges(model):
        low, high = model.jnt_range[joint]
        margin = 0.05 * (high - low)
        place = model.jnt_qposadr[joint]
        pose[place] = np.clip(pose[place], low + margin, high - margin)
    return pose


def _feet(model: mujoco.MjModel, pose: npt.NDArray[np.float64], mjcf: Path) -> tuple[list[str], list[str]]:
    """Names of the lowest colliding geom of each leaf body that stands, and of all other named colliders."""
    data = mujoco.MjData(model)
    data.qpos[:] = pose
    mujoco.mj_kinematics(model, data)
    solid = [g for g in range(model.ngeom) if model.geom_contype[g] or model.geom_conaffinity[g]]
    moving = [g for g in solid if model.geom_bodyid[g] != 0]
    bottom = {g: data.geom_xpos[g, 2] - model.geom_rbound[g] for g in moving}
    lowest: dict[int, int] = {}
    for geom in sorted(moving, key=lambda g: float(bottom[g])):
        lowest.setdefault(int(model.geom_bodyid[geom]), geom)
    floor = min(bottom.values(), default=0.0)
    feet = [geom for geom in lowest.values() if bottom[geom] < floor + _FOOT_ABOVE_LOWEST_M]
    feet.sort(key=lambda geom: (-round(float(data.geom_xpos[geom, 0]), 2), -float(data.geom_xpos[geom, 1])))
    names = {geom: model.geom(geom).name for geom in moving}
    unnamed = [model.body(model.geom_bodyid[geom]).name for geom in feet if not names[geom]]
    if unnamed:
        raise InputError(f"{mjcf}: the foot geom of body {unnamed[0]!r} has no name: give it one")
    return [names[g] for g in feet], [names[g] for g in moving if names[g] and g not in feet]


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


def _manifest(
    model: mujoco.MjModel, name: str, joints: list[int], pose: npt.NDArray[np.float64], torque: list[float]
) -> dict[str, Any]:
    weight_nm = float(model.body_mass.sum()) * 9.81 * 0.1  # on a lever of 10 cm
    stiffness = [round(min(most, weight_nm) / _WEIGHT_ON_A_JOINT_RAD / 2, 1) for most in torque]
    low, high = model.jnt_range[joints].T
    return {
        "format": 1,
        "name": name,
        "version": "0.1.0",
        "robot": name,
        "control_period_s": PERIOD_S,
        "joints": [model.joint(joint).name for joint in joints],
        "default_joint_position_rad": np.round(pose[model.jnt_qposadr[joints]], 3).tolist(),
        "observation": {
            "terms": [
                {"term": "base_angular_velocity", "scale": 0.25},
                {"term": "projected_gravity"},
                {"term": "velocity_command"},
                {"term": "joint_position_relative"},
                {"term": "joint_velocity", "scale": 0.05},
                {"term": "joint_position_relative", "delay_steps": 2},
                {"term": "last_action"},
                {"term": "clock_phase", "period_s": CLOCK_S},
            ]
        },
        "velocity_command": {"unit": "si", "min": [-0.4, -0.4, -0.8], "max": [0.8, 0.4, 0.8]},
        "action": {
            "scale": 0.25,
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


def _write(path: Path, values: dict[str, Any]) -> None:
    files.write_text(path, _HEAD + dump_yaml(values, short_lists=True).decode())
