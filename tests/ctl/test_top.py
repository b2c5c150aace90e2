"""gaitctl top: what it shows of a real gaitd, and how it leaves the terminal."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gaitd.ctl.cli import main
from gaitd.ctl.route import Route
from gaitd.ctl.top import chart
from gaitd.ctl.top.frame import draw
from gaitd.ctl.top.inside import Ages, Inside, Pose
from gaitd.ctl.top.watch import View, Watch
from gaitd.system.wait import wait_readable
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import JointCommand
from support.daemon import PATIENT, Gaitd, wait_until

PERIOD_S = 0.012
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
INTO_OTHER_SCREEN, BACK = "\x1b[?1049h", "\x1b[?1049l"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture(scope="module")
def daemon(small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=PATIENT) as gaitd:
        gaitd.wait_ready().metrics()  # telemetry runs, too
        yield gaitd


class Walk:
    """A session that goes on in a thread."""

    def __init__(self, daemon: Gaitd) -> None:
        self.controller = daemon.controller(name="walker")
        self.controller.activate()
        self.commands: deque[JointCommand] = deque(maxlen=1000)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        controller = self.controller
        while not self._done.is_set():
            controller.send(controller.next_state())
            until_s = time.monotonic() + controller.period_s
            while (left_s := until_s - time.monotonic()) > 0:
                command = controller.receive(left_s)
                if command is not None and command.mode is Mode.ACTIVE:
                    self.commands.append(command)  # late ones, too

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


@contextlib.contextmanager
def walking(daemon: Gaitd) -> Iterator[Walk]:
    walk = Walk(daemon)
    try:
        wait_until(lambda: walk.commands, what="a command")
        yield walk
    finally:
        walk.stop()
        person = daemon.connect(name="person")
        person.control.demand("damp", session=0, reason=int(Reason.OPERATOR))
        person.control.demand("release", session=0)
        walk.controller.close()


class Terminal:
    """gaitctl top in a terminal of its own."""

    def __init__(self, runtime_dir: Path, rows: int = 24, columns: int = 80) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._slave = slave
        self.before = termios.tcgetattr(slave)
        command = [sys.executable, "-m", "gaitd.ctl.cli", "--runtime-dir", str(runtime_dir), "top"]
        environment = {**os.environ, "TERM": "xterm-256color"}
        for variable in ("COLUMNS", "LINES"):  # the terminal has its own
            environment.pop(variable, None)
        self.process = subprocess.Popen(
            [*command, "--interval", "0.2"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.output = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read(self) -> str:
        """All that was written so far."""
        while wait_readable([self.master], 0.02):
            try:
                self.output += self._decoder.decode(os.read(self.master, 65536))
            except OSError:
                break
        return self.output

    def screen(self) -> str:
        """The newest whole frame, without its colours."""
        *_, frame, _ = ["", "", *self.read().split("\x1b[H")]  # what follows may not be whole
        return _STYLE.sub("", frame)

    def size(self) -> tuple[int, int]:
        """Rows and columns of the newest frame."""
        lines = self.screen().replace("\r", "").split("\n")
        return len(lines), max(map(len, lines))

    def wait_for(self, text: str) -> str:
        def shown() -> str:
            screen = self.screen()
            return screen if text in screen else ""

        return wait_until(shown, 15.0, f"{text!r} on the screen")

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        """Its exit code; what it writes to the last is read, else it could not end."""
        wait_until(lambda: self.read() is not None and self.process.poll() is not None, what="its end")
        self.read()
        return self.process.returncode

    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminal(daemon: Gaitd) -> Iterator[Terminal]:
    terminal = Terminal(daemon.runtime_dir)
    yield terminal
    terminal.close()


def once(daemon: Gaitd, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["--runtime-dir", str(daemon.runtime_dir), "top", "--once"]) == 0
    return capsys.readouterr().out


class Joint(NamedTuple):
    """A joint's row of a frame, rad."""

    target: float
    measured: float
    off: float

    @classmethod
    def of(cls, name: str, frame: str) -> Joint:
        row = re.search(rf"^ {name} +([+-]\d\.\d+) +([+-]\d\.\d+) +([+-]\d\.\d+)", frame, re.MULTILINE)
        assert row is not None
        return cls(*map(float, row.groups()))


