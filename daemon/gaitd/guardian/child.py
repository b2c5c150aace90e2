"""Child processes of the guardian: start, see their death at once, restart as the table of processes says."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from gaitd.errors import CrashLoopError
from gaitd.shared.processes import ChildProcess

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""numpy's linear algebra would otherwise start a thread, with its buffers, for each core."""


def how_it_ended(name: str, code: int) -> str:
    """For people. ``code``: its exit code, or a signal's number below 0; real-time signals have no name."""
    if code >= 0:
        return f"{name} ended with exit code {code}"
    try:
        return f"{name} killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"{name} killed by signal {-code}"


class Child:
    """One row of the table of processes at run time; the process itself may be replaced many times."""

    def __init__(self, row: ChildProcess, argument: Callable[[int], str], pass_fds: Sequence[int]) -> None:
        """``argument`` makes the child's one argument, given the descriptor it may report to."""
        self.name = row.name
        self.starts = 0
        self.deaths_in_a_row = 0
        self._row = row
        self._restart_at_ns: int | None = None
        self._argument = argument
        self._pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_ns = 0
        self._pidfd = -1
        self._report_fd = -1

    @property
    def pid(self) -> int:
        """Process id; 0 when none runs."""
        return self._process.pid if self._process is not None else 0

    @property
    def pidfd(self) -> int:
        """Becomes readable when the process dies; -1 when none runs."""
        return self._pidfd

    @property
    def started_ns(self) -> int:
        """When the present process was started."""
        return self._started_ns

    def start(self, now_ns: int) -> None:
        """Start a process. Raises OSError when the system refuses; that counts as a death."""
        self._started_ns = now_ns
        self._restart_at_ns = None
        try:
            self._start()
        except OSError:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
            self.forget()
            self._plan_restart(now_ns)
            raise
        self.starts += 1

    def _start(self) -> None:
        self._report_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._row.entry, self._argument(write_fd)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
                pass_fds=(*self._pass_fds, write_fd),
            )
        finally:
            os.close(write_fd)
        self._pidfd = os.pidfd_open(self._process.pid)

    def read_report(self) -> bytes:
        """What the child has reported by now; empty when nothing is there."""
        if self._report_fd < 0:
            return b""
        try:
            return os.read(self._report_fd, 65536)
        except BlockingIOError:
            return b""

    def has_died(self) -> bool:
        """Whether the present process is dead and not yet reaped."""
        if self._pidfd < 0:
            return False
        poll = select.poll()  # unlike select, for descriptors of any number
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def reap(self, now_ns: int) -> str:
        """Reap a dead process: plan the restart and say how it ended."""
        assert self._process is not None
        code = self._process.wait()
        self.forget()
        self._plan_restart(now_ns)
        return how_it_ended(self.name, code)

    def is_due(self, now_ns: int) -> bool:
        """None runs, and it is time to start it again."""
        return self.pid == 0 and self._restart_at_ns is not None and now_ns >= self._restart_at_ns

    def check_crash_loop(self, last: str) -> None:
        """Raises CrashLoopError, which quotes how the ``last`` one died, after too many deaths in a row."""
        most = self._row.max_deaths_in_a_row
        if most is not None and self.deaths_in_a_row >= most:
            raise CrashLoopError(f"the {self.name} died {self.deaths_in_a_row} times in a row; last: {last}")

    def _plan_restart(self, now_ns: int) -> None:
        stable = now_ns - self._started_ns > self._row.stable_ns
        self.deaths_in_a_row = 1 if stable else self.deaths_in_a_row + 1
        self._restart_at_ns = now_ns + self._row.backoff_ns(self.deaths_in_a_row)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if a process is there."""
        if self._process is not None and self._pidfd >= 0:
            self._process.send_signal(number)

    def forget(self) -> None:
        """Close what belonged to the process that was there."""
        for fd in (self._pidfd, self._report_fd):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._report_fd = -1
        self._process = None
