"""The wheel-legged quadruped M20 and its published policy, and what its own deploy code computes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gaitd.wire.messages import RobotState
from support.deploy import POLICIES, gravity

M20_POLICY = POLICIES / "m20/policy.onnx"
M20_MODEL = POLICIES.parent / "robots/m20/m20.xml"
_CORNERS = ("fl", "fr", "hl", "hr")
LEGS = [f"{corner}_{joint}_joint" for corner in _CORNERS for joint in ("hipx", "hipy", "knee")]
WHEELS = [f"{corner}_wheel_joint" for corner in _CORNERS]
M20_DEFAULT = np.array([0.0, -0.6, 1.0] * 2 + [0.0, 0.6, -1.0] * 2 + [0.0] * 4)
M20_SCALE = np.array([0.125, 0.25, 0.25] * 4 + [5.0] * 4)


def m20_manifest(**changes: Any) -> dict[str, Any]:
    """The contract of the M20's policy in format 2; without ``files``."""
    return {
        "format": 2,
        "name": "m20",
        "version": "1.0.0",
        "robot": "m20",
        "control_period_s": 0.02,
        "joints": [*LEGS, *WHEELS],
        "continuous_joints": WHEELS,
        "default_joint_position_rad": M20_DEFAULT[:12].tolist(),
        "observation": {
            "terms": [
                {"term": "base_angular_velocity", "scale": 0.25},
                {"term": "projected_gravity"},
                {"term": "velocity_command"},
                {"term": "joint_position_relative", "scale": [1.0] * 12 + [0.0] * 4},
                {"term": "joint_velocity", "scale": 0.05},
                {"term": "last_action"},
            ]
        },
        "velocity_command": {"unit": "normalized", "min": [-1.0, -1.0, -1.0], "max": [1.0, 1.0, 1.0]},
        "action": [
            {
                "joints": LEGS,
                "target": "position",
                "scale": [0.125, 0.25, 0.25] * 4,
                "stiffness_nm_per_rad": 80.0,
                "damping_nms_per_rad": 2.0,
            },
            {"joints": WHEELS, "target": "velocity", "scale": 5.0, "damping_nms_per_rad": 0.6},
        ],
        "fallback_damping_nms_per_rad": {**dict.fromkeys(LEGS, 4.0), **dict.fromkeys(WHEELS, 0.6)},
        "brake": {"stiffness_nm_per_rad": 80.0, "max_nm": 15.0},
        "limits": {
            "position": {"min_rad": -4.6, "max_rad": 4.6},
            "velocity": {"max_rad_per_s": 60.0},
            "torque": {"max_nm": {**dict.fromkeys(LEGS, 76.4), **dict.fromkeys(WHEELS, 21.6)}},
        },
        "model": {"output": "actions"},
        **changes,
    }


def m20_observation(state: RobotState, last_action: np.ndarray) -> np.ndarray:
    """As the vendor's runner makes it, in double precision."""
    position = state.joint_position.astype(float) - M20_DEFAULT
    position[12:] = 0.0
    return np.concatenate(
        (
            state.angular_velocity.astype(float) * 0.25,
            gravity(state.orientation),
            np.clip(state.velocity_command.astype(float), -1.0, 1.0),
            position,
            state.joint_velocity.astype(float) * 0.05,
            last_action.astype(float),
        )
    )
