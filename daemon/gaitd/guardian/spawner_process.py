"""The guardian's end of the spawner (gaitd.guardian.spawner)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gaitd.errors import CrashLoopError

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""numpy's linear algebra would otherwise start a thread, with its buffers, for each core."""
MAX_NEWS_BYTES = 4096
END_S = 0.5
"""How long the spawner may take to end."""


class Command(NamedTuple):
    """What the spawner may run under a name."""

    arguments: list[str]
    """A module and its arguments."""
    fds: Sequence[int]
    """The descriptors that it inherits."""


class News(NamedTuple):
    """What the spawner says of a child: it could not be started, it runs, or it has ended."""

    name: str
    pid: int = 0
    pidfd: int = -1
    """Of a process that has just been started; -1 where no descriptor was left for it."""
    code: int | None = None
    """The exit code, negative for a signal, of one that has ended."""
    error: str = ""


class SpawnerProcess:
    """The guardian's end of the spawner. No call waits but the first and the last."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        """Start it, before real-time priority: it can start these, nothing else. Raises OSError."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        told = {
            "channel_fd": theirs.fileno(),
            "commands": {name: command._asdict() for name, command in commands.items()},
        }
        fds = {theirs.fileno()}.union(*(command.fds for command in commands.values()))
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gaitd.system.with_parent", str(os.getpid())),
                    *("gaitd.guardian.spawner", json.dumps(told)),
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
