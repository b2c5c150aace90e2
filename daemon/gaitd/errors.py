"""Errors meant for the person who must act; ``exit_code`` is what the program ends with.

Every message says what happened, where (file, joint, field), what was there and what to do. The
command-line programs print it as one line without a traceback.
"""

from __future__ import annotations

import errno
from typing import ClassVar


def printable(text: str, length: int = 1000) -> str:
    """What someone else wrote, fit for a line in a terminal or a log: no breaks, no control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:length])


class GaitdError(Exception):
    """gaitd refused the request, in its own words."""

    exit_code: ClassVar[int] = 1


class InputError(GaitdError):
    """A file, option or value is wrong, or a session is active.

    A restart does not fix it, and systemd tries none.
    """

    exit_code = 2


class GateError(GaitdError):
    """Everything ran, and the result is not good enough.

    ``gaitctl doctor``, ``rehearse``: something must be fixed. ``gaitctl activate``: the new policy did not
    become ready. ``gaitctl shadow``: the candidate is not what the other one is. ``gaitforge``: a gate or a
    bound was not kept; ``simulate``: the robot fell.
    """

    exit_code = 3


class BackendError(GaitdError):
    """The inference runtime or its hardware is not available, or failed."""

    exit_code = 4


class UnreachableError(GaitdError):
    """``gaitctl``: no gaitd answers."""

    exit_code = 5


class CrashLoopError(GaitdError):
    """``gaitd``: the worker died again and again; systemd starts all of it anew."""

    exit_code = 6


class ResourceError(GaitdError):
    """The machine refuses what is needed, for now: descriptors, memory, room on a disk, an address.

    Also another gaitd that runs, and what is to be printed and cannot be. systemd tries again.
    """

    exit_code = 7


class ReplacedError(GaitdError):
    """``gaitd``: its files were replaced while it ran; systemd starts the new one."""

    exit_code = 8


_FOR_NOW = {
    errno.EADDRINUSE,
    errno.EADDRNOTAVAIL,
    errno.EAGAIN,
    errno.EDQUOT,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENETDOWN,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EROFS,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


def error_of(number: int | None, text: str) -> GaitdError:
    """What the system's error ``number`` is: ResourceError where it may pass by itself, else InputError.

    A service manager tries again after the one, not after the other.
    """
    return ResourceError(text) if number in _FOR_NOW else InputError(text)
