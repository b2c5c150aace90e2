"""Child processes of the guardian: asked for, seen to die at once, restarted as the table of processes says.

Another process starts them (gaitd.guardian.spawner): nothing here waits.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Sequence

from gaitd.errors import CrashLoopError, ReplacedError
from gaitd.guardian.spawner_process import Command, News, SpawnerProcess
from gaitd.shared.processes import ChildProcess
from gaitd.system.log import log

UNREAPED_NS = 1_000_000_000
"""How long a dead process may stay unreaped before that is logged."""


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
        self.replaced = False
        """The last process found that its code is not this one's: another would find the same."""
        self.name = row.name
        self.grace_s = row.grace_s
        self.starts = 0
        self.deaths_in_a_row = 0
        self.pid = 0
        """Process id; 0 when none runs, or none yet."""
        self.pidfd = -1
        """Becomes readable when the process dies; -1 when none runs."""
        self.started_ns = 0
        """When the present process was asked for."""
        self._row = row
        self._restart_at_ns: int | None = None
        self._works_since_ns: int | None = None
        self._exit_code: int | None = None
        self._dead_since_ns: int | None = None
        """When it was seen to be dead, while it is not known how."""
        self._unreaped_logged = False
        self._report_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._argument = argument(self._write_fd)
        self._fds = (*pass_fds, self._write_fd)

    @property
    def command(self) -> Command:
        """What the spawner is to run."""
        return Command([self._row.entry, self._argument], self._fds)

    def start(self, spawner: SpawnerProcess, now_ns: int) -> None:
        """Ask for a process; ``hear`` tells what became of it."""
        self.started_ns = now_ns
        self._works_since_ns = None if self._row.reports else now_ns
        self._restart_at_ns = None
        self.starts += 1
        while self.read_report():
            pass  # what a process before this one left
        spawner.ask_for(self.name)

    def hear(self, news: News, now_ns: int) -> None:
        """Take note of what the spawner says of this child."""
        if news.error:
            self._plan_restart(now_ns)
        elif news.code is None:
            self.pid, self.pidfd = news.pid, news.pidfd
        else:
            self._exit_code = news.code

    def read_report(self) -> bytes:
        """What the child has reported by now; empty when nothing is there."""
        try:
            return os.read(self._report_fd, 65536)
        except BlockingIOError:
            return b""

    def note_ready(self, now_ns: int) -> None:
        """It has reported that it is ready."""
        self._works_since_ns = now_ns

    def has_died(self) -> bool:
        """Whether the present process is dead and not yet forgotten."""
        if self._exit_code is not None:
            return True
        if self.pidfd < 0:
            return False
        poll = select.poll()  # unlike select, for descriptors of any number
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def reap(self, now_ns: int) -> str | None:
        """Forget a dead process, plan the restart and say how it ended; None while that is not known."""
        code = self._exit_code
        if code is None:
            self._dead_since_ns = self._dead_since_ns or now_ns
            if now_ns - self._dead_since_ns > UNREAPED_NS and not self._unreaped_logged:
                self._unreaped_logged = True
                log.error(f"{self.name} is dead and not restarted: {self.why_overdue}")
            return None
        self._dead_since_ns, self._unreaped_logged = None, False
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pid, self.pidfd, self._exit_code = 0, -1, None
        self._plan_restart(now_ns)
        self.replaced = code == ReplacedError.exit_code
        if self.replaced:
            self._restart_at_ns = None
        return how_it_ended(self.name, code)

    def is_due(self, now_ns: int) -> bool:
        """None runs, and it is time to start it again."""
        return self.pid == 0 and self._restart_at_ns is not None and now_ns >= self._restart_at_ns

    def is_overdue(self, now_ns: int, limit_ns: int) -> bool:
        """It was asked for, or has died, so long ago, and nothing has been heard of it."""
        if self._dead_since_ns is not None:
            return now_ns - self._dead_since_ns > limit_ns
        awaited = self.pid == 0 and self._exit_code is None and self._restart_at_ns is None
        return self.starts > 0 and awaited and not self.replaced and now_ns - self.started_ns > limit_ns

    @property
    def why_overdue(self) -> str:
        """What may keep the spawner from reporting, for people."""
        if self._dead_since_ns is None:
            return "the process that starts the others does not answer"
        return (
            f"process {self.pid} cannot be reaped; a debugger holds it (TracerPid in "
            f"/proc/{self.pid}/status), or the process that starts the others does not answer"
        )

    def check_crash_loop(self, last: str) -> None:
        """Raises CrashLoopError, which quotes how the ``last`` one died, after too many deaths in a row."""
        most = self._row.max_deaths_in_a_row
        if most is not None and self.deaths_in_a_row >= most:
            raise CrashLoopError(f"the {self.name} died {self.deaths_in_a_row} times in a row; last: {last}")

    def _plan_restart(self, now_ns: int) -> None:
        since_ns = self._works_since_ns
        stable = since_ns is not None and now_ns - since_ns > self._row.stable_ns
        self.deaths_in_a_row = 1 if stable else self.deaths_in_a_row + 1
        self._restart_at_ns = now_ns + self._row.backoff_ns(self.deaths_in_a_row)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if a process is there."""
        if self.pid == 0 or self._exit_code is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)
