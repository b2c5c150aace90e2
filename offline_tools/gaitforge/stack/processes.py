"""Simulated robot, C++ example controller and gaitd as real processes, and what they did."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from gaitd.bundle.read import MANIFEST, open_bundle
from gaitd.ctl.client import ControlClient
from gaitd.errors import GaitdError, InputError, UnreachableError
from gaitd.system.realtime import may_use_fifo
from gaitforge.stack.ticks import Ticks, read_ticks

GAITD = (sys.executable, "-m", "gaitd.cli")
START_TIMEOUT_S = 60.0
"""A busy machine takes its time, most of it for imports; a program that ends is noticed at once."""
END_TIMEOUT_S = 60.0
"""The simulator writes minutes of motion when it ends: seconds, on a busy machine many."""
REPORT, TRACE, TICKS = "simulate.json", "trace.npz", "ticks.csv"
"""What simulator and controller write when they end."""
SIMULATOR_PRIORITY, CONTROLLER_PRIORITY = 40, 50
"""SCHED_FIFO, below gaitd's own 60 and 70, where this user may."""


CONTROLLER_JOINTS = 12
"""Of proto/cpp's example."""


@dataclass(frozen=True)
class Walk:
    """The simulated walk."""

    seconds: float
    """After it stands."""
    script: Path | None = None
    """Velocity commands, see ``gaitforge simulate``."""
    command: str = "0,0,0"
    """A constant velocity command, where there is no script."""
    pushes: Sequence[str] = ()
    seed: int = 0


@dataclass(frozen=True)
class ChainResult:
    """What the processes wrote."""

    simulator: dict[str, Any]
    """The simulator's report."""
    ticks: Ticks
    """What the controller saw, tick by tick."""


