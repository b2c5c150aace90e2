"""The simulated robot: MuJoCo physics at 1 kHz, and PD motors that follow the newest command."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.policy.sources import roll_pitch_yaw
from gaitforge.simulate.model import (
    JOINTS,
    LEGS,
    LYING_LEG_RAD,
    STANDING_LEG_RAD,
    TORQUE_LIMITS_NM,
    model_xml,
)
from gaitforge.simulate.physics import mujoco

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

LYING_RAD: Float64Array = np.array(LYING_LEG_RAD * 4)
STANDING_RAD: Float64Array = np.array(STANDING_LEG_RAD * 4)
TORQUE_LIMIT_NM: Float64Array = np.array(TORQUE_LIMITS_NM * 4)

DAMPING_NMS_PER_RAD = 2.5
"""What the motors brake with when nothing is asked of them."""

JOINT_NOISE_RAD = 0.03
FLOOR_FRICTION = (0.7, 1.1)
PAYLOAD_KG = (0.0, 0.3)
"""What a seed changes, uniformly: each joint of the lying pose by +-JOINT_NOISE_RAD, the floor's sliding
friction and a payload at the trunk's centre within these ranges."""


@dataclass(frozen=True, slots=True)
class MotorCommand:
    """What the twelve motors are to do, in the order of model.JOINTS.

    torque = stiffness * (position - q) + damping * (velocity - dq) + torque, clipped at the motors' limits.
    """

    stiffness: Float64Array
    """(12,) Nm/rad."""
    position: Float64Array
    """(12,) rad."""
    damping: Float64Array
    """(12,) Nm s/rad."""
    velocity: Float64Array
    """(12,) rad/s."""
    torque: Float64Array
    """(12,) Nm, feed-forward."""

    @staticmethod
    def hold(position: npt.ArrayLike, stiffness: float, damping: float) -> MotorCommand:
        """Hold a joint position (12,) rad with one stiffness and one damping for all motors."""
        zero = np.zeros(len(JOINTS))
        return MotorCommand(
            zero + stiffness, np.array(position, dtype=np.float64), zero + damping, zero, zero
        )

    @staticmethod
    def damped() -> MotorCommand:
        """Brake every motor, hold nothing."""
        return MotorCommand.hold(np.zeros(len(JOINTS)), 0.0, DAMPING_NMS_PER_RAD)


@dataclass(frozen=True, slots=True)
class RobotReading:
    """What the robot's sensors and the simulator know at one moment. Arrays belong to the reader."""

    time_s: float
    orientation: Float64Array
    """(4,) unit quaternion w, x, y, z: base frame to world frame."""
    roll_pitch_yaw: Float32Array
    """(3,) rad: turns about x, then y, then z."""
    angular_velocity: Float64Array
    """(3,) rad/s, base frame."""
    linear_acceleration: Float64Array
    """(3,) m/s^2, base frame, as an accelerometer gives it: +9.81 upward at rest."""
    linear_velocity: Float64Array
    """(3,) m/s, base frame; a real robot would have to estimate it."""
    joint_position: Float64Array
    """(12,) rad."""
    joint_velocity: Float64Array
    """(12,) rad/s."""
    joint_torque: Float64Array
    """(12,) Nm, as applied in the last tick."""


