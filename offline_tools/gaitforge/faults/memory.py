"""Faults of the blackboard: what a debugger, a wild pointer or a stray root process could do to it."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

from gaitd.blackboard import GUARD_WORDS, WORKER_WORDS, Blackboard, Words
from gaitd.errors import GaitdError
from gaitforge.faults.rig import Rig

FAR_FUTURE_NS = 2**62


def truncate(rig: Rig) -> None:
    """Cut it short; the seal must refuse that."""
    fd = _open(rig)
    try:
        os.ftruncate(fd, 64)
    except PermissionError:
        return
    finally:
        os.close(fd)
    raise GaitdError("the shared memory could be cut short")


def scramble(words: str) -> Callable[[Rig], None]:
    """Overwrite one side's words with random bytes, once."""
    layout = {"guard": GUARD_WORDS, "worker": WORKER_WORDS}[words]

    def inject(rig: Rig) -> None:
        fd = _open(rig)
        try:
            side: Words = getattr(Blackboard.attach(fd), words)
            for name, count in layout.items():
                for index in range(count):
                    side.row(name)[index] = secrets.randbits(63)
        finally:
            os.close(fd)

    return inject


def far_future(rig: Rig) -> None:
    """The worker stops, and its stamps say that it is alive for a hundred years to come."""
    pid = rig.pid("worker")
    os.kill(pid, signal.SIGSTOP)
    fd = _open(rig)
    try:
        board = Blackboard.attach(fd)
        for name in ("heartbeat_ns", "last_command_ns", "last_state_ns"):
            board.worker[name] = FAR_FUTURE_NS
    finally:
        os.close(fd)


def _open(rig: Rig) -> int:
    """The blackboard of the running gaitd, through /proc, as its owner or root may."""
    for link in Path(f"/proc/{rig.pid('gaitd')}/fd").iterdir():
        if "gaitd-blackboard" in str(link.readlink()):
            return os.open(link, os.O_RDWR)
    raise GaitdError("no blackboard among gaitd's file descriptors")
