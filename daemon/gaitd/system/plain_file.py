"""Files that somebody names: plain ones of bounded size. A pipe or a device would be read for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from gaitd.errors import InputError

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def other_kind(path: Path) -> str:
    """What is at ``path`` instead of a plain file, as "a named pipe"; empty for a plain file. Raises OSError.

    /dev/null is an empty plain file.
    """
    return _other_kind(path.stat())


def _other_kind(status: os.stat_result) -> str:
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev:  # noqa: PTH116
        return ""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "")


def open_plain(path: Path, max_bytes: int) -> BinaryIO:
    """Open a plain file. Raises InputError for anything else and for one that is too large, else OSError."""
    _check(path, path.stat(), max_bytes)  # first: opening a device may do something
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(fd), max_bytes)  # something else may have come to that path since
    except InputError:
        os.close(fd)
        raise
    return os.fdopen(fd, "rb")


def _check(path: Path, status: os.stat_result, max_bytes: int) -> None:
    kind = _other_kind(status)
    if kind:
        raise InputError(f"{path}: is {kind}; a plain file is needed")
    if status.st_size > max_bytes:
        raise InputError(f"{path}: {status.st_size} bytes, more than the {max_bytes} that it may have")


def read_plain(path: Path, max_bytes: int) -> bytes:
    """The content of a plain file. Raises as ``open_plain`` does."""
    with open_plain(path, max_bytes) as stream:
        return stream.read(os.fstat(stream.fileno()).st_size)
