"""The process that starts the others, so that the guardian never waits for a fork, an exec or a wait.

It is small, of normal priority and knows what it may start from its own start on. The guardian writes a
name; it answers with the new process's id and pidfd, and later with how that process ended. It ends with
the guardian, and whatever it started ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NoReturn

from gaitd.system.with_parent import end_with

_PR_SET_NAME = 15
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""They may reach the whole group or service; the guardian decides about the end."""
CANNOT_EXECUTE = 127


class Spawner:
    """Starts processes of the given commands and reports on them, until the guardian is gone."""

    def __init__(self, channel: socket.socket, commands: dict[str, Any]) -> None:
        """``commands``: by name, the module, its arguments and the descriptors that it inherits."""
        self._channel = channel
        self._commands = commands
        self._running: dict[int, str] = {}
        self._pid = os.getpid()
        self._died, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for command in commands.values():
            for fd in command["fds"]:
                os.set_inheritable(fd, False)  # each process gets its own, nobody those of another
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the guardian closes its end."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._died, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._died:
                    os.read(self._died, 4096)
                    self._reap()
                elif not (name := self._channel.recv(256).decode()):
                    return
                else:
                    self._start(name)

    def kill_all(self) -> None:
        """Nothing that was started outlives the guardian."""
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)

    def _start(self, name: str) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"name": name, "error": error.strerror})
            return
        if pid == 0:
            self._become(name)
        self._running[pid] = name
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor left here: its end is reported all the same
            self._say({"name": name, "pid": pid})
            return
        self._say({"name": name, "pid": pid}, pidfd)
        os.close(pidfd)

    def _become(self, name: str) -> NoReturn:
        command = self._commands[name]
        try:
            end_with(self._pid)
            for number in (*_IGNORED, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for fd in command["fds"]:
                os.set_inheritable(fd, True)
            begin = [sys.executable, "-m", "gaitd.system.with_parent", str(self._pid)]
            os.execv(sys.executable, [*begin, *command["arguments"]])
        except OSError as error:
            os.write(2, f"gaitd-spawner: {name}: {error}\n".encode())
        finally:
            os._exit(CANNOT_EXECUTE)

    def _reap(self) -> None:
        """A process under a tracer is not reaped before the tracer lets go; the kernel tells again then."""
        for pid, name in list(self._running.items()):
            with contextlib.suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del self._running[pid]
                    self._say({"name": name, "pid": pid, "code": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any], *fds: int) -> None:
        socket.send_fds(self._channel, [json.dumps(message).encode()], fds)


def main() -> None:
    """The one argument: the descriptor of the socket to the guardian, and the commands, as JSON."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"gaitd-spawner", 0, 0, 0)
    told = json.loads(sys.argv[1])
    channel = socket.socket(fileno=told["channel_fd"])
    channel.set_inheritable(False)
    spawner = Spawner(channel, told["commands"])
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            spawner.run()
    finally:
        spawner.kill_all()


if __name__ == "__main__":
    main()
