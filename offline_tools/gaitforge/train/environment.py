"""Many robots under one policy: MuJoCo's batch, and the manifest's own observation, action and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitd.errors import GateError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.simulate.direct import full_command
from gaitforge.simulate.terrain import SIDE_M, make_for_many
from gaitforge.train.batch import Batch
from gaitforge.train.config import Config, RobotParameters
from gaitforge.train.gait import Feet
from gaitforge.train.memory import Memory
from gaitforge.train.observe import Limiter, Observer, projected_gravity
from gaitforge.train.randomize import randomize
from gaitforge.train.rewards import Motion, check_weights, reward
from gaitforge.train.robot import build, control_steps
from gaitforge.train.seeing import Seeing

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_START_RAD, _START_RAD_PER_S, _START_M_PER_S = 0.1, 0.2, 0.2
"""How far a robot's start may be from standing still in the default pose."""

_START_M, _END_M = 0.35 * SIDE_M, 0.48 * SIDE_M
"""On a terrain robots start this far from its middle at most, along each axis, and an episode ends so far."""

_BEGIN_S = 1.0
"""Of a start, on MuJoCo's clock: what MuJoCo resets by itself begins at 0, and so is told apart."""


@dataclass
class Step:
    """What came of one control step of n robots."""

    reward: Float64Array
    """(n,)"""
    fell: Mask
    """(n,) whose episode ended because it fell; it has started anew."""
    timeout: Mask
    """(n,) whose episode ended by itself; it has started anew."""
    terms: dict[str, float]
    """Each weighted reward's mean over the robots."""
    velocity: Float64Array = field(repr=False)
    """(n, 3) m/s forward and left, rad/s to the left, in the base's frame."""
    torque: Float64Array = field(repr=False)
    """(n, j) Nm."""
    joint_velocity: Float64Array = field(repr=False)
    """(n, j) rad/s."""
    contact: Mask = field(repr=False)
    """(n, f)"""


