"""The simulated robot in real time: 1 kHz physics, a controller at the other end of a UDP socket.

Before a controller's first command the motors are damped. When commands stop for a second they are damped
again, as the real robot does. The robot counts as standing when its base was high enough and level for a
second: that moment is the hand-over, the zero of the command script, of pushes and of the measures. A robot
that is held is handed over, and let go, with the first command that has the policy's own gains.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gaitforge.simulate.measure import STICK_SPEED, Measures, measure
from gaitforge.simulate.pacer import TICK_NS, Pacer, Timing
from gaitforge.simulate.robot import MotorCommand, Robot
from gaitforge.simulate.script import CommandScript, Push, PushSchedule
from gaitforge.simulate.trace import Recorder, Trace
from gaitforge.simulate.udp import RobotSocket

STANDING_TILT_RAD = math.radians(20.0)
STANDING_TICKS = 1000
LYING_TILT_RAD = 1.0
LYING_TICKS = 500
"""Limp and tilted for this long, it lies on its side; with --turn-over it is then laid on its belly, as by a
person."""
SILENCE_TICKS = 1000
"""Without a command for this long the motors are damped; the real robot's own protection."""

OPERATOR_TICKS = 10


@dataclass(frozen=True)
class LiveRun:
    """What came of a run in real time."""

    measures: Measures
    trace: Trace
    timing: Timing
    handover_s: float | None
    """Simulated time when the robot stood; None when it never did."""
    commands: int
    """Well-formed command packets."""
    malformed: int
    """Packets that were ignored."""
    silences: int
    """How often the controller sent nothing for a second."""


class LiveRobot:
    """Runs a robot against the clock and a socket."""

    def __init__(
        self,
        robot: Robot,
        wire: RobotSocket,
        script: CommandScript,
        pushes: Sequence[Push] = (),
        say: Callable[[str], None] = lambda line: None,
        on_tick: Callable[[Robot], None] = lambda robot: None,
        turn_over: bool = False,
        state_every_ms: float = 1.0,
        full_command: tuple[float, float, float] = STICK_SPEED,
    ) -> None:
        """``state_every_ms``: a state goes out every so many ms on average, each at one of the 1 ms ticks.

        ``full_command``: what a command of 1 asks for [m/s, m/s, rad/s].
        """
        self._full_command = full_command
        self._robot = robot
        self._state_every_ms = state_every_ms
        self._owed_ms = 0.0
        self._turn_over = turn_over
        self._lying_ticks = 0
        self._wire = wire
        self._script = script
        self._schedule = PushSchedule(tuple(pushes))
        self._say = say
        self._on_tick = on_tick
        self._recorder = Recorder(robot)
        self._pacer = Pacer()
        self._velocity_command = np.zeros(3, np.float32)
        self._last_command_tick: int | None = None
        self._standing_ticks = 0
        self._silences = 0
        self._sent_ns = 0

    @property
    def walked_s(self) -> float:
        """Time since the hand-over; NaN before it."""
        return self._robot.time_s - self._recorder.handover_s

    def run(self, seconds: float, wait_s: float, stop: Callable[[], bool]) -> LiveRun:
        """Run for ``seconds`` after the hand-over, which must come within ``wait_s``, or until ``stop()``."""
        gc.collect()
        gc.disable()  # a full collection would cost several ticks
        try:
            self._pacer = Pacer()
            while not stop() and not self._is_over(seconds, wait_s):
                self._tick()
        finally:
            gc.enable()
        trace = self._recorder.trace()
        handover_s = self._recorder.handover_s
        return LiveRun(
            measures=measure(trace, self._full_command, self._robot.body.stature),
            trace=trace,
            timing=self._pacer.timing(),
            handover_s=None if math.isnan(handover_s) else handover_s,
            commands=self._wire.received,
            malformed=self._wire.malformed,
            silences=self._silences,
        )

    def _is_over(self, seconds: float, wait_s: float) -> bool:
        if math.isnan(self._recorder.handover_s):
            return self._robot.time_s >= wait_s
        return self.walked_s >= seconds

    def _tick(self) -> None:
        robot = self._robot
        self._take_command()
        self._operate()
        self._recorder.sample(self._velocity_command)
        robot.step()
        self._watch_standing()
        self._watch_lying()
        self._on_tick(robot)
        on_time = self._pacer.wait()
        now_ns = time.monotonic_ns()
        self._owed_ms = min(self._owed_ms + 1.0, self._state_every_ms + 1.0)
        # Catching up sends no burst: it would queue up at a controller that reads one state a tick.
        if self._owed_ms >= self._state_every_ms and (on_time or now_ns - self._sent_ns >= TICK_NS):
            # A robot's clock does not stand still where the simulation did.
            reading = robot.read()
            self._wire.send_state(replace(reading, time_s=reading.time_s + self._pacer.dropped_s))
            self._sent_ns = now_ns
            self._owed_ms -= self._state_every_ms

    def _take_command(self) -> None:
        now = self._robot.ticks
        command = self._wire.newest_command()
        if command is not None:
            if self._last_command_tick is None:
                self._say(f"{self._robot.time_s:7.2f} s  a controller sends commands")
            self._last_command_tick = now
            self._robot.command = command
        elif self._last_command_tick is not None and now - self._last_command_tick >= SILENCE_TICKS:
            self._say(f"{self._robot.time_s:7.2f} s  no command for a second: motors damped")
            self._last_command_tick = None
            self._silences += 1
            self._robot.command = MotorCommand.damped(self._robot.body)

    def _operate(self) -> None:
        walked_s = self.walked_s
        if not math.isnan(walked_s):
            self._velocity_command = self._script.at(walked_s)
            for push in self._schedule.due(walked_s):
                self._say(
                    f"{self._robot.time_s:7.2f} s  push "
                    f"{push.forward_m_per_s:+.2f}, {push.left_m_per_s:+.2f} m/s"
                )
                self._robot.push((push.forward_m_per_s, push.left_m_per_s))
        if self._robot.ticks % OPERATOR_TICKS == 0:
            self._wire.send_velocity_command(self._velocity_command)

    def _watch_lying(self) -> None:
        robot = self._robot
        limp = not np.any(robot.command.stiffness[~robot.body.rolls])
        lies = limp and robot.tilt_rad > LYING_TILT_RAD
        self._lying_ticks = self._lying_ticks + 1 if lies else 0
        if self._lying_ticks != LYING_TICKS:
            return
        if self._turn_over:
            self._say(f"{robot.time_s:7.2f} s  the robot is turned over")
            robot.place(robot.body.start_rad)
        else:
            self._say(
                f"{robot.time_s:7.2f} s  the robot lies on its side and cannot stand up from there: "
                "start the simulator again, or with --turn-over"
            )

    def _watch_standing(self) -> None:
        if not math.isnan(self._recorder.handover_s):
            return
        robot, body = self._robot, self._robot.body
        stands = robot.height_m > body.stature.stood_m and robot.tilt_rad < STANDING_TILT_RAD
        if body.held:
            stands = np.allclose(robot.command.stiffness, body.stand_up_stiffness) and np.allclose(
                robot.command.damping, body.stand_up_damping
            )
        self._standing_ticks = self._standing_ticks + 1 if stands else 0
        if self._standing_ticks == (1 if body.held else STANDING_TICKS):
            robot.let_go()
            self._recorder.handover_s = robot.time_s
            self._say(f"{robot.time_s:7.2f} s  the robot stands: the command script begins")
