"""A policy called straight in the simulator: no processes, no sockets, no real time.

The robot stands up, then the policy moves it, through the same pipeline as on the robot: observation,
normalization, action mapping and limits. Deterministic: the same seed gives the same run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gaitd.backends import open_backend
from gaitd.backends.base import Backend
from gaitd.backends.encoder import EncoderModel
from gaitd.bundle.read import Bundle, fallback_damping
from gaitd.errors import InputError
from gaitd.policy.action import MotorTargets
from gaitd.policy.brake import Brakes, brakes
from gaitd.policy.encoder import EncoderStep, encoded
from gaitd.policy.fade import Gains
from gaitd.policy.joints import check_same_joints, default_position, order_from
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.stream import Frames
from gaitd.wire.generated import Reason
from gaitd.wire.messages import RobotState
from gaitforge.simulate.body import Body
from gaitforge.simulate.height_map import HeightMapFrames
from gaitforge.simulate.measure import STICK_SPEED, Measures, measure
from gaitforge.simulate.robot import (
    STAND_UP_S,
    Float64Array,
    MotorCommand,
    Robot,
    RobotReading,
    stand_up_command,
)
from gaitforge.simulate.script import CommandScript, Push, PushSchedule
from gaitforge.simulate.trace import Recorder, Trace

Infer: TypeAlias = Callable[[Float32Array], Float32Array]
"""Normalized observation (observation_dim,) to raw action (n,)."""

PATIENCE_PERIODS = 5
"""After this many control periods without an accepted action the motors are damped for good."""

_TICK_S = 0.001


@dataclass(frozen=True, slots=True)
class Step:
    """One control step, as given to ``on_step``; the arrays are the receiver's own."""

    time_s: float
    """After the hand-over."""
    observation: Float32Array
    """(observation_dim,) before normalization."""
    action: Float32Array
    """(n,) raw, as the model answered."""
    accepted: bool
    target: Float32Array
    """(n,) rad, rad/s or Nm, in the policy's joint order; of this step, or the one still held."""
    reading: RobotReading
    state: RobotState
    """What the policy got, in its joint order."""
    applied: Float32Array
    """(n,) what it observes as its last action from now on."""


@dataclass(frozen=True)
class DirectRun:
    """What came of one closed loop."""

    seed: int
    measures: Measures
    trace: Trace
    steps: int
    rejected: int
    """Actions that the guard refused."""
    clamped: dict[str, int]
    """Joint targets held back, by limit."""
    joints: tuple[str, ...]
    """In the order of the trace."""

    @property
    def distance_m(self) -> float:
        """Length of the path walked since the hand-over."""
        return self.measures.distance_m

    @property
    def falls(self) -> int:
        """How often the robot fell."""
        return self.measures.falls


def run_direct(
    manifest: Manifest,
    policy: Infer | Backend,
    *,
    script: CommandScript,
    seconds: float,
    seed: int = 0,
    obs_stats: tuple[Float32Array, Float32Array] | None = None,
    pushes: Sequence[Push] = (),
    on_step: Callable[[Step], None] | None = None,
    on_tick: Callable[[Robot], None] | None = None,
    body: Body | None = None,
    robot: Robot | None = None,
    let_go_s: float = math.inf,
    pipeline: PolicyPipeline | None = None,
    encoder: EncoderStep | None = None,
) -> DirectRun:
    """Stand up, then walk for ``seconds`` of simulated time with the policy, and measure.

    ``policy`` is a backend, or just a function for a model without hidden state. A rejected action
    leaves the last command in force. ``on_step`` sees every control step, ``on_tick`` every millisecond.
    ``body`` is by default the Lite3's; ``robot`` replaces the one that it and ``seed`` make. From
    ``let_go_s`` on nothing comes of the policy any more, and PATIENCE_PERIODS later the motors get the
    bundle's fallback damping for good. ``pipeline`` replaces the one that the manifest makes. ``encoder``
    makes the policy's stream of the body's height map.
    Raises InputError when the policy is not for this robot's joints, its period not whole milliseconds, or
    the robot does not get into its default pose.
    """
    period_ticks = control_ticks(manifest)
    robot = Robot(seed, body) if robot is None else robot
    body, joints = robot.body, robot.body.joints
    check_same_joints(joints, manifest.joints, "joints")
    to_policy, to_robot = order_from(joints, manifest.joints), order_from(manifest.joints, joints)
    pipeline = PolicyPipeline(manifest, obs_stats) if pipeline is None else pipeline
    pipeline.reset()
    backend = None if callable(policy) else policy
    infer = policy if callable(policy) else policy.infer
    if backend is not None:
        backend.reset()
    recorder, schedule = Recorder(robot), PushSchedule(tuple(pushes))
    command = np.zeros(3, np.float32)
    height_map = None if body.height_map is None else HeightMapFrames(body.height_map, manifest, encoder)

    def tick() -> None:
        recorder.sample(command)
        robot.step()
        if on_tick is not None:
            on_tick(robot)

    standing = default_position(manifest)
    _stand_up(robot, standing[to_robot].astype(np.float64), tick)
    robot.let_go()
    recorder.handover_s = robot.time_s
    steps = round(seconds / _TICK_S) // period_ticks
    rejected, waiting, clamped = 0, 0, dict[str, int]()
    held, limp = standing, _Limp(manifest, to_robot, robot.read())
    for step in range(steps):
        time_s = step * period_ticks * _TICK_S
        command = script.at(time_s)
        reading = robot.read()
        state = _state(reading, step + 1, command, to_policy)
        frames: Frames = () if height_map is None else height_map(robot, state.stamp_ns)
        cause = pipeline.stream_cause(frames, state.stamp_ns)
        assert cause is None, "the simulator's own frames are fresh"
        pipeline.observe(state, frames, state.stamp_ns)
        observation = pipeline.raw_observation().copy()
        action = infer(pipeline.normalize(observation))
        decision = pipeline.decide(action)
        gone = time_s >= let_go_s
        for limit, count in decision.clamped.items():
            clamped[limit] = clamped.get(limit, 0) + count
        if decision.accepted and not gone and waiting < PATIENCE_PERIODS:
            waiting, held = 0, decision.target
            gains = pipeline.fade_gains or Gains(pipeline.mapper.stiffness, pipeline.mapper.damping)
            pipeline.commit(decision)
            robot.command = _motor_command(gains, pipeline.mapper.motor_targets(held), to_robot)
            if backend is not None:
                backend.commit()
        else:
            # A limit whose response is to damp does so at once, other refusals only when they last.
            rejected += not gone
            limit_met = decision.cause is not None and decision.cause.reason is Reason.LIMIT
            waiting = PATIENCE_PERIODS if limit_met else waiting + 1
            if waiting >= PATIENCE_PERIODS:
                robot.command = limp.command(reading)
        if on_step is not None:
            answer = np.array(action)
            on_step(
                Step(
                    time_s, observation, answer, decision.accepted, held, reading, state, pipeline.last_action
                )
            )
        for _ in range(period_ticks):
            for push in schedule.due(robot.time_s - recorder.handover_s):
                robot.push((push.forward_m_per_s, push.left_m_per_s))
            tick()
    trace = recorder.trace()
    measures = measure(trace, full_command(manifest), body.stature)
    return DirectRun(seed, measures, trace, steps, rejected, clamped, joints)


