"""What the limits of the unit hold back, tried for real: prints a line for what succeeded.

These need controllers of cgroup v2 and rlimits that a container does not have: they are tried on the whole
emulated board.
"""

import mmap
import os
import threading
from collections.abc import Callable

MORE_THAN_MEMORY_MAX = 900 << 20
MORE_THAN_TASKS_MAX = 100


def attempt(name: str, action: Callable[[], object]) -> None:
    """In a child: what goes too far may be killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] == 0:
        print(f"can {name}", flush=True)


def take_memory() -> None:
    block = mmap.mmap(-1, MORE_THAN_MEMORY_MAX)
    for offset in range(0, MORE_THAN_MEMORY_MAX, 4096):
        block[offset] = 1


def take_threads() -> None:
    done = threading.Event()
    try:
        for _ in range(MORE_THAN_TASKS_MAX):
            threading.Thread(target=done.wait, daemon=True).start()
    finally:
        done.set()


def rise(priority: int) -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


def lock_memory() -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).mlockall(3) != 0:
        raise OSError(ctypes.get_errno(), "mlockall")


attempt("start 100 threads", take_threads)
attempt("use SCHED_FIFO 70", lambda: rise(70))
attempt("use SCHED_FIFO 90", lambda: rise(90))
attempt("lock its memory", lock_memory)
attempt("take 900 MiB", take_memory)  # last: systemd ends a unit in which this is held back
