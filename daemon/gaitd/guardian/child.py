"""Child processes of the guardian: asked for, seen to die at once, restarted as the table of processes says.

Another process starts them (gaitd.guardian.spawner): nothing here waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gaitd.errors import CrashLoopError, ReplacedError
from gaitd.shared.processes import ChildProcess

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""numpy's linear algebra would otherwise start a thread, with its buffers, for each core."""
MAX_NEWS_BYTES = 4096
END_S = 0.5
"""How long the spawner may take to end."""


class News(NamedTuple):
    """What the spawner says of a child: it could not be started, it runs, or it has ended."""

    name: str
    pid: int = 0
    pidfd: int = -1
    """Of a process that has just been started; -1 where no descriptor was left for it."""
    code: int | None = None
    """The exit code, negative for a signal, of one that has ended."""
    error: str = ""


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
        self._report_fd, self._write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._argument = argument(self._write_fd)
        self._fds = (*pass_fds, self._write_fd)

    @property
    def command(self) -> tuple[list[str], Sequence[int]]:
        """Module and arguments, and the descriptors to inherit."""
        return [self._row.entry, self._argument], self._fds

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
            return None
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


class SpawnerProcess:
    """The guardian's end of the spawner. No call waits but the first and the last."""

    def __init__(self, children: Sequence[Child]) -> None:
        """Start it, before real-time priority: it can start these children, nothing else. Raises OSError."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        commands, fds = {}, {theirs.fileno()}
        for child in children:
            arguments, inherited = child.command
            commands[child.name] = {"arguments": arguments, "fds": [*inherited]}
            fds |= {*inherited}
        told = json.dumps({"channel_fd": theirs.fileno(), "commands": commands})
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gaitd.system.with_parent", str(os.getpid())),
                    *("gaitd.guardian.spawner", told),
                ],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
                pass_fds=sorted(fds),
            )

    @property
    def fd(self) -> int:
        """Readable when there is news."""
        return self._channel.fileno()

    def ask_for(self, name: str) -> None:
        """Have a process of that name started."""
        with contextlib.suppress(OSError):  # gone: ``news`` tells
            self._channel.send(name.encode())

    def news(self) -> list[News]:
        """What has happened since the last call. Raises CrashLoopError when the spawner is gone."""
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data, fds, _, _ = socket.recv_fds(self._channel, MAX_NEWS_BYTES, 1)
                except ConnectionResetError:
                    data = b""
                if not data:
                    raise CrashLoopError("the process that starts the others has ended")
                heard.append(News(pidfd=fds[0] if fds else -1, **json.loads(data)))
        return heard

    def close(self) -> None:
        """End it, and with it whatever it started and still runs."""
        self._channel.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
