"""The runtime directory: made, and locked for one gaitd."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gaitd.errors import InputError


def claim_runtime_dir(directory: Path) -> int:
    """Make the directory (0750) and lock it for this gaitd; the lock holds while the descriptor is open.

    Raises InputError when it cannot be written or another gaitd has it.
    """
    lock = directory / "lock"
    hint = "set daemon.runtime_dir in gaitd.toml, or --runtime-dir, to a directory that you may write"
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; {hint}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(fd, 20).decode(errors="replace").strip()
        os.close(fd)
        raise InputError(f"{directory}: another gaitd runs here (pid {owner}); stop it first") from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd
