"""A running gaitd's memory files, as its owner or root may reach them through /proc."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from gaitd.errors import GaitdError
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.memory import HEAD_BYTES
from gaitd.shared.worker_memory import WorkerMemory

GUARD_FILE, WORKER_FILE = "gaitd-guard", "gaitd-worker"
READ_ONLY = "r--s"
"""A shared mapping's access in /proc/PID/maps."""


@contextlib.contextmanager
def open_memory_file(gaitd_pid: int, name: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor of one of its memory files, for a moment."""
    for link in Path(f"/proc/{gaitd_pid}/fd").iterdir():
        if f":{name} " in str(link.readlink()):
            fd = os.open(link, flags)
            break
    else:
        raise GaitdError(f"no memory file {name} among gaitd's file descriptors")
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def open_guard_memory(gaitd_pid: int) -> Iterator[GuardMemory]:
    """The guardian's, to read."""
    with open_memory_file(gaitd_pid, GUARD_FILE) as fd:
        yield GuardMemory(fd, writable=False)


@contextlib.contextmanager
def open_worker_memory(gaitd_pid: int, *, writable: bool = False) -> Iterator[WorkerMemory]:
    """The worker's."""
    with open_memory_file(gaitd_pid, WORKER_FILE, os.O_RDWR if writable else os.O_RDONLY) as fd:
        yield WorkerMemory(fd, writable=writable)


def overwrite_guard_memory(gaitd_pid: int, content: bytes) -> None:
    """Write behind the head of the guardian's own mapping, as a debugger may; no other way leads there."""
    with Path(f"/proc/{gaitd_pid}/mem").open("r+b", buffering=0) as mapped:
        mapped.seek(_mapped_at(str(gaitd_pid), GUARD_FILE, "rw-s") + HEAD_BYTES)
        mapped.write(content)


def has_mapped(pid: int, name: str) -> bool:
    """Tell whether a process has mapped a memory file that it may only read."""
    return _mapping(str(pid), name, READ_ONLY) is not None


def write_where_forbidden(name: str) -> None:
    """Write into a memory file that this process may only read, as a wild pointer would: it dies."""
    ctypes.memset(_mapped_at("self", name, READ_ONLY) + HEAD_BYTES, 0xFF, 8)


def _mapped_at(process: str, name: str, access: str) -> int:
    address = _mapping(process, name, access)
    if address is None:
        raise GaitdError(f"process {process} has not mapped {name} as {access}")
    return address


def _mapping(process: str, name: str, access: str) -> int | None:
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        if f":{name} " in line and f" {access} " in line:
            return int(line.split("-")[0], 16)
    return None
