"""A recording of gaitd as a motion of the simulated robot: what its sensors said, drawn.

A recording holds joints and orientation. Where the base was is made up from them: its lowest point is on flat
ground, and a foot that stays down stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from gaitd.bundle.read import decode_manifest
from gaitd.errors import InputError
from gaitd.policy.joints import order_from
from gaitd.policy.manifest import Manifest
from gaitd.shared.events import Event, EventKind
from gaitd.shared.frame_ring import message_of
from gaitd.telemetry.channels import Orders
from gaitd.telemetry.recording import Recording
from gaitd.wire.codec import decode_either
from gaitd.wire.frame import WireError
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import RawObservation, RobotState
from gaitforge.simulate import mjcf
from gaitforge.simulate.physics import mujoco
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.trace import Motion

Float64Array = npt.NDArray[np.float64]
UPRIGHT = np.array((1.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Playback:
    """A recorded motion, and what held in it."""

    motion: Motion
    """Times are seconds after the first state; its hand-over is the newest damping, where there was one."""
    modes: list[tuple[float, str]]
    """From which time on what held, oldest first."""

    @property
    def zero_s(self) -> float:
        """The time from which captions count."""
        return float(np.nan_to_num(self.motion.handover_s))

    def caption(self, time_s: float) -> str:
        """What to write on the picture of that moment."""
        held = [text for since_s, text in self.modes if since_s <= time_s]
        return f"{held[-1] if held else ''}  {time_s - self.zero_s:+.1f} s".strip()

    def between(self, from_s: float, until_s: float) -> Playback:
        """The part between two times as captions count them. Raises InputError when nothing is in it."""
        motion = self.motion
        times_s = motion.time_s - self.zero_s
        part = (times_s >= from_s) & (times_s <= until_s)
        if not part.any():
            raise InputError(
                f"nothing was recorded from {from_s:g} to {until_s:g} s: the recording goes from "
                f"{times_s[0]:.1f} to {times_s[-1]:.1f} s"
            )
        sampled = [each.name for each in fields(motion) if each.name != "handover_s"]
        cut = replace(motion, **{name: getattr(motion, name)[part] for name in sampled})
        return replace(self, motion=cut)


def manifest_of(recording: Recording) -> Manifest:
    """The policy's contract that the recording carries. Raises InputError without one."""
    if not recording.manifest:
        raise InputError("the recording carries no manifest: the robot's joints and pose are not known")
    return decode_manifest(recording.manifest, "the recording's manifest")


def play(recording: Recording, robot: Robot) -> Playback:
    """The recorded motion of that robot, whose joints are the recording's.

    Raises InputError when the recording has no state whose joints are known.
    """
    received_ns, states = _states(recording)
    if not states:
        raise InputError(
            "the recording has no state to show: the order of the controller's joints is known from the "
            "first session on"
        )
    to_robot = order_from(recording.info.joints, robot.body.joints)
    joints = np.stack([state.joint_position for state in states])[:, to_robot].astype(np.float64)
    orientation = np.stack([_orientation(state) for state in states])
    time_s = (received_ns - received_ns[0]) / 1e9
    modes = [
        ((event.at_ns - int(received_ns[0])) / 1e9, _words(event))
        for event in recording.events
        if event.kind is EventKind.MODE
    ]
    dampings = [since_s for since_s, text in modes if text.startswith(Mode.DAMPING.name.lower())]
    motion = Motion(
        time_s=time_s,
        handover_s=np.array(dampings[-1] if dampings else np.nan),
        base_position=base_positions(robot, orientation, joints),
        base_orientation=orientation,
        ground_m=np.zeros(len(time_s)),
        joint_position=joints,
    )
    return Playback(motion, modes)


def base_positions(robot: Robot, orientation: Float64Array, joints: Float64Array) -> Float64Array:
    """(N, 3) m, from orientations (N, 4) and joint positions (N, n) rad in the order of the body's.

    The lowest point is on the ground, and of two successive poses the foot that is lowest in both has not
    moved.
    """
    model, body, data = robot.model, robot.body, mujoco.MjData(robot.model)
    solid = mjcf.solid_geoms(model)
    data.qpos[:] = model.qpos0
    found = np.zeros((len(joints), 3))
    before: Float64Array | None = None
    for sample, (turn, pose) in enumerate(zip(orientation, joints, strict=True)):
        data.qpos[:3], data.qpos[3:7], data.qpos[body.position] = 0.0, turn, pose
        mujoco.mj_kinematics(model, data)
        lowest = data.geom_xpos[solid, 2] - mjcf.reach_m(model, data, solid)
        found[sample, 2] = -lowest.min()
        feet = data.geom_xpos[body.soles].copy()
        feet[:, 2] -= feet[:, 2].min()
        if before is not None:
            down = int(np.argmin(np.maximum(feet[:, 2], before[:, 2])))
            found[sample, :2] = found[sample - 1, :2] + before[down, :2] - feet[down, :2]
        before = feet
    return found


def show(playback: Playback, robot: Robot, draw: Callable[[float], bool]) -> None:
    """Put the robot into each recorded pose in turn; ``draw`` gets its time [s] and says whether to go on."""
    motion, body = playback.motion, robot.body
    for sample, time_s in enumerate(motion.time_s.tolist()):
        robot.data.qpos[:3] = motion.base_position[sample]
        robot.data.qpos[3:7] = motion.base_orientation[sample]
        robot.data.qpos[body.position] = motion.joint_position[sample]
        mujoco.mj_forward(robot.model, robot.data)
        if not draw(time_s):
            return


def _states(recording: Recording) -> tuple[npt.NDArray[np.int64], list[RobotState | RawObservation]]:
    """The recorded messages that can be read, joints in the policy's order, and when they were received."""
    orders, info = Orders(), recording.info
    orders.learn(recording.events)
    received: list[int] = []
    states: list[RobotState | RawObservation] = []
    for record in recording.frames:
        try:
            state = decode_either(message_of(record), info.observation_dim, len(info.joints))
        except WireError:
            continue
        order = orders.of(state.session)
        at_ns = int(record["received_ns"])
        if order is None or (received and at_ns <= received[-1]):
            continue
        values = np.concatenate((state.joint_position, _orientation(state)))
        if not np.isfinite(values).all() or not np.any(values[-4:]):
            continue  # it was refused
        state.joint_position = state.joint_position.take(order)
        received.append(at_ns)
        states.append(state)
    return np.array(received, np.int64), states


def _orientation(state: RobotState | RawObservation) -> Float64Array:
    """(4,); upright where the message has none."""
    if not isinstance(state, RobotState):
        return UPRIGHT
    return state.orientation.astype(np.float64)


def _words(event: Event) -> str:
    mode = Mode(event.code).name.lower()
    reason = Reason.received(event.reason)
    return mode if reason is Reason.NONE else f"{mode}: {reason.name.lower()}"
