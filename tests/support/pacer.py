"""A controller that walks in a process of its own: nothing that a test does meanwhile holds up its states."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from gaitd.wire.generated import Mode
from support.controller import Controller
from support.daemon import wait_until
from support.shadows import moving

DAMPED = "damped"
PRIORITY = 30
"""SCHED_FIFO, where it is allowed: below gaitd's processes, above all others."""


class Pacer:
    """The test's end of it; use as a context manager."""

    def __init__(self, runtime_dir: Path, scratch: Path) -> None:
        self._written = scratch / f"ages-{time.monotonic_ns()}"
        self._written.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.pacer", str(runtime_dir), str(self._written)]
        )

    @property
    def lines(self) -> list[str]:
        """One of each step so far: the answer's age, s, or nothing where none came in time; or DAMPED."""
        return self._written.read_text().split("\n")[:-1]

    def walk(self, steps: int) -> list[float]:
        """Wait for so many steps more; the ages of the answers. Fails when it was damped."""
        begun = len(self.lines)
        wait_until(lambda: len(self.lines) >= begun + steps, 60, f"{steps} steps")
        assert DAMPED not in self.lines
        return [float(line) for line in self.lines[begun:] if line]

    def __enter__(self) -> Pacer:
        self.walk(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        assert DAMPED not in self.lines


def main(runtime_dir: Path, written: Path) -> None:
    """Walk until SIGTERM, then release."""
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    controller = Controller(runtime_dir, ["hip", "thigh", "knee"], name="walker")
    controller.hello(switchable=True)
    controller.settle()
    with contextlib.suppress(PermissionError):
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(PRIORITY))
    controller.activate()
    default = controller.default_position()
    with written.open("w", buffering=1) as file:
        while not done.is_set():
            command = controller.step(**moving(controller.seq + 1, default))
            if command is None:
                line = ""
            elif command.mode is Mode.DAMPING:
                line = DAMPED
            else:
                line = str((command.publish_stamp_ns - command.state_stamp_ns) / 1e9)
            file.write(f"{line}\n")
    controller.control.ask("release", session=controller.session)
    controller.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
