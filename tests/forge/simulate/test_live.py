"""The real-time loop against a controller on the other end of the UDP wire."""

import json
import signal
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from gaitforge.simulate.live import LiveRobot
from gaitforge.simulate.measure import Outcome
from gaitforge.simulate.pacer import MOST_BEHIND_NS, Pacer
from gaitforge.simulate.robot import MotorCommand, Robot, stand_up_command
from gaitforge.simulate.script import CommandScript, Push
from gaitforge.simulate.udp import Ports, RobotSocket

STATE = struct.Struct("=d45f")


class Controller:
    """Stands the robot up over the wire; runs inside the simulator's ticks, so that tests are repeatable."""

    def __init__(self) -> None:
        self.states, self.operator, self.sender = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)
        )
        for each in (self.states, self.operator):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        self.ports = Ports(self.states.getsockname()[1], 0, self.operator.getsockname()[1])
        self.start: np.ndarray | None = None
        self.began_s = 0.0
        self.velocity_commands: list[tuple[float, ...]] = []
        self.stamps: list[float] = []
        self.silent_after_s = float("inf")

    def connect(self, wire: RobotSocket) -> None:
        self.sender.connect(("127.0.0.1", wire.command_port))

    def tick(self) -> None:
        for packet in drain(self.operator):
            self.velocity_commands.append(struct.unpack("3f", packet))
        packets = drain(self.states)
        if not packets:
            return
        time_s, *values = STATE.unpack(packets[-1])
        self.stamps.append(time_s)
        if self.start is None:
            self.start, self.began_s = np.array(values[9:21]), time_s
        if time_s < self.silent_after_s:
            self.send(stand_up_command(self.start, time_s - self.began_s))

    def send(self, command: MotorCommand) -> None:
        parts = (command.stiffness, command.position, command.damping, command.velocity, command.torque)
        self.sender.send(np.concatenate(parts).astype(np.float32).tobytes())

    def close(self) -> None:
        for each in (self.states, self.operator, self.sender):
            each.close()


def drain(endpoint: socket.socket) -> list[bytes]:
    packets = []
    while True:
        try:
            packets.append(endpoint.recv(1024))
        except BlockingIOError:
            return packets


@pytest.fixture
def controller():
    made = Controller()
    yield made
    made.close()


def run(controller: Controller, seconds: float, **options):
    wire = RobotSocket(controller.ports)
    controller.connect(wire)
    lines: list[str] = []
    live = LiveRobot(Robot(1), wire, say=lines.append, on_tick=lambda robot: controller.tick(), **options)
    try:
        return live.run(seconds, wait_s=8.0, stop=lambda: False), lines
    finally:
        wire.close()


def test_a_controller_stands_it_up_and_the_script_begins(controller):
    script = CommandScript((0.0, 0.5), ((0.25, 0.0, 0.0), (0.5, 0.0, 0.0)))
    result, lines = run(controller, 1.0, script=script, pushes=[Push(0.7, 0.0, 0.3)])
    assert result.handover_s == pytest.approx(2.3, abs=0.3)
    assert result.measures.outcome is Outcome.KEPT_UP
    assert result.measures.duration_s == pytest.approx(1.0, abs=0.01)
    assert 0.5 < result.timing.real_time_factor < 1.05, "never faster than time; slower on a busy machine"
    assert result.commands > 1000
    assert result.malformed == result.silences == 0
    assert list(dict.fromkeys(controller.velocity_commands)) == [
        (0.0, 0.0, 0.0),
        (0.25, 0.0, 0.0),
        (0.5, 0.0, 0.0),
    ]
    assert np.abs(result.trace.base_velocity[:, 1]).max() > 0.15, "the push is felt"
    assert [line.split("  ")[-1].split()[0] for line in lines] == ["a", "the", "push"]
    assert controller.stamps == sorted(controller.stamps)


def test_states_can_be_sent_less_often_than_the_robot_ticks_in_the_robots_own_time(controller):
    wire = RobotSocket(controller.ports)
    controller.states.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    live = LiveRobot(Robot(), wire, CommandScript.constant(0.0), state_every_ms=1.25)
    live.run(1.0, wait_s=0.4, stop=lambda: False)
    wire.close()
    stamps_ms = np.array([STATE.unpack(packet)[0] for packet in drain(controller.states)]) * 1000.0
    np.testing.assert_allclose(stamps_ms, stamps_ms.round(), atol=1e-6)
    assert 0.4 / 1.25e-3 * 0.5 < len(stamps_ms) <= 0.4 / 1.25e-3, "never more often, also when it is late"
    assert np.diff(stamps_ms).min() == pytest.approx(1.0)


