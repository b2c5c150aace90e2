"""Controllers of the gaitd in a container: one in Python, and the C++ one with a robot that stands."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machine import Machine, until
from rootfs import ROOT

from support.bundles import LITE3_JOINTS
from support.controller import Controller

HERE = Path(__file__).parent
CONTROLLER = ROOT / "build/cpp/lite3_controller"


def controller_of(machine: Machine) -> Controller:
    """Connected to the gaitd in it."""
    return Controller(machine.seen_from_here("/run/gaitd"), LITE3_JOINTS)


def activate_when_ready(controller: Controller, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while not controller.status()["worker"]["ready"] and time.monotonic() < end_s:
        time.sleep(0.02)
    controller.activate()


class Walk:
    """Keeps a session alive from a thread."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._walk)

    def _walk(self) -> None:
        while not self._done.is_set():
            self._controller.step()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@contextmanager
def walking_controller(machine: Machine, scratch: Path) -> Iterator[Path]:
    """The C++ controller in a session, with a robot that stands; yields its log, written at the end."""
    if not CONTROLLER.exists():
        pytest.skip(f"{CONTROLLER} is not built: make cpp")
    said, ticks = scratch / "controller", scratch / "ticks.csv"
    state_port, command_port, operator_port = _free_ports(3)
    options = {
        "--endpoint-dir": machine.seen_from_here("/run/gaitd"),
        "--state-port": state_port,
        "--command-port": command_port,
        "--operator-port": operator_port,
        "--stand-up": 0.1,
        "--seconds": 60,
        "--log": ticks,
    }
    robot = subprocess.Popen([sys.executable, HERE / "standing_robot.py", str(state_port)])
    with said.open("w") as output:
        words = [str(word) for option in options.items() for word in option]
        controller = subprocess.Popen([CONTROLLER, *words], stdout=output, stderr=output)
    try:

        def walks() -> bool:
            assert controller.poll() is None, said.read_text()
            return "moves the robot" in said.read_text()

        until(walks, 10)
        yield ticks
        controller.send_signal(signal.SIGTERM)
        assert controller.wait(10) == 0, said.read_text()
    finally:
        for process in (controller, robot):
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