def test_one_frame_says_what_gaitd_says(daemon: Gaitd, capsys: pytest.CaptureFixture[str]) -> None:
    def frame_of_a_walk() -> tuple[str, list[Joint], dict[str, Any]] | None:
        """A frame of a command that came. A machine that stands still for the deadline damps: then none."""
        with walking(daemon) as walk:
            frame = once(daemon, capsys)
            status = daemon.status()
            sent = [command.joint_position for command in list(walk.commands)]
        joints = [Joint.of(name, frame) for name in ("hip", "thigh", "knee")]
        shown = [joint.target for joint in joints]
        came = any(np.allclose(shown, each, atol=6e-4) for each in sent)
        return (frame, joints, status) if came and status["mode"] == "active" else None

    frame, joints, status = wait_until(frame_of_a_walk, 60.0, "a frame of a walk")
    assert "\x1b" not in frame
    assert max(map(len, frame.splitlines())) <= 80
    assert re.search(rf"session\s+{status['session']} of walker", frame)
    assert re.search(rf"▶worker onnx, pid {status['worker']['pid']}", frame)
    assert re.search(r"small 1\.0\.0", frame)
    assert re.search(r"p50 \d+\.\d\d  p99 \d+\.\d\d  max \d+\.\d\d ms", frame)
    assert re.search(r"position +\S* +\d+%", frame)
    for joint in joints:
        assert joint.measured - joint.target == pytest.approx(joint.off, abs=1.1e-3)


def test_it_follows_a_session_from_idle_to_damping(daemon: Gaitd, terminal: Terminal) -> None:
    with contextlib.closing(daemon.connect(name="waiting")) as waiting:
        waiting.hello()
        assert "session   none" in terminal.wait_for("connected waiting")
    with walking(daemon):
        assert "of walker" in terminal.wait_for(" ACTIVE ")
        wait_until(lambda: re.search(r"steps [1-9]", terminal.screen()), what="a rate")
        with contextlib.closing(daemon.connect()) as person:
            person.control.demand("damp", session=0, reason=int(Reason.OPERATOR), detail="lunch")
        screen = terminal.wait_for(" DAMPING ")
        assert "operator" in screen
        assert "lunch" in screen
        assert re.search(r"dampings .*operator \d", screen)
    terminal.wait_for(" IDLE ")


@pytest.mark.parametrize("ending", ["q", "ctrl-c", pytest.param("sigterm", marks=pytest.mark.thorough)])
def test_it_quits_cleanly(terminal: Terminal, ending: str) -> None:
    terminal.wait_for("q quits")
    assert terminal.attributes() != terminal.before, "a key comes at once, and unseen"
    terminal.press(b"\x1a\x1b[Ax")  # Ctrl-Z, an arrow key and a letter say nothing to it
    if ending == "sigterm":
        terminal.process.send_signal(signal.SIGTERM)
    else:
        terminal.press({"q": b"q", "ctrl-c": b"\x03"}[ending])
    assert terminal.end() == 0
    assert terminal.attributes() == terminal.before
    assert terminal.output.count(INTO_OTHER_SCREEN) == terminal.output.count(BACK) == 1
    after = terminal.output.rpartition(BACK)[2]
    assert terminal.output.rindex(SHOW) > terminal.output.rindex(HIDE)
    assert _STYLE.sub("", after).strip() == "", "nothing is left behind"


def test_it_only_reads_and_fits_the_terminal(daemon: Gaitd, terminal: Terminal) -> None:
    """What it has mapped of gaitd's memory cannot be written through."""
    terminal.wait_for("q quits")
    maps = Path(f"/proc/{terminal.process.pid}/maps").read_text()
    mapped = [line.split() for line in maps.splitlines() if "gaitd-" in line]
    assert {line[1] for line in mapped} == {"r--s"}
    assert len(mapped) >= 2, "of the guardian and of the worker"
    assert daemon.status()["mode"] == "idle"
    assert terminal.size() == (24, 80)
    terminal.resize(40, 120)
    wait_until(lambda: terminal.size() == (40, 120), what="a larger frame")


