"""One thread of another process stopped, as by a debugger or a page that never comes: the others go on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from gaitd.errors import GaitdError

IO_THREAD = "ZMQbg/IO/0"
_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000


@contextlib.contextmanager
def stopped_thread(pid: int, name: str = IO_THREAD) -> Iterator[None]:
    """Stop the thread of that name until the end of the block. Raises GaitdError, needs root."""
    thread = _thread_of(pid, name)
    stopped, go_on, failure = threading.Event(), threading.Event(), []

    def trace() -> None:  # only the tracing thread may let go again
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(_SEIZE, thread, None, None) or libc.ptrace(_INTERRUPT, thread, None, None):
            failure.append(os.strerror(ctypes.get_errno()))
            stopped.set()
            return
        os.waitpid(thread, _WALL)
        stopped.set()
        go_on.wait()
        libc.ptrace(_DETACH, thread, None, None)

    tracer = threading.Thread(target=trace, name="tracer", daemon=True)
    tracer.start()
    stopped.wait()
    if failure:
        raise GaitdError(f"thread {thread} ({name}) cannot be stopped: {failure[0]}")
    try:
        yield
    finally:
        go_on.set()
        tracer.join()


def _thread_of(pid: int, name: str) -> int:
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise GaitdError(f"process {pid} has no thread {name}")
