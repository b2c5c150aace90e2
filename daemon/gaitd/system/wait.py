"""Waiting for descriptors of any number, finer than a millisecond: ppoll(2), which Python lacks.

select() knows only the first 1024 descriptors, poll() of the library only whole milliseconds.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
from collections.abc import Sequence

from gaitd.system.timer import Timespec


class _Pollfd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


_LIBC = ctypes.CDLL(None, use_errno=True)


def wait_readable(fds: Sequence[int], timeout_s: float) -> list[int]:
    """Those that can be read, or have failed; none when the time is over, or a signal came before.

    Raises OSError.
    """
    polled = (_Pollfd * len(fds))(*[_Pollfd(fd, select.POLLIN, 0) for fd in fds])
    left_ns = max(0, round(timeout_s * 1e9))
    timeout = Timespec(left_ns // 1_000_000_000, left_ns % 1_000_000_000)
    found = _LIBC.ppoll(polled, ctypes.c_ulong(len(fds)), ctypes.byref(timeout), None)
    if found < 0 and (code := ctypes.get_errno()) != errno.EINTR:
        raise OSError(code, os.strerror(code), "ppoll")
    return [each.fd for each in polled if each.revents] if found > 0 else []
