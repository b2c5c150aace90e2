"""The simulated robot: MuJoCo physics at 1 kHz, and PD motors that follow the newest command."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import GateError, InputError
from gaitd.policy.sources import roll_pitch_yaw
from gaitforge.simulate import terrain
from gaitforge.simulate.body import Body, lite3
from gaitforge.simulate.mjcf import FLOOR, reach_m
from gaitforge.simulate.physics import mujoco

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

JOINT_NOISE_RAD = 0.03
FLOOR_FRICTION = (0.7, 1.1)
"""What a seed changes, uniformly: each joint of the first pose by +-JOINT_NOISE_RAD, the floor's sliding
friction within this range, a payload at the base's centre within the body's, and the terrain."""

_LOST_S = 1e-4
"""MuJoCo starts a simulation that is not finite anew, and its clock with it."""


@dataclass(frozen=True, slots=True)
class MotorCommand:
    """What the n motors are to do, in the order of the body's joints.

    torque = stiffness * (position - q) + damping * (velocity - dq) + torque, clipped at the body's limits.
    """

    stiffness: Float64Array
    """(n,) Nm/rad."""
    position: Float64Array
    """(n,) rad."""
    damping: Float64Array
    """(n,) Nm s/rad."""
    velocity: Float64Array
    """(n,) rad/s."""
    torque: Float64Array
    """(n,) Nm, feed-forward."""

    @staticmethod
    def hold(
        position: npt.ArrayLike, stiffness: float | Float64Array, damping: float | Float64Array
    ) -> MotorCommand:
        """Hold a joint position (n,) rad, with one stiffness and damping for all motors or one for each."""
        held = np.array(position, dtype=np.float64)
        zero = np.zeros(len(held))
        return MotorCommand(zero + stiffness, held, zero + damping, zero, zero)

    @staticmethod
    def damped(body: Body | None = None) -> MotorCommand:
        """Brake every motor of a body, by default the Lite3's, hold nothing."""
        damping = (body or lite3()).rest_damping
        return MotorCommand.hold(np.zeros(len(damping)), 0.0, damping)


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
    """(n,) rad."""
    joint_velocity: Float64Array
    """(n,) rad/s."""
    joint_torque: Float64Array
    """(n,) Nm, as applied in the last tick."""


