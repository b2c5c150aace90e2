"""A process that must not be in anybody's way: off some cores, behind everybody, first to go without memory."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator, Sequence
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
    for thread in _threads():
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, thread, max(NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def avoid_cpus(cpus: Sequence[int]) -> list[str]:
    """Keep all threads of this process off these cores; returns what is not so, for people."""
    if not cpus:
        return ["realtime.worker_cpus and guardian_cpus are not set: no cores are kept free of the shadow"]
    left = os.sched_getaffinity(0) - set(cpus)
    if not left:
        return [
            f"there are no cores here but {', '.join(map(str, cpus))}, those of the worker and the guardian"
        ]
    for thread in _threads():
        os.sched_setaffinity(thread, left)
    return []


def _threads() -> Iterator[int]:
    for path in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            yield int(path.name)