class Robot:
    """One robot on a flat floor, lying folded at the origin; a tick is one millisecond.

    The same seed gives the same robot, floor and pose, and with the same commands the same motion.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.model = mujoco.MjModel.from_xml_string(model_xml())
        self.data = mujoco.MjData(self.model)
        self.ticks = 0
        self.command = MotorCommand.damped()
        self.torque: Float64Array = np.zeros(len(JOINTS))
        self._floor = self.model.geom("floor").id
        self.model.geom_friction[self._floor, 0] = rng.uniform(*FLOOR_FRICTION)
        self.model.body("trunk").mass += rng.uniform(*PAYLOAD_KG)
        mujoco.mj_setConst(self.model, self.data)
        self.place(LYING_RAD + rng.uniform(-JOINT_NOISE_RAD, JOINT_NOISE_RAD, len(JOINTS)))

    def place(self, joint_position: npt.ArrayLike) -> None:
        """Put the robot at rest at the origin with this pose (12,) rad, its lowest foot on the floor."""
        data = self.data
        data.qpos[:7] = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
        data.qpos[7:] = joint_position
        data.qvel[:] = 0.0
        mujoco.mj_forward(self.model, data)
        feet = [self.model.geom(f"{leg}_foot").id for leg in LEGS]
        data.qpos[2] = -np.min(data.geom_xpos[feet, 2] - self.model.geom_size[feet, 0])
        mujoco.mj_forward(self.model, data)

    @property
    def time_s(self) -> float:
        """Simulated time since the start."""
        return self.ticks * 0.001

    @property
    def height_m(self) -> float:
        """Height of the trunk's centre above the floor."""
        return float(self.data.qpos[2])

    @property
    def tilt_rad(self) -> float:
        """Angle between the trunk's upward axis and the vertical: 0 upright, pi on its back."""
        return tilt_rad(self.data.qpos[3:7])

    def step(self, ticks: int = 1) -> None:
        """Let milliseconds pass under the present command, which the motors follow in each of them."""
        data, command = self.data, self.command
        position, velocity = data.qpos[7:], data.qvel[6:]
        for _ in range(ticks):
            torque = command.stiffness * (command.position - position)
            torque += command.damping * (command.velocity - velocity)
            torque += command.torque
            self.torque = np.clip(torque, -TORQUE_LIMIT_NM, TORQUE_LIMIT_NM)
            data.ctrl[:] = self.torque
            mujoco.mj_step(self.model, data)
        self.ticks += ticks

    def push(self, velocity: npt.ArrayLike) -> None:
        """Kick the trunk: add a velocity (2,) m/s, world frame, x and y."""
        self.data.qvel[:2] += np.asarray(velocity)

    def read(self) -> RobotReading:
        """Return the present state. The acceleration is that of the last tick."""
        data = self.data
        orientation = data.qpos[3:7].copy()
        linear_velocity = np.empty(3)
        inverse = np.empty(4)
        mujoco.mju_negQuat(inverse, orientation)
        mujoco.mju_rotVecQuat(linear_velocity, data.qvel[:3], inverse)
        return RobotReading(
            time_s=self.time_s,
            orientation=orientation,
            roll_pitch_yaw=np.array(roll_pitch_yaw(orientation.astype(np.float32)), np.float32),
            angular_velocity=data.qvel[3:6].copy(),
            linear_acceleration=data.sensordata[:3].copy(),
            linear_velocity=linear_velocity,
            joint_position=data.qpos[7:].copy(),
            joint_velocity=data.qvel[6:].copy(),
            joint_torque=self.torque,
        )


def tilt_rad(orientation: Float64Array) -> float:
    """Angle of the base's upward axis from the vertical, from a quaternion (4,) w, x, y, z."""
    _, x, y, _ = orientation.tolist()
    return math.acos(min(1.0, max(-1.0, 1.0 - 2.0 * (x * x + y * y))))


STAND_UP_S = 3.0
"""How long standing up takes: a ramp of 2 s, then 1 s to settle."""

_RAMP_S = 2.0
_STAND_UP_STIFFNESS = 100.0
_STAND_UP_DAMPING = 2.5


def stand_up_command(
    start: Float64Array, elapsed_s: float, target: Float64Array = STANDING_RAD
) -> MotorCommand:
    """Return the motor command of a stand-up that began at the pose ``start`` (12,) rad ``elapsed_s`` ago.

    The joints move from start to target along a smooth ramp, then hold.
    """
    part = min(1.0, max(0.0, elapsed_s / _RAMP_S))
    part = part * part * (3.0 - 2.0 * part)
    return MotorCommand.hold(start + part * (target - start), _STAND_UP_STIFFNESS, _STAND_UP_DAMPING)
