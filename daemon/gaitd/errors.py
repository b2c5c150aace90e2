"""Errors meant for the person who must act, and the exit code of each kind.

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
    """Base of every error that a user can fix; ``exit_code`` is what the program ends with."""

    exit_code: ClassVar[int] = 1


class InputError(GaitdError):
    """A file, option or value from the user is wrong (bundle, config, command line)."""

    exit_code = 2


class GateError(GaitdError):
    """A quality gate failed: everything ran, and the result is not good enough."""

    exit_code = 3


class BackendError(GaitdError):
    """The inference runtime or its hardware is not available, or failed."""

    exit_code = 4


class UnreachableError(GaitdError):
    """No gaitd answers at the given endpoint."""

    exit_code = 5


class CrashLoopError(GaitdError):
    """The worker died again and again; the service manager should take over."""

    exit_code = 6


class ResourceError(GaitdError):
    """The machine refuses what is needed, for now: descriptors, memory, room on a disk, an address."""

    exit_code = 7


class ReplacedError(GaitdError):
    """gaitd's code was replaced while it ran: the old and the new do not fit together."""

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