class Robot:
    """One robot at the origin, in its body's first pose; a tick is one millisecond.

    The same seed gives the same robot, ground and pose, and with the same commands the same motion.
    """

    def __init__(self, seed: int = 0, body: Body | None = None) -> None:
        """``body``: by default the Lite3's."""
        self.body = body = body or lite3()
        rng = np.random.default_rng(seed)
        self.model = copy.copy(body.model)
        self.data = mujoco.MjData(self.model)
        self.ticks = 0
        self.command = MotorCommand.damped(body)
        self.torque: Float64Array = np.zeros(len(body.joints))
        self.model.geom_friction[self.model.geom(FLOOR).id, 0] = rng.uniform(*FLOOR_FRICTION)
        self.model.body_mass[body.base] += rng.uniform(*body.payload_kg)
        mujoco.mj_setConst(self.model, self.data)
        self.terrain = terrain.make(body.terrain, seed, body.stature.standing_m)
        if self.terrain is not None:
            self.terrain.lay(self.model)
        noise = rng.uniform(-JOINT_NOISE_RAD, JOINT_NOISE_RAD, len(body.joints))
        self.place(body.start_rad + noise)

    def place(self, joint_position: npt.ArrayLike) -> None:
        """Put the robot at rest at the origin with this pose (n,) rad, its lowest foot on the ground.

        A body that is held stays there until ``let_go``.
        """
        model, data, body = self.model, self.data, self.body
        data.qpos[:] = model.qpos0
        data.qpos[:7] = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
        data.qpos[body.position] = joint_position
        data.qvel[:] = 0.0
        mujoco.mj_forward(model, data)
        soles = data.geom_xpos[body.soles, 2] - reach_m(model, data, body.soles)
        data.qpos[2] = self._ground_m - np.min(soles)
        if body.held:
            # Where the base stands in the default pose: nothing of the weight is on the legs yet.
            data.qpos[2] = self._ground_m + body.stature.standing_m
            # A weld to the world: the place there, the base's origin, its orientation.
            model.eq_data[body.hold, :10] = (*data.qpos[:3], 0.0, 0.0, 0.0, *data.qpos[3:7])
        mujoco.mj_forward(model, data)

    def let_go(self) -> None:
        """The hand-over: the base is not held any more.

        Raises InputError when a joint of a held body is far from standing.
        """
        body, limit = self.body, self.body.start_error_rad
        if limit is None:
            return
        error = np.abs(self.data.qpos[body.position] - body.standing_rad)
        worst = int(np.argmax(error - limit))
        if error[worst] > limit[worst]:
            raise InputError(
                f"{body.where}: the robot does not get into its default pose: after {self.time_s:.1f} s "
                f"joint {body.joints[worst]!r} is {error[worst]:.2f} rad away, allowed are "
                f"{limit[worst]:.2f}; are its stiffness {body.stand_up_stiffness[worst]:g} Nm/rad and its "
                f"torque limit {body.torque_limit_nm[worst]:g} Nm right, and is it free to move there?"
            )
        self.data.eq_active[body.hold] = 0

    @property
    def time_s(self) -> float:
        """Simulated time since the start."""
        return self.ticks * 0.001

    @property
    def height_m(self) -> float:
        """Height of the base above the ground below it."""
        return float(self.data.qpos[2] - self._ground_m)

    @property
    def _ground_m(self) -> float:
        return 0.0 if self.terrain is None else float(self.terrain.height_m(self.data.qpos[:2]))

    @property
    def tilt_rad(self) -> float:
        """Angle between the base's upward axis and the vertical: 0 upright, pi on its back."""
        return tilt_rad(self.data.qpos[3:7])

    def step(self, ticks: int = 1) -> None:
        """Let milliseconds pass under the present command, which the motors follow in each of them.

        Raises GateError when the physics diverges, InputError when the robot walks off its terrain.
        """
        data, command, body = self.data, self.command, self.body
        most = body.torque_limit_nm
        for _ in range(ticks):
            torque = command.stiffness * (command.position - data.qpos[body.position])
            torque += command.damping * (command.velocity - data.qvel[body.velocity])
            torque += command.torque
            self.torque = np.clip(torque, -most, most)
            data.ctrl[:] = self.torque
            mujoco.mj_step(self.model, data)
        self.ticks += ticks
        if abs(data.time - self.time_s) > _LOST_S:
            raise GateError(
                f"{body.where}: its physics is not finite any more after {self.time_s:.3f} s: look for gains "
                "too stiff for steps of 1 ms, or a mass or an inertia near zero in the model"
            )
        if self.terrain is not None and np.abs(data.qpos[:2]).max() > terrain.SIDE_M / 2:
            raise InputError(
                f"after {self.time_s:.1f} s the robot has left the terrain, a square of {terrain.SIDE_M:g} "
                "m: let it walk for fewer seconds"
            )

    def push(self, velocity: npt.ArrayLike) -> None:
        """Kick the base: add a velocity (2,) m/s, world frame, x and y."""
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
            joint_position=data.qpos[self.body.position],
            joint_velocity=data.qvel[self.body.velocity],
            joint_torque=self.torque,
        )


def tilt_rad(orientation: Float64Array) -> float:
    """Angle of the base's upward axis from the vertical, from a quaternion (4,) w, x, y, z."""
    _, x, y, _ = orientation.tolist()
    return math.acos(min(1.0, max(-1.0, 1.0 - 2.0 * (x * x + y * y))))


STAND_UP_S = 3.0
"""How long standing up takes: a ramp of 2 s, then 1 s to settle."""

_RAMP_S = 2.0


def stand_up_command(
    start: Float64Array, elapsed_s: float, target: Float64Array | None = None, body: Body | None = None
) -> MotorCommand:
    """Return the motor command of a stand-up that began at the pose ``start`` (n,) rad ``elapsed_s`` ago.

    The joints of the body, by default the Lite3's, move from start to target, by default where the body
    stands, along a smooth ramp, then hold.
    """
    body = body or lite3()
    target = body.standing_rad if target is None else target
    part = min(1.0, max(0.0, elapsed_s / _RAMP_S))
    part = part * part * (3.0 - 2.0 * part)
    return MotorCommand.hold(start + part * (target - start), body.stand_up_stiffness, body.stand_up_damping)
