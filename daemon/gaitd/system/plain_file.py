"""Files that somebody names: plain ones of bounded size. A pipe or a device would be read for ever."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO

from gaitd.errors import InputError

LEASE_WAIT_S = 1.0
"""Whoever has a file under a lease, as Samba has, gives it up when somebody else opens it (fcntl(2))."""
_RETRY_S = 0.02
_PIECE_BYTES = 64 * 1024

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


def is_there(path: Path) -> bool:
    """Whether something has that name. Raises OSError where that cannot be known, or a link leads nowhere.

    Path.exists() takes such a link, in the way to it too, for a file that nobody made.
    """
    for place in (path, *path.parents):
        try:
            status = place.lstat()
        except FileNotFoundError:
            continue
        try:
            place.stat()
        except FileNotFoundError:
            if not stat.S_ISLNK(status.st_mode):
                continue  # deleted in this moment
            target = f"a link to {os.readlink(place)}, where nothing is"  # noqa: PTH115
            raise FileNotFoundError(errno.ENOENT, target, str(place)) from None
        return place == path
    return False


def open_plain(path: Path, max_bytes: int) -> BinaryIO:
    """Open a plain file; waits LEASE_WAIT_S at most for who has it under a lease.

    Raises InputError for anything else and for one that is too large, else OSError.
    """
    _check(path, path.stat(), max_bytes)  # first: opening a device may do something
    fd = _open(path)
    try:
        _check(path, os.fstat(fd), max_bytes)  # something else may have come to that path since
    except InputError:
        os.close(fd)
        raise
    return os.fdopen(fd, "rb")


def _open(path: Path) -> int:
    until_s = time.monotonic() + LEASE_WAIT_S
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except BlockingIOError:
            if time.monotonic() > until_s:
                held = "another program, such as a file server, has it under a lease; try again in a minute"
                raise BlockingIOError(errno.EAGAIN, held, str(path)) from None
        time.sleep(_RETRY_S)


def _check(path: Path, status: os.stat_result, max_bytes: int) -> None:
    kind = _other_kind(status)
    if kind:
        raise InputError(f"{path}: is {kind}; a plain file is needed")
    if status.st_size > max_bytes:
        raise InputError(f"{path}: {status.st_size} bytes, more than the {max_bytes} that it may have")


def read_to_end(stream: BinaryIO, path: Path, max_bytes: int) -> bytes:
    """The content of what ``open_plain`` opened, whatever size it says that it has: /proc's say 0.

    Raises InputError when there is more than ``max_bytes``, or no end.
    """
    pieces, size = [], 0
    wanted = os.fstat(stream.fileno()).st_size or _PIECE_BYTES
    while piece := stream.read(wanted):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise InputError(f"{path}: more than the {max_bytes} bytes that it may have")
        wanted = min(_PIECE_BYTES, max_bytes + 1 - size)
    if piece is None:
        raise InputError(f"{path}: has no end but what comes later; a plain file is needed")
    return b"".join(pieces)


def read_plain(path: Path, max_bytes: int) -> bytes:
    """The content of a plain file. Raises as ``open_plain`` does."""
    with open_plain(path, max_bytes) as stream:
        return read_to_end(stream, path, max_bytes)