class Environment:
    """``count`` robots. The same settings and seed give the same ones, the same actions the same motion.

    What is derived from a state in MuJoCo (contacts, feet) is that of one physics step before.
    """

    def __init__(
        self,
        config: Config,
        parameters: RobotParameters,
        manifest: Manifest,
        mjcf: Path | None,
        *,
        count: int,
        seed: tuple[int, ...],
        threads: int = 1,
        timestep_s: float | None = None,
    ) -> None:
        """``timestep_s`` replaces the parameters'. Raises InputError when the files do not fit together."""
        self.config, self.manifest = config, manifest
        self.period_s = manifest.control_period_s
        self.robot = build(manifest, parameters, mjcf, timestep_s, config.terrain)
        self._height_m = config.height_m or self.robot.height_m
        self._terrain = make_for_many(config.terrain, config.seed, self._height_m)
        if self._terrain is not None:
            self._terrain.lay(self.robot.model)
            self._starts = self._terrain.highest_within(self._height_m)
        self._substeps = control_steps(self.robot, manifest)
        self.observer = Observer(manifest, count)
        self._limiter = Limiter(manifest)
        self._seeing = None if config.height_map is None else Seeing(config.height_map, manifest)
        self.feet = Feet(config.gait, self.observer.period_s, len(parameters.feet))
        check_weights(config.rewards, self.feet.clocked)
        self.rng = np.random.default_rng([*seed, 1])
        self.batch = Batch(self.robot.model, count, nthread=threads)
        self._noise = parameters.randomization.noise
        self._drawn = randomize(self.batch, self.robot, parameters.randomization, np.random.default_rng(seed))
        self._delays = np.unique(self._drawn.delay_steps)
        self._bind()
        self._stick = np.array(full_command(manifest))
        self._command_min = np.array(manifest.velocity_command.min) * self._stick
        self._command_max = np.array(manifest.velocity_command.max) * self._stick
        joints = len(manifest.joints)
        seen = 0 if self._seeing is None else self._seeing.stream.size
        self.memory = Memory.empty(count, joints, len(parameters.feet), seen)
        self.level, self.tracking_width = 1.0, config.curriculum.tracking_width[1]
        self._start(np.ones(count, np.bool_))
        self._renew_commands()

    @property
    def count(self) -> int:
        """Number of robots."""
        return int(self.batch.nsim)

    @property
    def position(self) -> Float64Array:
        """(n, 2) m, of the bases along the floor; live."""
        position: Float64Array = self._qpos[:, :2]
        return position

    def progress(self, iteration: int) -> None:
        """Set the curriculum to what it is in this iteration."""
        curriculum = self.config.curriculum
        self.level = min(1.0, iteration / curriculum.iterations)
        first, last = curriculum.tracking_width
        self.tracking_width = first * (last / first) ** min(1.0, iteration / self.config.iterations)

    def observe(self) -> tuple[Float32Array, Float32Array]:
        """Measure every robot, once a step: the actor's input (n, dim), and the critic's, who knows more."""
        memory, noise = self.memory, self._noise
        rotation, spin = self._qpos[:, 3:7], self._qvel[:, 3:6]
        position, velocity = self._qpos[:, self.robot.position], self._qvel[:, self.robot.velocity]
        memory.position[:] = position + self._noisy(position, noise.joint_position_rad)
        memory.velocity[:] = velocity + self._noisy(velocity, noise.joint_velocity_rad_per_s)
        seen = {}
        memory.asked[:] = memory.command
        if self._seeing is not None:
            seen = self._seeing.look(memory, self._terrain, self._qpos[:, :7], self.rng, self.level)
            memory.asked[:] = self._seeing.cap(memory.command, memory)
        values = {
            "angular_velocity": spin + self._noisy(spin, noise.angular_velocity_rad_per_s),
            "orientation": _tilted(rotation, self._noisy(spin, noise.gravity)),
            "linear_velocity": _in_base(rotation, self._qvel[:, :3]),
            "joint_position": memory.position,
            "joint_velocity": memory.velocity,
            "joint_torque": self._torque,
            "velocity_command": self._seen_command(),
            "last_action": memory.action,
            **seen,
        }
        actor = self.observer.observe(values)
        return actor, self._critic(actor)

    def step(self, action: Float32Array) -> Step:
        """Let a control period pass under raw actions (n, j), then start anew the robots whose episode ended.

        Raises GateError when an action or the physics is not finite any more.
        """
        if not np.isfinite(action).all():
            raise GateError("the training diverged: the policy's actions are not finite; lower learning.rate")
        memory = self.memory
        target, held = self._limiter(action, memory.target, memory.position, memory.velocity)
        self._move(target)
        change, change_before = held - memory.action, memory.action - memory.action_before
        memory.action_before, memory.action, memory.target = memory.action, held, target
        memory.contact = self._foot_contact > 0
        memory.air_s = np.where(memory.contact, 0.0, memory.air_s + self.period_s)
        motion = self._motion(change, change - change_before)
        amount, terms = reward(motion, self.config.rewards, self.period_s)
        tilted = motion.gravity[:, 2] > -np.cos(self.config.max_tilt_rad)
        fell = tilted | (self._terminal_contact > 0).any(axis=1)
        memory.episode_left_s -= self.period_s
        timeout = ~fell & ((memory.episode_left_s <= 0.0) | self._left_terrain())
        done = Step(
            reward=amount - self.config.fall_penalty * fell,
            fell=fell,
            timeout=timeout,
            terms=terms,
            velocity=np.column_stack((motion.velocity[:, :2], motion.angular_velocity[:, 2])),
            torque=motion.torque.copy(),
            joint_velocity=motion.joint_velocity,
            contact=memory.contact,
        )
        memory.command_left_s -= self.period_s
        self._push()
        self._start(fell | timeout)
        self._renew_commands()
        return done

    def kick(self, velocity: Float64Array) -> None:
        """Add a velocity (n, 2) m/s along x and y of the world to each base."""
        self._qvel[:, :2] += velocity

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything that the next step depends on, apart from the random numbers; copies."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over a snapshot of an environment with the same settings, seed and count."""
        for name, array in self._arrays().items():
            array[...] = arrays[name]

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        arrays = self.memory.arrays()
        arrays |= {"frames": self.observer.frames, "steps": self.observer.steps, "physics": self.batch.state}
        return arrays

    def _bind(self) -> None:
        batch, feet = self.batch, len(self.robot.feet)
        self._qpos, self._qvel, self._ctrl = batch.bind("qpos"), batch.bind("qvel"), batch.bind("ctrl")
        self._time = batch.bind("time")
        self._torque, self._geoms = batch.bind("actuator_force"), batch.bind("geom_xpos")
        sensors = batch.bind("sensordata")
        self._foot_contact = sensors[:, :feet]
        self._terminal_contact = sensors[:, feet : feet + len(self.robot.terminals)]
        self._foot_velocity = sensors[:, feet + len(self.robot.terminals) :].reshape(-1, feet, 3)

    def _move(self, target: Float32Array) -> None:
        expected = self._time + self.period_s
        done = 0
        for delay in (*self._delays[self._delays < self._substeps].tolist(), self._substeps):
            if delay > done:
                self.batch.step(nstep=delay - done)
                done = delay
            if delay < self._substeps:
                due = self._drawn.delay_steps == delay
                self._ctrl[due] = target[due]
        late = self._drawn.delay_steps >= self._substeps
        self._ctrl[late] = target[late]
        # MuJoCo resets a robot whose state is not finite, and goes on.
        lost = np.abs(self._time - expected) > 1e-6
        if lost.any():
            raise GateError(
                f"the physics of {np.count_nonzero(lost)} of {self.count} robots is not finite any more; "
                "take a smaller timestep_s, or look for a mass or an inertia near zero in the model"
            )

    def _motion(self, change: Float32Array, bend: Float32Array) -> Motion:
        memory, robot = self.memory, self.robot
        rotation, joint_velocity = self._qpos[:, 3:7], self._qvel[:, robot.velocity]
        acceleration = (joint_velocity - memory.joint_velocity) / self.period_s
        # Copied: a restored array lies by rows, this one by columns; sums would differ in their last digit.
        memory.joint_velocity[:] = joint_velocity
        standing = self.observer.standing(self._seen_command())
        stance, swing = self.feet.plan(self.observer.phase, standing)
        return Motion(
            command=memory.asked,
            velocity=_in_base(rotation, self._qvel[:, :3]),
            angular_velocity=self._qvel[:, 3:6],
            gravity=projected_gravity(rotation),
            height_error=self._qpos[:, 2] - self._ground_m(self._qpos[:, :2]) - self._height_m,
            pose_error=(self._qpos[:, robot.position] - robot.default) * robot.bounded,
            joint_velocity=joint_velocity,
            joint_acceleration=acceleration,
            torque=self._torque,
            action_change=change.astype(np.float64),
            action_bend=bend.astype(np.float64),
            contact=memory.contact,
            foot_height=self._above_ground(robot.feet) - robot.foot_radius_m,
            foot_speed=np.linalg.norm(self._foot_velocity[:, :, :2], axis=2),
            terminal_height=self._above_ground(robot.terminals) - robot.terminal_radius_m,
            standing=standing,
            stance=stance,
            swing_height=swing,
            abduction=robot.abduction,
            tracking_width=self.tracking_width,
        )

    def _seen_command(self) -> Float64Array:
        """(n, 3) the command as the policy sees it."""
        asked: Float64Array = np.clip(self.memory.asked, self._command_min, self._command_max) / self._stick
        return asked

    def _critic(self, actor: Float32Array) -> Float32Array:
        memory = self.memory
        known = (
            actor,
            _in_base(self._qpos[:, 3:7], self._qvel[:, :3]),
            10.0 * (self._qpos[:, 2:3] - self._ground_m(self._qpos[:, None, :2]) - self._height_m),
            memory.contact,
            np.minimum(memory.air_s, 1.0),
            self._drawn.privileged(),
        )
        return np.concatenate(known, axis=1, dtype=np.float32)

    def _renew_commands(self) -> None:
        memory, asked = self.memory, self.config.commands
        due = memory.command_left_s <= 0.0
        count = int(np.count_nonzero(due))
        part = asked.start + (1.0 - asked.start) * self.level
        low, high = np.array([asked.forward, asked.left, asked.turn]).T * part
        command = self.rng.uniform(low, high, (count, 3))
        alone = np.arange(3) == self.rng.integers(3, size=(count, 1))
        command *= alone | (self.rng.random((count, 1)) >= asked.straight)
        command[self.rng.random(count) < asked.zero] = 0.0
        memory.command[due] = command
        memory.command_left_s[due] = self.rng.uniform(*asked.every_s, count)

    def _push(self) -> None:
        memory, pushes = self.memory, self.config.pushes
        memory.push_left_s -= self.period_s
        due = memory.push_left_s <= 0.0
        count = int(np.count_nonzero(due))
        most = pushes.speed_m_per_s * self.level
        self._qvel[due, :2] += self.rng.uniform(-most, most, (count, 2))
        memory.push_left_s[due] = self.rng.uniform(*pushes.every_s, count)

    def _start(self, robots: Mask) -> None:
        count = int(np.count_nonzero(robots))
        if not count:
            return
        memory, robot, rng = self.memory, self.robot, self.rng
        joints = len(robot.default)
        qpos = np.tile(robot.home, (count, 1))
        qpos[:, robot.position] += rng.uniform(-_START_RAD, _START_RAD, (count, joints))
        if self._terrain is not None:
            place = rng.uniform(-_START_M, _START_M, (count, 2))
            qpos[:, :2], qpos[:, 2] = place, qpos[:, 2] + self._starts.height_m(place)
        qvel = np.zeros((count, robot.model.nv))
        qvel[:, :2] = rng.uniform(-_START_M_PER_S, _START_M_PER_S, (count, 2))
        qvel[:, robot.velocity] = rng.uniform(-_START_RAD_PER_S, _START_RAD_PER_S, (count, joints))
        self._qpos[robots], self._qvel[robots], self._ctrl[robots] = qpos, qvel, robot.start
        self._time[robots] = _BEGIN_S
        for array in memory.arrays().values():
            array[robots] = 0
        memory.target[robots] = robot.start
        memory.joint_velocity[robots] = qvel[:, robot.velocity]
        memory.contact[robots] = True
        memory.push_left_s[robots] = rng.uniform(*self.config.pushes.every_s, count)
        memory.episode_left_s[robots] = self.config.episode_s * rng.uniform(0.5, 1.0, count)
        self.observer.reset(robots)
        if self._seeing is not None:
            self._seeing.start(memory, robots, rng)

    def _left_terrain(self) -> Mask:
        """(n,) robots that come to its edge."""
        if self._terrain is None:
            return np.zeros(self.count, np.bool_)
        left: Mask = np.abs(self.position).max(axis=1) > _END_M
        return left

    def _above_ground(self, geoms: npt.NDArray[np.intp]) -> Float64Array:
        """(n, g) m, of the geoms' centres."""
        height: Float64Array = self._geoms[:, geoms, 2]
        return height if self._terrain is None else height - self._ground_m(self._geoms[:, geoms, :2])

    def _ground_m(self, places: Float64Array) -> Float64Array | float:
        """Height of the ground at places (..., 2) m."""
        return 0.0 if self._terrain is None else self._terrain.height_m(places)

    def _noisy(self, like: Float64Array, width: float) -> Float64Array:
        return self.rng.uniform(-width, width, like.shape) * self.level


def _in_base(rotation: Float64Array, vector: Float64Array) -> Float64Array:
    """World vectors (n, 3) in the frame of the base, whose quaternions are w, x, y, z (n, 4)."""
    turn = 2.0 * np.cross(-rotation[:, 1:], vector)
    return vector + rotation[:, :1] * turn + np.cross(-rotation[:, 1:], turn)


def _tilted(rotation: Float64Array, angle: Float64Array) -> Float64Array:
    """Quaternions (n, 4) turned by small angles (n, 3) rad about the base's axes, of length 1."""
    w, vector = rotation[:, :1], rotation[:, 1:]
    half = 0.5 * angle
    turned = np.hstack(
        (w - (vector * half).sum(axis=1, keepdims=True), vector + w * half + np.cross(vector, half))
    )
    result: Float64Array = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    return result
