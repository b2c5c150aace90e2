"""Who may change what a file says: its owner, and whoever may put another one in its place.

sshd asks the same before it believes a file (StrictModes in sshd_config(5)).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gaitd.errors import InputError

_MAX_LINKS = 40
"""As the kernel follows; path_resolution(7)."""


def check_trusted(path: Path) -> None:
    """Raise InputError where somebody besides root and this process's user may change or replace a file.

    The file itself, the links to it and every directory on the way must be owned by root or by that user, and
    the directories writable by nobody else, unless they are sticky as /tmp is. Raises OSError too.
    """
    me = os.geteuid()
    for place in _way(path):
        status = place.lstat()
        if status.st_uid not in (0, me):
            raise InputError(
                f"{path}: {_of(place, path)}belongs to user {status.st_uid}, who may put other keys there; "
                f"chown it to root, or to user {me} that reads it"
            )
        shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        if stat.S_ISDIR(status.st_mode) and shared:
            raise InputError(
                f"{path}: {_of(place, path)}has mode {stat.S_IMODE(status.st_mode):04o}: others may put "
                f"another file there; chmod go-w {place}"
            )


def _of(place: Path, path: Path) -> str:
    return "" if place == path else f"{place}, on the way to it, "


def _way(path: Path) -> Iterator[Path]:
    """Every directory in which a name is looked up, every link that is followed, and the file at the end."""
    place, names, links = Path("/"), list(reversed(path.absolute().parts[1:])), 0
    yield place
    while names:
        name = names.pop()
        entry = place.parent if name == ".." else place / name
        yield entry
        if not entry.is_symlink():
            place = entry
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = entry.readlink()
        place = Path("/") if target.is_absolute() else place
        names += reversed(target.parts[1:] if target.is_absolute() else target.parts)