def run_bundle(
    bundle: Bundle,
    *,
    script: CommandScript,
    seconds: float,
    seed: int = 0,
    pushes: Sequence[Push] = (),
    on_step: Callable[[Step], None] | None = None,
    on_tick: Callable[[Robot], None] | None = None,
    robot: Robot | None = None,
) -> DirectRun:
    """Run a bundle's own float model (model.onnx) as run_direct does."""
    return run_direct(
        bundle.manifest,
        onnx_backend(bundle),
        script=script,
        seconds=seconds,
        seed=seed,
        obs_stats=bundle.obs_stats(),
        pushes=pushes,
        on_step=on_step,
        on_tick=on_tick,
        robot=robot,
        encoder=_encoder(bundle),
    )


def _encoder(bundle: Bundle) -> EncoderStep | None:
    """Of the first stream that has one."""
    for stream, encoder in encoded(bundle.manifest.streams):
        return EncoderStep(stream, EncoderModel(bundle, stream, encoder))
    return None


def onnx_backend(bundle: Bundle) -> Backend:
    """Load a bundle's models for the CPU. Raises InputError when there are none or they do not fit."""
    return open_backend("onnx", bundle)


def control_ticks(manifest: Manifest) -> int:
    """Return the policy's control period in simulator ticks (ms). Raises InputError when it is not whole."""
    ticks = round(manifest.control_period_s / _TICK_S)
    if ticks < 1 or abs(ticks * _TICK_S - manifest.control_period_s) > 1e-9:
        raise InputError(
            f"control_period_s: {manifest.control_period_s} is not a whole number of milliseconds, "
            "which the simulator's 1 kHz loop needs"
        )
    return ticks


def full_command(manifest: Manifest) -> tuple[float, float, float]:
    """What a velocity command of 1 asks for: m/s, m/s, rad/s."""
    return STICK_SPEED if manifest.velocity_command.unit == "normalized" else (1.0, 1.0, 1.0)


def _stand_up(robot: Robot, target: Float64Array, tick: Callable[[], None]) -> None:
    start, began_s = robot.read().joint_position, robot.time_s
    for _ in range(round(STAND_UP_S / _TICK_S)):
        robot.command = stand_up_command(start, robot.time_s - began_s, target, robot.body)
        tick()


def _state(reading: RobotReading, seq: int, command: Float32Array, to_policy: np.ndarray) -> RobotState:
    def single(values: np.ndarray) -> Float32Array:
        return values.astype(np.float32)

    return RobotState(
        session=1,
        seq=seq,
        stamp_ns=round(reading.time_s * 1e9),
        angular_velocity=single(reading.angular_velocity),
        orientation=single(reading.orientation),
        linear_acceleration=single(reading.linear_acceleration),
        linear_velocity=single(reading.linear_velocity),
        velocity_command=command,
        joint_position=single(reading.joint_position[to_policy]),
        joint_velocity=single(reading.joint_velocity[to_policy]),
        joint_torque=single(reading.joint_torque[to_policy]),
    )


class _Limp:
    """What the motors get in DAMPING: the bundle's fallback damping, and its brakes."""

    def __init__(self, manifest: Manifest, to_robot: np.ndarray, reading: RobotReading) -> None:
        """``reading``: where the robot stands at the beginning of the session."""
        self._damping = fallback_damping(manifest)[to_robot].astype(np.float64)
        self._brakes = Brakes(*(values[to_robot] for values in brakes(manifest)))
        self._held = reading.joint_position.astype(np.float32)

    def command(self, reading: RobotReading) -> MotorCommand:
        """At this reading."""
        self._held = self._brakes.hold(self._held, reading.joint_position.astype(np.float32))
        return MotorCommand.hold(self._held, self._brakes.stiffness.astype(np.float64), self._damping)


def _motor_command(gains: Gains, targets: MotorTargets, to_robot: np.ndarray) -> MotorCommand:
    stiffness, damping, position, velocity, torque = (
        values[to_robot].astype(np.float64) for values in (gains.stiffness, gains.damping, *targets)
    )
    return MotorCommand(stiffness, position, damping, velocity, torque)