@pytest.mark.thorough
def test_it_survives_gaitds_restart(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path) as first:
        first.wait_ready()
        with contextlib.closing(Terminal(first.runtime_dir)) as terminal:
            terminal.wait_for(" IDLE ")
            first.process.kill()
            first.process.wait()
            assert "it was idle" in terminal.wait_for(" NO ANSWER ")
            with Gaitd(small_bundle_path, runtime_dir=first.runtime_dir) as second:
                pid = second.wait_ready().worker_pid()
                assert f"pid {pid}" in terminal.wait_for(" IDLE ")
                wait_until(lambda: f"pid {pid}" in terminal.screen(), what="the new worker")


def test_without_gaitd_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runtime-dir", str(tmp_path), "top", "--once"]) == 5
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("gaitctl: error: no gaitd answers at")


def test_without_a_terminal_it_names_what_works(daemon: Gaitd, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runtime-dir", str(daemon.runtime_dir), "top"]) == 2
    assert "gaitctl top --once prints one frame" in capsys.readouterr().err


AS_NOBODY = """
import os, sys
sys.modules["pygments"] = sys.modules["markdown_it"] = None  # as in the Debian package
import rich.console, rich.screen, rich.styled, rich.text
import gaitd.ctl.top.frame
from gaitd.ctl.cli import main
os.setgroups([])
os.setegid(0)
os.seteuid(65534)
sys.exit(main(["--runtime-dir", sys.argv[1], "top", "--once"]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_who_may_not_read_gaitds_memory_sees_its_status_in_ascii_too(daemon: Gaitd) -> None:
    daemon.runtime_dir.parent.chmod(0o711)
    command = [sys.executable, "-c", AS_NOBODY, str(daemon.runtime_dir)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    assert done.returncode == 0, done.stderr
    assert " IDLE " in done.stdout
    assert "sudo gaitctl top shows steps, joints and limits as well" in done.stdout
    assert "- machine -" in done.stdout
    assert "\\u" not in done.stdout


STATUS: Mapping[str, Any] = {
    "gaitd": "1.0",
    "period_s": PERIOD_S,
    "mode": "active",
    "reason": "none",
    "detail": "",
    "damped_by": "",
    "mode_for_s": 4000.0,
    "session": 2**60 + 1,
    "owner": "dog",
    "controllers": ["dog", "gaitctl"],
    "policy": {"id": "0" * 16, "name": "humanoid_walk", "version": "1.0.0"},
    "worker": {"ready": True, "pid": 4_000_000, "starts": 12, "backend": "rknn", "fallback": ""},
    "standby": {"ready": True, "pid": 4_000_001, "starts": 1, "backend": "onnx"},
    "policies": [],
    "holder": 0,
    "failover": "",
    "last_worker": "",
    "state_interval_s": PERIOD_S,
    "counters": {"late_steps": 5, "missed": 1_000_000},
    "refused": {"old": 3, "frozen": 9},
    "missing_realtime": {},
    "rehearsal": False,
}
BOARD = {
    **{f"npu_core{core}_load": 0.12 for core in range(3)},
    "npu_frequency_hertz": 3e8,
    "npu_frequency_max_hertz": 1e9,
    **{f"cpu_policy{policy}_hertz": 2.256e9 for policy in (0, 4, 6)},
    "temperature_soc-thermal": 84.2,
    "temperature_bigcore0-thermal": 79.0,
    "resident_bytes": 8.2e7,
    "preemptions": 123_456_789.0,
}
LIMITS = ("position", "slew", "torque", "joint_velocity", "tilt", "deadline")


def busy_view(joints: int, now_ns: int = 10**12) -> View:
    """Everything that there can be to show; joint 3 is far off."""
    target = np.zeros(joints, np.float32)
    measured = np.linspace(0.01, 0.02, joints, dtype=np.float32)
    measured[3] = 0.4
    ages_ns = np.full(5000, 1_000_000)
    ages_ns[-1] = 40_000_000
    inside = Inside(
        now_ns=now_ns,
        period_s=PERIOD_S,
        deadline_s=5 * PERIOD_S,
        joints=[f"left_shoulder_pitch_{number}_joint" for number in range(joints)],
        low=np.full(joints, -1, np.float32),
        high=np.ones(joints, np.float32),
        pose=Pose(now_ns, target, measured, True),
        ages=Ages(now_ns - 12_000_000 * np.arange(5000)[::-1], ages_ns),
        steps_per_s=83.3,
        headroom={name: 0.05 * (number + 1) for number, name in enumerate(LIMITS)},
        dampings={"deadline": 2, "operator": 12},
        clamped={"torque": 17},
        worker_pid=1,
    )
    return View(status=STATUS, inside=inside, machine=BOARD, cooling={"pwm-fan": 0.5}, preempted_per_s=123.4)


@pytest.mark.parametrize(
    ("rows", "columns", "joints"), [(24, 80, 12), (24, 80, 29), (40, 120, 29), (24, 200, 12)]
)
def test_a_frame_fills_the_terminal_and_no_more(rows: int, columns: int, joints: int) -> None:
    lines = [line.plain for line in draw(busy_view(joints), columns, rows)]
    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns
    frame = "\n".join(lines)
    assert "tch_3 " in frame, "the joint that follows worst is always shown"
    for shown in ("humanoid_walk", "ACTIVE", "1 h 06 min", *LIMITS, "300 MHz", "84 °C soc", "50% pwm-fan"):
        assert shown in frame
    assert "max 40.00 ms" in frame
    assert "preempted 123/s" in frame, "how it is now; since its start, says nothing"
    if joints == 12:
        assert all(f"_{number} " in frame for number in range(joints))


def test_who_has_the_joints_is_marked() -> None:
    view = busy_view(12)
    assert "▶worker" in "\n".join(line.plain for line in draw(view, 80, 24))
    told = {"holder": 1, "failover": "it took over at noon", "last_worker": "it is the standby"}
    moved = replace(view, status={**STATUS, **told})
    frame = "\n".join(line.plain for line in draw(moved, 80, 24))
    assert "▶standby" in frame
    assert "▶worker" not in frame
    assert "last worker: it is the standby" in frame
    trot = {**STATUS["worker"], "name": "trot", "walks": True}
    changed = replace(view, status={**STATUS, "holder": 2, "policies": [{"name": "walk"}, trot]})
    frame = "\n".join(line.plain for line in draw(changed, 80, 24))
    assert "▶trot" in frame
    assert "▶worker" not in frame


def test_how_often_the_worker_is_preempted_is_a_rate(daemon: Gaitd) -> None:
    with contextlib.closing(Watch(Route.local(daemon.runtime_dir))) as watch:
        assert watch.look().preempted_per_s is None
        rate = watch.look().preempted_per_s
    assert rate is not None
    assert rate >= 0.0


@pytest.mark.parametrize("text", ["0", "abc", "nan", "61"])
def test_an_interval_out_of_range_is_named(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["top", "--interval", text])
    assert f"argument --interval: expected 0.1 to 60 seconds, got '{text}'" in capsys.readouterr().err


def test_the_nearest_limit_is_first() -> None:
    frame = "\n".join(line.plain for line in draw(busy_view(12), 80, 24))
    places = [frame.index(f" {name} ", frame.index("headroom")) for name in LIMITS]
    assert places == sorted(places)


def test_charts_show_what_is_there() -> None:
    assert chart.column(0.0, 2) == [" ", " "]
    assert chart.column(1e-6, 2) == [" ", "▁"], "one among many is seen"
    assert chart.column(0.75, 2) == ["▄", "█"]
    assert chart.bar(0.5, 4) == "██  "
    assert chart.gauge(-1, 1, 0.0, 5.0, 5) == "··●·│"
    assert chart.histogram(np.array([0.5, 1.0, 3.0, 9.0]), [1.0, 2.0, 4.0]) == [2, 0, 1, 1]
    at_ns = np.array([1, 60, 99, 100])
    assert chart.longest_of_each(at_ns, np.array([4.0, 1.0, 2.0, 3.0]), 100, 100, 4) == [4.0, 0.0, 1.0, 3.0]


@pytest.mark.thorough
def test_it_costs_less_than_two_percent_of_a_core(daemon: Gaitd) -> None:
    with walking(daemon), contextlib.closing(Terminal(daemon.runtime_dir)) as terminal:
        terminal.wait_for(" ACTIVE ")
        before_s, before = _seconds_of(terminal.process.pid), terminal.output.count("\x1b[H")
        wait_until(lambda: terminal.read().count("\x1b[H") >= before + 30, 30.0, "thirty frames")
        used_s = _seconds_of(terminal.process.pid) - before_s
        frames = terminal.output.count("\x1b[H") - before
    assert used_s / frames < 0.02, "a second's look and frame, at the default of one a second"


def _seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
