"""Real-time settings of the calling process. Each that is not available is reported, with the fix."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq

from gaitd.system.config import Realtime

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PR_SET_NAME = 15
_MAX_CPUS = 1024
"""Of a cpu_set_t (CPU_SET(3))."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One real-time setting and whether it took effect."""

    name: str
    ok: bool
    detail: str
    """What was set, or why not and what to do."""


def apply_realtime(config: Realtime, cpus: Sequence[int], priority: int) -> list[Setting]:
    """Pin the calling thread, prioritize this process, lock its memory, keep its cores awake."""
    if not config.enabled:
        return []
    settings = [_set_fifo(priority)]
    if cpus:
        settings.append(_pin(cpus))
    if config.lock_memory:
        settings.append(_lock_memory())
    if config.cpu_dma_latency:
        settings.append(_hold_cpu_awake())
    return settings


def missing_settings(settings: Sequence[Setting]) -> dict[str, str]:
    """What is not available: name, and why not and what to do."""
    return {setting.name: setting.detail for setting in settings if not setting.ok}


def realtime_context(config: Realtime, priority: int) -> zmq.Context[zmq.Socket[bytes]]:
    """A ZeroMQ context whose I/O thread has the hot threads' priority, where that is allowed.

    libzmq aborts when its thread may not take a priority, so the permission is tried first.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    if config.enabled and may_use_fifo():
        context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_FIFO)
        context.set(zmq.THREAD_PRIORITY, priority)
    return context


def freeze_garbage() -> None:
    """End of start-up: what lives now lives for good; no automatic collection from here on."""
    gc.collect()
    gc.freeze()
    gc.disable()


def use_all_cpus() -> None:
    """Undo the pinning that a child inherits from the guardian.

    The kernel takes those that this process may use and that are there, whatever their numbers. In a
    container, or with CPUs switched off, nothing else tells them.
    """
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, range(_MAX_CPUS))


def name_process(name: str) -> None:
    """Name of the calling thread in ps and top, at most 15 characters."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def may_use_fifo() -> bool:
    """Whether this process may have a real-time priority."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, policy, param)
    except OSError:
        return False
    return True


def _set_fifo(priority: int) -> Setting:
    """Every thread that is there: one of normal priority that waits for a CPU would hold up whoever needs the
    interpreter's lock from it, and the death of the process, which is seen when its last thread has ended."""
    me = threading.get_native_id()
    try:
        for thread in (int(path.name) for path in Path("/proc/self/task").iterdir()):
            # What this thread starts has normal priority. Not so the others: a thread of ZeroMQ that is about
            # to give itself its priority may not take the flag off without a capability, and libzmq aborts.
            policy = os.SCHED_FIFO | (os.SCHED_RESET_ON_FORK if thread == me else 0)
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(thread, policy, os.sched_param(priority))
    except OSError as error:
        fix = f"allow it with LimitRTPRIO={priority} in the unit, or `ulimit -r {priority}`"
        return Setting("sched_fifo", False, f"SCHED_FIFO {priority}: {error.strerror}; {fix}")
    return Setting("sched_fifo", True, f"SCHED_FIFO {priority}")


def _pin(cpus: Sequence[int]) -> Setting:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        usable = sorted(os.sched_getaffinity(0))
        fix = f"usable here are {usable}; set realtime.*_cpus in gaitd.toml"
        return Setting("affinity", False, f"cpus {list(cpus)}: {error.strerror}; {fix}")
    return Setting("affinity", True, f"cpus {list(cpus)}")


def _lock_memory() -> Setting:
    libc = ctypes.CDLL(None, use_errno=True)
    # ONFAULT: what was ever touched stays; whole libraries of which a tenth is used are not pulled in.
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        why = os.strerror(ctypes.get_errno())
        return Setting("mlockall", False, f"{why}; allow it with LimitMEMLOCK=infinity in the unit")
    return Setting("mlockall", True, "touched pages stay in memory")


def _hold_cpu_awake() -> Setting:
    try:
        fd = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
        os.write(fd, struct.pack("=i", 0))  # holds while the descriptor is open: until the process ends
    except OSError as error:
        fix = "give the group gaitd write access with the udev rule that gaitd ships"
        return Setting("cpu_dma_latency", False, f"{error.strerror}; {fix}")
    return Setting("cpu_dma_latency", True, "0 us")