@dataclass
class Chain:
    """The three processes; use as a context manager. Logs and results are in ``directory``."""

    bundle: Path
    controller: Path
    """The built example controller."""
    directory: Path
    walk: Walk
    gaitd_command: Sequence[str] = GAITD
    gaitd_options: Sequence[str] = ("--config", os.devnull)
    """The defaults, however this machine's own gaitd is configured."""
    mjcf: Path | None = None
    """The robot's model; None: the Lite3's."""
    terrain: str = "flat"
    height_map: str | None = None
    """The stream that the simulator fills, as ``gaitforge simulate`` has it."""
    simulator_options: Sequence[str] = ()
    controller_options: Sequence[str] = ()
    controller_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the controller has beside this process's own."""
    _commands: dict[str, list[str]] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _overdue: set[str] = field(default_factory=set)
    """Had to be killed in the end."""

    def __enter__(self) -> Chain:
        """Start everything. Raises InputError or GaitdError saying what did not start."""
        if not os.access(self.controller, os.X_OK):
            raise InputError(f"{self.controller}: no built controller there; `make cpp` builds it")
        self.directory.mkdir(parents=True, exist_ok=True)
        # An earlier run's, which nobody may take for this one's.
        for name in (REPORT, TRACE, TICKS):
            (self.directory / name).unlink(missing_ok=True)
        # Socket paths are limited to 107 bytes, so they do not live under the output directory.
        self._runtime = tempfile.TemporaryDirectory(prefix="gaitd-")
        self.runtime_dir = Path(self._runtime.name) / "run"
        of_simulator, of_controller = self._of_robot()
        self.metrics_port, state, command, operator = _free_ports(4)
        fifo = may_use_fifo()
        ports = ["--state-port", str(state), "--command-port", str(command), "--operator-port", str(operator)]
        try:
            self._start_gaitd()
            self._start(
                "simulate",
                [sys.executable, "-m", "gaitforge.cli", "simulate", "--seed", str(self.walk.seed)],
                ports,
                ["--seconds", str(self.walk.seconds), "--report", str(self.directory / REPORT)],
                ["--trace", str(self.directory / TRACE), *of_simulator, *self.simulator_options],
                ["--script", str(self.walk.script)]
                if self.walk.script
                else ["--command=" + self.walk.command],
                [option for push in self.walk.pushes for option in ("--push", push)],
                ["--priority", str(SIMULATOR_PRIORITY)] if fifo else [],
            )
            self._start(
                "controller",
                [str(self.controller), *self._driver()],
                ports,
                ["--log", str(self.directory / TICKS), *of_controller, *self.controller_options],
                ["--priority", str(CONTROLLER_PRIORITY)] if fifo else [],
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def status(self) -> dict[str, Any]:
        """gaitd's own status. Raises UnreachableError."""
        with ControlClient(self.runtime_dir) as client:
            return client.demand("status")

    def wait_until(
        self, condition: Callable[[dict[str, Any]], bool], what: str, timeout_s: float
    ) -> dict[str, Any]:
        """Wait for a status that satisfies ``condition``. Raises GaitdError naming ``what`` on timeout."""
        until_s = time.monotonic() + timeout_s
        while True:
            self.check_alive()
            with contextlib.suppress(UnreachableError):
                status = self.status()
                if condition(status):
                    return status
            if time.monotonic() > until_s:
                said = last_words(self.directory, self._processes)
                raise GaitdError(
                    f"{what} did not happen within {timeout_s:g} s: {said} (see {self.directory}/*.log). Is "
                    "the machine too busy? End what else runs on it, such as another simulator or "
                    "controller, and run this again"
                )
            time.sleep(0.05)

    def wait_active(self) -> dict[str, Any]:
        """Wait until the policy moves the robot."""
        return self.wait_until(
            lambda status: status["mode"] == "active" and status["counters"]["steps"] > 0,
            "the hand-over to the policy",
            START_TIMEOUT_S,
        )

    def pid(self, name: str) -> int:
        """Process id of gaitd, simulate or controller."""
        return self._processes[name].pid

    def wait_end(self, name: str) -> int:
        """Wait for the end of a process; its exit code, negative for a signal."""
        return self._processes[name].wait(END_TIMEOUT_S)

    def restart(self, name: str) -> None:
        """Start gaitd or the controller again after it ended, as a service manager would; its log goes on."""
        self.wait_end(name)
        self._start(name, self._commands[name])

    def check_alive(self, *names: str) -> None:
        """Raise GaitdError when one of these processes has ended by itself; of all, where none is named."""
        for name in names or self._processes:
            if self._processes[name].poll() is not None:
                raise GaitdError(self.ending(name))

    def ending(self, name: str) -> str:
        """How a process that has ended came to its end, and what it said last."""
        code = self._processes[name].returncode
        how = (
            f"did not end within {END_TIMEOUT_S:g} s and was killed"
            if name in self._overdue
            else f"ended with exit code {code}"
        )
        log = self.directory / f"{name}.log"
        return f"{name} {how}: {_last_line(log) or 'no output'} (see {log})"

    def finish(self) -> ChainResult:
        """Wait for the walk's end, then end the rest. Raises GaitdError."""
        simulator = self._processes["simulate"]
        try:
            simulator.wait(self.walk.seconds + START_TIMEOUT_S + END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise GaitdError(f"the simulated robot does not end; see {self.directory}/simulate.log") from None
        self._end()
        report = self.directory / REPORT
        ticks = self.directory / TICKS
        for path in (report, ticks):
            if not path.exists():
                raise GaitdError(f"{path} was not written; see {self.directory}/*.log")
        return ChainResult(json.loads(report.read_text()), read_ticks(ticks))

    def _of_robot(self) -> tuple[list[str], list[str]]:
        """Options of the simulator and of the controller. Raises InputError."""
        ground = ["--terrain", self.terrain]
        if self.mjcf is None and self.height_map is None:
            return ground, []
        bundle = open_bundle(self.bundle)
        manifest, joints = self.directory / "manifest.yaml", self.directory / "joints.txt"
        manifest.write_bytes(bundle.read_bytes(MANIFEST))
        ground += ["--manifest", str(manifest)]
        if self.height_map is not None:
            ground += ["--height-map", self.height_map, "--runtime-dir", str(self.runtime_dir)]
        if self.mjcf is None:
            return ground, []
        names = bundle.manifest.joints
        if len(names) != CONTROLLER_JOINTS:
            raise InputError(
                f"{self.bundle}: the policy has {len(names)} joints, the example controller "
                f"{CONTROLLER_JOINTS}: gaitforge simulate --bundle calls the policy without a controller"
            )
        joints.write_text("".join(f"{name}\n" for name in names))
        return [*ground, "--mjcf", str(self.mjcf)], ["--joints", str(joints)]

    def _driver(self) -> list[str]:
        """Options of the controller: who moves the joints."""
        return ["--endpoint-dir", str(self.runtime_dir)]

    def _start_gaitd(self) -> None:
        self._start(
            "gaitd",
            [*self.gaitd_command, "run", "--bundle", str(self.bundle)],
            ["--runtime-dir", str(self.runtime_dir), "--metrics-port", str(self.metrics_port)],
            list(self.gaitd_options),
        )
        self.wait_until(lambda status: bool(status["worker"]["ready"]), "gaitd's start", START_TIMEOUT_S)

    def _start(self, name: str, *arguments: Sequence[str]) -> None:
        command = [argument for part in arguments for argument in part]
        again = self._commands.get(name) == command
        self._commands[name] = command
        more = self.controller_environment if name == "controller" else {}
        with (self.directory / f"{name}.log").open("ab" if again else "wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **more},
            )

    def _end(self) -> None:
        """The controller first, so that it can release its session while gaitd still runs."""
        for name in ("controller", "gaitd", "simulate"):
            process = self._processes.get(name)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._overdue.add(name)
                process.kill()
                process.wait()
        self._runtime.cleanup()


def last_words(directory: Path, names: Iterable[str]) -> str:
    """What each of the programs said last, the silent ones by name, from their logs."""
    last = {name: _last_line(directory / f"{name}.log") for name in names}
    return "; ".join(
        f"{name}: {line}" if line else f"{name} has said nothing yet" for name, line in last.items()
    )


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or [""])[-1]


def _free_ports(count: int) -> list[int]:
    """Ports that are free at the moment, UDP and TCP."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind(("127.0.0.1", 0))
            port = udp.getsockname()[1]
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with contextlib.suppress(OSError):
                tcp.bind(("127.0.0.1", port))
                ports.append(port)
        return ports
