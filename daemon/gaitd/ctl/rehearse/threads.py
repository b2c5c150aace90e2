"""One thread of another process paused, as by a debugger or a page that never comes: the others go on.

Should this process die meanwhile, whatever kills it, the kernel lets the thread go on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from gaitd.errors import GaitdError

IO_THREAD = "ZMQbg/IO/0"
"""ZeroMQ's, in gaitd's processes and in controllers."""
LINK_THREAD = "gaitd-link"
"""The C++ client's, in every controller that is built on it."""
_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000


@contextlib.contextmanager
def paused_thread(thread: int) -> Iterator[None]:
    """Pause it until the end of the block. Raises GaitdError, also without the right to trace it."""
    paused, go_on, failure = threading.Event(), threading.Event(), []

    def trace() -> None:  # only the tracing thread may let go again
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(_SEIZE, thread, None, None) or libc.ptrace(_INTERRUPT, thread, None, None):
            failure.append(os.strerror(ctypes.get_errno()))
            paused.set()
            return
        os.waitpid(thread, _WALL)
        paused.set()
        go_on.wait()
        libc.ptrace(_DETACH, thread, None, None)

    tracer = threading.Thread(target=trace, name="tracer", daemon=True)
    tracer.start()
    paused.wait()
    if failure:
        raise GaitdError(f"thread {thread} cannot be paused: {failure[0]}")
    try:
        yield
    finally:
        go_on.set()
        tracer.join()


def thread_named(process: int, name: str) -> int:
    """The id of the thread of that name. Raises GaitdError when there is none."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                if (task / "comm").read_text().strip() == name:
                    return int(task.name)
    raise GaitdError(f"process {process} has no thread {name}")
