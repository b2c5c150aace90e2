"""A note on the disk while a session is active: the next gaitd finds it when this one died in the session."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from gaitd.errors import InputError
from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import GuardMemory
from gaitd.system.plain_file import read_plain
from gaitd.telemetry.say import say
from gaitd.wire.generated import Mode

FILE = "active-session.json"
MAX_BYTES = 4096
_RUN_BITS = 20
"""Sessions of one run of gaitd differ only in so many low bits (gaitd.guardian.main)."""


class Note(msgspec.Struct, frozen=True):
    """What is written."""

    session: int
    policy: str
    since: str
    """UTC, for people: a robot's clock may be wrong."""


class SessionNote:
    """Follows the guardian's mode; never raises, for whatever the disk says."""

    def __init__(self, guard: GuardMemory, directory: Path, policy: str) -> None:
        self._guard = guard
        self._file = directory / FILE
        self._policy = policy
        self._noted = 0
        self._said = ""

    def report_lost(self) -> Event | None:
        """Say, and return, what an earlier gaitd left; nothing where this one's telemetry was replaced."""
        try:
            note = msgspec.json.decode(read_plain(self._file, MAX_BYTES), type=Note)
        except OSError:
            return None
        except InputError as error:  # gaitd writes none such
            say(f"{error}; it goes, as it is no note of gaitd's")
            self._put(0)
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            note = Note(0, "an unknown policy", "an unknown time")
        latest = self._guard.read_session()
        if latest is not None and latest.session >> _RUN_BITS == note.session >> _RUN_BITS:
            self._noted = note.session
            return None
        text = (
            f"the last gaitd died in session {note.session} of {note.policy}, active since {note.since}; "
            "the log's lines before this start may say why"
        )
        say(text)
        self._put(0)
        return Event(at_ns=time.monotonic_ns(), kind=EventKind.ERROR, session=note.session, text=text)

    def look(self) -> None:
        """Have the note on the disk while, and only while, a session is active."""
        latest = self._guard.read_session()
        active = latest is not None and self._guard.words["mode"] == Mode.ACTIVE
        session = latest.session if latest is not None and active else 0
        if session != self._noted:
            self._put(session)

    def _put(self, session: int) -> None:
        self._noted = session
        try:
            if session == 0:
                self._file.unlink(missing_ok=True)
                return
            self._file.parent.mkdir(parents=True, exist_ok=True)
            since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._file.unlink(missing_ok=True)  # others may write here: it is made, not opened
            with self._file.open("xb") as stream:
                stream.write(msgspec.json.encode(Note(session, self._policy, since)) + b"\n")
        except OSError as error:
            text = f"{self._file}: {error.strerror}; if gaitd dies now, its next start will not tell"
            if text != self._said:
                say(text)
            self._said = text