def test_a_controller_that_falls_silent_is_damped_after_a_second(controller):
    controller.silent_after_s = 2.5
    result, lines = run(controller, 2.5, script=CommandScript.constant(0.0))
    assert result.silences == 1
    assert "no command for a second" in lines[-1]
    released = result.trace.time_s[~result.trace.stiffness.any(axis=1) & (result.trace.time_s > 1.0)]
    # A second of the controller's time; a robot whose physics is late lives through less of it.
    assert 3.0 < released[0] < 3.52
    assert result.measures.outcome is Outcome.LAID_DOWN
    assert result.measures.falls == 0


def test_without_a_controller_it_lies_and_gives_up(controller):
    wire = RobotSocket(controller.ports)
    robot = Robot()
    result = LiveRobot(robot, wire, CommandScript.constant(1.0)).run(5.0, wait_s=0.3, stop=lambda: False)
    wire.close()
    assert result.handover_s is None
    assert result.measures.outcome is Outcome.NEVER_STOOD
    assert robot.height_m < 0.15


@pytest.mark.parametrize(
    ("turn_over", "said"), [(True, "the robot is turned over"), (False, "the robot lies on its side")]
)
def test_a_limp_robot_is_turned_over_or_it_is_said_that_it_lies(controller, turn_over, said):
    wire = RobotSocket(controller.ports)
    robot = Robot()
    robot.data.qpos[2:7] = (0.3, 0.0, 1.0, 0.0, 0.0)  # on its back
    lines = []
    live = LiveRobot(robot, wire, CommandScript.constant(0.0), say=lines.append, turn_over=turn_over)
    live.run(1.0, wait_s=1.0, stop=lambda: False)
    wire.close()
    assert [line for line in lines if said in line] == lines[-1:]
    assert (robot.tilt_rad < 0.1) is turn_over


def test_a_late_loop_catches_up_and_a_stalled_one_drops_the_debt():
    pacer = Pacer()
    time.sleep(0.01)
    assert [pacer.wait() for _ in range(20)].count(False) >= 8
    assert any(pacer.wait() for _ in range(20))  # another program may take a millisecond
    assert pacer.timing().stalls == 0
    assert pacer.dropped_s == 0.0
    time.sleep(2 * MOST_BEHIND_NS / 1e9)
    assert not pacer.wait()
    assert pacer.timing().stalls == 1
    assert pacer.dropped_s > MOST_BEHIND_NS / 1e9
    assert pacer.timing().lateness_us["max"] > MOST_BEHIND_NS / 1000


def test_a_pause_of_the_simulation_is_none_of_the_robots_clock(controller):
    """Else each later state would look as late as the pause was long, to a controller that looks."""
    wire = RobotSocket(controller.ports)
    behind_s = {False: [], True: []}

    def tick(robot):
        for packet in drain(controller.states):
            behind_s[robot.ticks > 210].append(time.monotonic() - STATE.unpack(packet)[0])
        if robot.ticks == 200:
            time.sleep(0.3)

    live = LiveRobot(Robot(), wire, CommandScript.constant(0.0), on_tick=tick)
    live.run(1.0, wait_s=0.5, stop=lambda: False)
    wire.close()
    assert min(behind_s[True]) - min(behind_s[False]) < 0.1


def test_sigterm_ends_it_and_still_writes_everything(tmp_path):
    report, trace = tmp_path / "report.json", tmp_path / "trace.npz"
    options = ["--command-port", "0", "--report", str(report), "--trace", str(trace)]
    with subprocess.Popen(
        [sys.executable, "-m", "gaitforge.cli", "simulate", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "commands on UDP 127.0.0.1:" in process.stdout.readline()
        assert "waiting for a controller" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(10) == 0
    assert "never stood up" in rest
    assert json.loads(report.read_text())["outcome"] == "never stood up"
    with np.load(trace) as arrays:
        assert arrays["base_position"].shape[1] == 3
