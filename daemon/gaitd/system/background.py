"""A process that must be in nobody's way: off some cores, behind everybody, first to go without memory."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path

NICE = 10
OOM_SCORE = 1000
"""The kernel kills it before any other process (proc_pid_oom_score_adj(5))."""


def keep_out_of_the_way(most_bytes: int) -> None:
    """Make this process so, for good.

    ``most_bytes``: of private memory, beyond which it gets MemoryError. The kernel counts what is mapped, not
    what is resident, and neither shared memory nor the files' cache (RLIMIT_DATA in setrlimit(2)).
    """
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    _for_each_thread(_step_back)


def avoid_cpus(cpus: Sequence[int]) -> list[str]:
    """Keep all threads of this process off these cores; returns what is not so, for people."""
    if not cpus:
        return ["realtime.worker_cpus and guardian_cpus are not set: no cores are kept free of it"]
    left = os.sched_getaffinity(0) - set(cpus)
    if not left:
        return ["there are no cores here but those of the worker and the guardian"]
    _for_each_thread(lambda thread: os.sched_setaffinity(thread, left))
    return []


def _step_back(thread: int) -> None:
    """Normal scheduling, and behind whoever has not stepped back."""
    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def _for_each_thread(change: Callable[[int], None]) -> None:
    for path in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            change(int(path.name))
