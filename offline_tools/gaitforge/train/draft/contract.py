"""The draft of a manifest: the contract of examples/lite3_trained, for another robot's joints."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaitforge.train.draft.anatomy import Anatomy

PERIOD_S = 0.02
CLOCK_S = 0.4

_WEIGHT_ON_A_JOINT_RAD = 0.15
"""How far a joint may give way under its share of the robot's weight: the draft's stiffness."""
_G_M_PER_S2 = 9.81

_WHEEL_M_PER_S, _WHEEL_CLIP = 1.0, 2.5
"""Of a raw action of 1 at a wheel, and the most of it."""
_WHEEL_LAG_M_PER_S = 0.6
"""So far behind its target, in the ground's speed, a wheel gets its motor's most."""
_BRAKE_SLOPE_RAD, _BRAKE_RAD = 0.26, 0.04
"""On which the brakes of the wheels hold the robot, and how far each turns before it slips."""


def commands(robot: Anatomy) -> tuple[list[float], list[float]]:
    """Smallest and largest: m/s forward and to the left, rad/s to the left."""
    left = 0.0 if robot.wheels else 0.5
    return [-0.4, 0.0 - left, -0.8], [0.8, left, 0.8]


def manifest(robot: Anatomy, name: str, joints: list[str], torque: list[float]) -> dict[str, Any]:
    """As YAML has it. ``joints``: the legs', then the wheels'; ``torque``: the most of their motors [Nm]."""
    model = robot.model
    weight_nm = float(model.body_mass.sum()) * _G_M_PER_S2 * 0.1  # on a lever of 10 cm
    stiffness = [
        round(min(most, weight_nm) / _WEIGHT_ON_A_JOINT_RAD / 2, 1) for most in torque[: len(robot.legs)]
    ]
    low, high = model.jnt_range[robot.legs].T
    command_low, command_high = commands(robot)
    drafted: dict[str, Any] = {
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
            ]
        },
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
    if robot.wheels:
        _add_wheels(drafted, robot, torque[len(robot.legs) :])
    else:
        drafted["observation"]["terms"].append({"term": "phase", "name": "gait"})
        drafted["phases"] = {"gait": {"period_s": CLOCK_S, "gate": {"below": 0.1, "values": "zero"}}}
    return drafted


def _add_wheels(drafted: dict[str, Any], robot: Anatomy, torque: list[float]) -> None:
    """Wheels behind the legs, as examples/wheels has them."""
    legs, wheels = drafted["joints"][: len(robot.legs)], drafted["joints"][len(robot.legs) :]
    scale = round(_WHEEL_M_PER_S / robot.foot_radius_m, 2)
    top = round(_WHEEL_CLIP * scale, 1)
    damping = [round(most * robot.foot_radius_m / _WHEEL_LAG_M_PER_S, 3) for most in torque]
    weight_n = float(robot.model.body_mass.sum()) * _G_M_PER_S2
    hold_nm = weight_n * float(np.sin(_BRAKE_SLOPE_RAD)) * robot.foot_radius_m / len(wheels)
    drafted["continuous_joints"] = wheels
    for term in drafted["observation"]["terms"]:
        if term["term"] == "joint_position_relative":
            term["joints"] = legs
        if term["term"] == "velocity_command":
            term["axes"] = ["forward", "turn"]
    drafted["action"] = [
        {"joints": legs, "target": "position", **drafted["action"]},
        {
            "joints": wheels,
            "target": "velocity",
            "scale": scale,
            "clip": [-_WHEEL_CLIP, _WHEEL_CLIP],
            "low_pass": {"share": 0.5},
            "damping_nms_per_rad": damping,
        },
    ]
    drafted["fallback_damping_nms_per_rad"] += [round(value / 2.5, 3) for value in damping]
    drafted["brake"] = {"stiffness_nm_per_rad": round(hold_nm / _BRAKE_RAD, 2), "max_nm": round(hold_nm, 2)}
    drafted["limits"]["velocity"] = {"max_rad_per_s": top}
    drafted["limits"]["acceleration"] = {"max_rad_per_s2": 10.0 * top}
    drafted["limits"]["state"]["max_velocity_rad_per_s"] = max(50.0, 2.0 * top)
