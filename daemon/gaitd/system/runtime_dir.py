"""The runtime directory: one gaitd's sockets, and the lock that it holds while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from pathlib import Path, PurePath

from gaitd.errors import InputError, ResourceError, error_of, printable

MAX_SOCKET_PATH_BYTES = 107
"""Of a Unix socket: sun_path of unix(7) has 108 with its final zero."""
LONGEST_SOCKET = "command.sock"
CLAIM_WAIT_S = 0.5
"""gaitctl looks at the lock by taking it for a moment."""
HINT = "set daemon.runtime_dir in gaitd.toml, or --runtime-dir, to a directory that only you may write"


def check_socket_path(path: str) -> None:
    """Raise ValueError when the path is none of a socket: too long, not in the file system, not UTF-8."""
    if path.startswith("@"):
        raise ValueError(
            f"{printable(path, 40)} names no file: anybody may connect to a socket whose name begins with @; "
            "take a directory such as /run/gaitd"
        )
    if not path.isascii() and os.fsencode(path).decode(errors="replace") != path:
        raise ValueError(f"{printable(path, 40)} is not UTF-8 text; take a directory such as /run/gaitd")
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH_BYTES:
        raise ValueError(
            f"{printable(path, 40)}... is a socket's path of {size} bytes, a Unix socket may have "
            f"{MAX_SOCKET_PATH_BYTES}; take a shorter directory, such as /run/gaitd"
        )


def check_runtime_dir(directory: PurePath) -> None:
    """Raise InputError when the path of a socket in it would be too long."""
    try:
        check_socket_path(f"{directory}/{LONGEST_SOCKET}")
    except ValueError as error:
        raise InputError(f"runtime directory: {error}") from None


def claim_runtime_dir(directory: Path) -> int:
    """Make the directory (0750) and lock it for this gaitd; the lock holds while the descriptor is open.

    Raises InputError when it cannot be written or when another user could replace what is in it,
    ResourceError when another gaitd has it or the machine has no room for it now.
    """
    check_runtime_dir(directory)
    try:
        _make(directory)
        _check_ownership(directory)
        # Only for the owner: whoever can open it can also lock it, and keep gaitd from starting.
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise error_of(error.errno, f"{error.filename}: {error.strerror}; {HINT}") from None
    until_s = time.monotonic() + CLAIM_WAIT_S
    while not _lock(fd, fcntl.LOCK_EX):
        if time.monotonic() > until_s:
            owner = os.read(fd, 20).decode(errors="replace").strip()
            os.close(fd)
            raise ResourceError(f"{directory}: another gaitd runs here (pid {owner}); stop it first")
        time.sleep(0.02)
    try:
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
    except OSError as error:
        os.close(fd)
        raise error_of(error.errno, f"{directory / 'lock'}: {error.strerror}; {HINT}") from None
    return fd


def is_claimed(directory: Path) -> bool:
    """Whether a gaitd has the directory; what may not be looked at counts as taken."""
    try:
        fd = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        return not _lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _make(directory: Path) -> None:
    """0750, whatever this process's umask withholds from the group."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o750, parents=True)
        directory.chmod(0o750)
        return
    directory.mkdir(exist_ok=True)  # raises where something else is there


def _check_ownership(directory: Path) -> None:
    """Whoever may write in it can put a socket of its own in the place of gaitd's."""
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise InputError(
            f"{directory}: belongs to user {status.st_uid}, gaitd runs as {os.geteuid()}; {HINT}"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"{directory}: mode {stat.S_IMODE(status.st_mode):o}, others may write in it; chmod 750 it, or "
            f"{HINT}"
        )
    lock = directory / "lock"
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(lock.lstat().st_mode):
            raise InputError(f"{lock}: not a file; delete it, or {HINT}")


def _lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
