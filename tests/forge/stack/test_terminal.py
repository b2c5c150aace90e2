"""Whoever reads what the example controller prints: nobody there may keep damping from the motors."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaitd.wire.generated import Reason
from support.daemon import PATIENT, Gaitd, wait_until

ROOT = Path(__file__).parents[3]
CONTROLLER = ROOT / "build/cpp/lite3_controller"
EXAMPLE = ROOT / "examples/lite3_walk/lite3_walk.gaitd"
JOINTS = 12
CTRL_S = b"\x13"


def udp() -> socket.socket:
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port.bind(("127.0.0.1", 0))
    return port


class Robot:
    """Stands where it is told to, with some noise in its sensors; remembers the last command."""

    def __init__(self) -> None:
        self.commands = udp()
        self.commands.setblocking(False)
        with udp() as state, udp() as operator:
            self.ports = [each.getsockname()[1] for each in (state, self.commands, operator)]
        self.stiffness = -1.0
        """Of the newest command; -1 before the first."""
        self._position = [0.0] * JOINTS
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Robot:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.commands.close()

    def _run(self) -> None:
        start_s = time.monotonic()
        while not self._done.wait(0.002):
            with contextlib.suppress(BlockingIOError):
                while True:
                    command = struct.unpack("<60f", self.commands.recv(1000))
                    self.stiffness = command[0]
                    if self.stiffness > 0:
                        self._position = list(command[JOINTS : 2 * JOINTS])
            body = [0.0, 0.0, 0.0, 0.0, 0.0, 9.81, 0.0, 0.0, 0.0]
            values = [*body, *self._position, *[0.0] * (2 * JOINTS)]
            noisy = [value + random.gauss(0.0, 0.002) for value in values]
            packet = struct.pack("<d45f", time.monotonic() - start_s, *noisy)
            self.commands.sendto(packet, ("127.0.0.1", self.ports[0]))


Ending = Callable[[], None]


@contextlib.contextmanager
def held_terminal() -> Iterator[tuple[int, Ending]]:
    master, slave = os.openpty()
    try:
        yield slave, lambda: os.write(master, CTRL_S) and None
    finally:
        os.close(slave)
        os.close(master)


@contextlib.contextmanager
def pipe_without_reader() -> Iterator[tuple[int, Ending]]:
    reader, writer = os.pipe()
    try:
        yield writer, lambda: os.close(reader)
    finally:
        os.close(writer)


@pytest.mark.slow
@pytest.mark.parametrize("output", [held_terminal, pipe_without_reader])
def test_damping_reaches_the_motors_though_nobody_takes_the_line_about_it(
    output: Callable[[], contextlib.AbstractContextManager[tuple[int, Ending]]],
) -> None:
    config = PATIENT.replace("first_command_s = 5", "first_command_s = 2")
    with Gaitd(EXAMPLE, "--backend", "onnx", config=config) as gaitd, Robot() as robot:
        gaitd.wait_ready()
        command = [str(CONTROLLER), "--endpoint-dir", str(gaitd.runtime_dir), "--stand-up", "0.2"]
        for name, port in zip(("state", "command", "operator"), robot.ports, strict=True):
            command += [f"--{name}-port", str(port)]
        with (
            output() as (descriptor, nobody_reads),
            subprocess.Popen(command, stdout=descriptor) as controller,
        ):
            try:
                wait_until(lambda: gaitd.status()["counters"]["steps"] > 20, 20.0, "the policy")
                assert robot.stiffness > 0
                nobody_reads()
                with contextlib.closing(gaitd.connect()) as person:
                    person.control.demand("damp", session=0, reason=int(Reason.OPERATOR))
                wait_until(lambda: robot.stiffness == 0.0, 2.0, "damping at the motors")
                assert controller.poll() is None
            finally:
                controller.kill()
