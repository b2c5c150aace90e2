"""Random robot states, everywhere a state may be."""

from __future__ import annotations

import numpy as np

from gaitd.wire.messages import RobotState


def random_quaternion(rng: np.random.Generator) -> np.ndarray:
    quaternion = rng.normal(size=4)
    unit: np.ndarray = (quaternion / np.linalg.norm(quaternion)).astype(np.float32)
    return unit


def random_state(rng: np.random.Generator, joints: int, **changes: object) -> RobotState:
    """Any attitude, any command, joints within a turn; session 1, seq 1, stamp 1."""

    def values(size: int, scale: float) -> np.ndarray:
        return (rng.normal(size=size) * scale).astype(np.float32)

    state = {
        "session": 1,
        "seq": 1,
        "stamp_ns": 1,
        "angular_velocity": values(3, 2.0),
        "orientation": random_quaternion(rng),
        "linear_acceleration": values(3, 10.0),
        "linear_velocity": None,
        "velocity_command": values(3, 1.0),
        "joint_position": values(joints, 1.0),
        "joint_velocity": values(joints, 5.0),
        "joint_torque": values(joints, 10.0),
    }
    return RobotState(**{**state, **changes})  # type: ignore[arg-type]
