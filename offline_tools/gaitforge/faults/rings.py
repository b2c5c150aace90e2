"""Faults of the shared-memory transport: what another process could do to its files, and to its socket."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable

from gaitd.errors import GaitdError
from gaitd.shared.lanes import LANES, SHM_CHANNEL
from gaitd.shared.memory import HEAD_BYTES
from gaitforge.faults.rig import Rig
from gaitforge.faults.shared_memory import open_memory_file

STATES = tuple(f"gaitd-ring-state-{lane}" for lane in range(LANES))
COMMANDS = ("gaitd-ring-command-0",)
EVERYTHING = (*STATES, *COMMANDS, "gaitd-ring-guard-255")
FOR_S = 0.4
"""So long a file is overwritten again and again: longer than the deadline."""


def truncate(rig: Rig) -> None:
    """Truncate every ring; the seals must refuse that."""
    for name in EVERYTHING:
        with open_memory_file(rig.pid("gaitd"), name, os.O_RDWR) as fd, contextlib.suppress(PermissionError):
            os.ftruncate(fd, 64)
            raise GaitdError(f"{name} could be truncated")


def scramble(names: tuple[str, ...], seconds: float = 0.0) -> Callable[[Rig], None]:
    """Overwrite these rings with random bits behind their heads, once or for some time."""

    def inject(rig: Rig) -> None:
        until_s = time.monotonic() + seconds
        with contextlib.ExitStack() as stack:
            fds = [stack.enter_context(open_memory_file(rig.pid("gaitd"), name, os.O_RDWR)) for name in names]
            noise = secrets.token_bytes(os.fstat(fds[0]).st_size - HEAD_BYTES)
            while True:
                for fd in fds:
                    os.pwrite(fd, noise, HEAD_BYTES)
                if time.monotonic() >= until_s:
                    return

    return inject


def freeze_counter(names: tuple[str, ...]) -> Callable[[Rig], None]:
    """The rings' counters stay as they are for FOR_S: what is written behind them is never announced."""

    def inject(rig: Rig) -> None:
        until_s = time.monotonic() + FOR_S
        with contextlib.ExitStack() as stack:
            fds = [stack.enter_context(open_memory_file(rig.pid("gaitd"), name, os.O_RDWR)) for name in names]
            frozen = [os.pread(fd, 8, HEAD_BYTES) for fd in fds]
            while time.monotonic() < until_s:
                for fd, counter in zip(fds, frozen, strict=True):
                    os.pwrite(fd, counter, HEAD_BYTES)

    return inject


def crowd(rig: Rig) -> None:
    """Others take all lanes that are left, and more ask for one."""
    others = []
    try:
        for _ in range(3 * LANES):
            others.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            others[-1].settimeout(0.3)
            with contextlib.suppress(OSError):
                others[-1].connect(str(rig.runtime_dir / f"{SHM_CHANNEL}.sock"))
        time.sleep(0.5)
    finally:
        for other in others:
            other.close()


def delete_socket(rig: Rig) -> None:
    """The socket's file is gone: who has a lane keeps it."""
    (rig.runtime_dir / f"{SHM_CHANNEL}.sock").unlink()
