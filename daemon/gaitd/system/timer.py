"""A periodic timer as a file descriptor (timerfd), which Python has from 3.13 on only."""

from __future__ import annotations

import ctypes
import os

_CLOCK_MONOTONIC = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC


class Timespec(ctypes.Structure):
    """As the kernel takes it."""

    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", Timespec), ("it_value", Timespec))


def periodic_timer(period_ns: int) -> int:
    """Return a descriptor that becomes readable every period_ns, on CLOCK_MONOTONIC. Raises OSError."""
    fd: int = _LIBC.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd")
    set_period(fd, period_ns)
    return fd


def set_period(fd: int, period_ns: int) -> None:
    """From now on it becomes readable every period_ns; first after one of them. Raises OSError."""
    every = Timespec(period_ns // 1_000_000_000, period_ns % 1_000_000_000)
    if _LIBC.timerfd_settime(fd, 0, ctypes.byref(_Itimerspec(every, every)), None) != 0:
        raise OSError(ctypes.get_errno(), "timerfd")
