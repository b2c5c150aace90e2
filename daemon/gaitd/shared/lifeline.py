"""The worker's lifeline: a lock that it holds for life and that the kernel breaks the moment it dies.

A process's pidfd becomes readable only when the kernel has taken down all of its memory: 4 to 24 ms were
seen for 75 MB of locked pages on a loaded machine, two control periods. A robust lock in shared memory
(pthread_mutexattr_setrobust) is broken before that, and wakes whoever waits for it: 0.3 ms there. Where the
kernel has none of these, the pidfd tells, a little later.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import mmap
import os
import platform
import time

from gaitd.shared.memory import create_memory

_PTHREAD_PROCESS_SHARED = 1
_PTHREAD_MUTEX_ROBUST = 1
_GET_ROBUST_LIST = {"x86_64": 274, "aarch64": 100}
"""System call numbers (asm/unistd_64.h, asm-generic/unistd.h)."""
HAND_OVER_S = 1.0
BYTES = 64
"""Room for a pthread_mutex_t: 40 bytes on x86_64, 48 on aarch64 (glibc)."""

LifelineMemory = ctypes.Array[ctypes.c_char]


def create_lifeline() -> int:
    """Make the lock in a memory file of its own: holder and watcher both write it. Returns its descriptor.

    Damage there hides a death from the lock only: the pidfd still tells. Raises OSError.
    """
    fd = create_memory("gaitd-lifeline", BYTES, b"")
    libc = ctypes.CDLL(None)
    attributes = (ctypes.c_char * 64)()
    libc.pthread_mutexattr_init(attributes)
    libc.pthread_mutexattr_setpshared(attributes, _PTHREAD_PROCESS_SHARED)
    libc.pthread_mutexattr_setrobust(attributes, _PTHREAD_MUTEX_ROBUST)
    code = libc.pthread_mutex_init(map_lifeline(fd), attributes)
    if code != 0:
        raise OSError(code, os.strerror(code), "robust lock")
    return fd


def map_lifeline(fd: int) -> LifelineMemory:
    """The lock's memory in this process."""
    return (ctypes.c_char * BYTES).from_buffer(mmap.mmap(fd, BYTES))


def lifeline_works() -> bool:
    """Whether the kernel keeps robust locks for this thread; an emulated user land may not."""
    number = _GET_ROBUST_LIST.get(platform.machine())
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    return (
        number is not None
        and ctypes.CDLL(None).syscall(number, 0, ctypes.byref(head), ctypes.byref(size)) == 0
    )


def hold_lifeline(memory: LifelineMemory) -> None:
    """Hold the lock until the calling thread, the worker's main one, dies. Raises OSError."""
    if not lifeline_works():
        return
    # The kernel finds the lock at the process's end only if it is still mapped then: never let go of it.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
    libc = ctypes.CDLL(None)
    until_s = time.monotonic() + HAND_OVER_S
    while (code := libc.pthread_mutex_trylock(memory)) == errno.EBUSY and time.monotonic() < until_s:
        time.sleep(0.005)  # whoever heard of the last holder's death has not let go yet
    if code == errno.EOWNERDEAD:  # the one before died while nobody watched
        code = libc.pthread_mutex_consistent(memory)
    if code != 0:
        raise OSError(code, os.strerror(code), "robust lock")


def watch_lifeline(memory: LifelineMemory, broken_fd: int, priority: int | None) -> None:
    """Write to the eventfd ``broken_fd`` once when the present holder has died.

    The lock must be held when this is called. ``priority``: SCHED_FIFO of the watching thread. Raises OSError
    when there can be no such thread: the pidfd tells then, too.
    """
    if not lifeline_works():
        return

    def watch() -> None:
        if priority is not None:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        libc = ctypes.CDLL(None)
        if libc.pthread_mutex_lock(memory) == errno.EOWNERDEAD:
            os.write(broken_fd, (1).to_bytes(8, "little"))
            libc.pthread_mutex_consistent(memory)
        libc.pthread_mutex_unlock(memory)

    try:
        _thread.start_new_thread(watch, ())  # threading's would wait until the thread runs
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
