"""The directory of recordings: numbered files, the newest kept, what a killed process left behind saved.

Files are numbered, as a robot's clock may jump: gaitd-000017-deadline.mcap. A file in the making has another
suffix and a lock: what has the suffix and no lock was left by a process that was killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from gaitd.errors import InputError
from gaitd.telemetry.recording import read_recording
from gaitd.wire.generated import Reason

SHIFT = "shift"
"""Cause of the files that are written continuously."""
REQUEST = "request"
GUARDIAN_DIED = "guardian_died"
FAILOVER = "failover"
"""The standby went on with the session; nothing was damped."""
LOST = "lost"
"""gaitd died in a session and nobody was left to write; the file says no more than that."""
_NAME = re.compile(r"gaitd-(\d{6,})-(\w+)\.mcap(\.part)?")
_SUFFIX_BESIDE = ".part"
ON_PURPOSE = {REQUEST, Reason.OPERATOR.name.lower(), Reason.SHUTDOWN.name.lower()}
"""Causes of recordings that somebody asked for; they push out no recording of a fault."""


class RecordingFiles:
    """One directory. Methods raise OSError as the disk does, unless they say otherwise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def new(self, cause: str) -> Iterator[tuple[Path, IO[bytes]]]:
        """A file that has its name when the block ends; after an error in it, there is none."""
        self.directory.mkdir(parents=True, exist_ok=True)
        number = max((number for number, _, _ in self._all()), default=0) + 1
        path = self.directory / f"gaitd-{number:06d}-{cause}.mcap"
        beside = path.with_name(path.name + _SUFFIX_BESIDE)
        stream = beside.open("xb")
        try:
            with stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                yield path, stream
                stream.flush()
                os.fsync(stream.fileno())
                beside.replace(path)
        except BaseException:
            _remove(beside)
            raise

    def newest(self) -> Path | None:
        """The recording with the highest number, but for those of a whole shift; None where there is none."""
        found = [(number, path) for number, path, beside in self._all() if not beside]
        return max((entry for entry in found if cause_of(entry[1]) != SHIFT), default=(0, None))[1]

    def keep_newest(self, keep: int) -> None:
        """Remove the oldest recordings of faults, and of what was done on purpose, beyond so many of each."""
        for on_purpose in (False, True):
            kind = [
                (number, path)
                for number, path, beside in self._all()
                if not beside and cause_of(path) != SHIFT and (cause_of(path) in ON_PURPOSE) is on_purpose
            ]
            for _, path in sorted(kind)[:-keep]:
                _remove(path)

    def keep_bytes(self, most: int) -> None:
        """Remove the oldest files of a shift until all of them together have at most so many bytes."""
        kept = 0
        for _, path, beside in sorted(self._all(), reverse=True):
            if cause_of(path) != SHIFT or beside:
                continue
            kept += path.lstat().st_size
            if kept > most:
                _remove(path)

    def recover(self) -> list[Path]:
        """Give what killed processes left its name, if there is anything in it; returns those files."""
        saved = []
        with suppress(OSError):
            for _, beside, in_making in sorted(self._all()):
                if in_making and (path := _recovered(beside)) is not None:
                    saved.append(path)
        return saved

    def _all(self) -> list[tuple[int, Path, bool]]:
        """Number, file, and whether it is in the making."""
        try:
            found = list(self.directory.iterdir())
        except FileNotFoundError:
            return []
        matches = ((_NAME.fullmatch(path.name), path) for path in found)
        return [(int(match[1]), path, match[3] is not None) for match, path in matches if match]


def cause_of(path: Path) -> str:
    """What its name says it was made for; empty for another file."""
    match = _NAME.fullmatch(path.name)
    return match[2] if match else ""


def _recovered(beside: Path) -> Path | None:
    """The file under its own name; None when there is nothing in it, it is being written or no file.

    Where others may write to the directory it may be a link or a pipe: those go, unopened.
    """
    with suppress(OSError):
        if not stat.S_ISREG(beside.lstat().st_mode):
            _remove(beside)
            return None
        with open(beside, "rb", opener=_open_itself) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _holds_something(beside):
                return beside.replace(beside.with_name(beside.name.removesuffix(_SUFFIX_BESIDE)))
            _remove(beside)
    return None


def _open_itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _holds_something(path: Path) -> bool:
    try:
        recording = read_recording(path)
    except InputError:
        return False
    return len(recording.records) + len(recording.frames) + len(recording.events) > 0


def _remove(path: Path) -> None:
    """What cannot be removed, as a directory of that name, must not keep the others."""
    with suppress(OSError):
        path.unlink()
