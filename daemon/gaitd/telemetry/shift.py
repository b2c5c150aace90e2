"""Recording all the time, in files of limited size, where it is configured.

Each file can be read without the ones before it: it begins with what says how the session under way began.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from gaitd.shared.events import Event, EventKind
from gaitd.shared.memory import Words
from gaitd.telemetry.channels import Orders
from gaitd.telemetry.files import SHIFT, RecordingFiles
from gaitd.telemetry.recording import RecordingWriter
from gaitd.telemetry.say import say
from gaitd.telemetry.snapshot import Memories
from gaitd.wire.generated import Mode

TURN_S = 1.0
"""New records are written so often; in a file that is cut, no more than this is missing, and what waits for
its chunk."""
FILE_SHARE = 8
"""A file has at most so small a part of what all of them may have."""
RETRY_S = 60.0
"""After an error of the disk."""


class ShiftRecorder:
    """Appends what is new to the current file; never raises, for whatever the disk says."""

    def __init__(self, memories: Memories, progress: Words) -> None:
        recorder = memories.launch.recorder
        self._memories = memories
        self._progress = progress
        self._files = RecordingFiles(Path(recorder.directory))
        self._most_bytes = recorder.continuous_max_mb * 1_000_000
        self._place = memories.oldest
        self._due_s = 0.0
        self._file = ExitStack()
        self._writer: RecordingWriter | None = None
        self._orders = Orders()
        self._opening: list[Event] = []
        """How the session under way began, and the newest change of who answers it."""
        self._compress = importlib.util.find_spec("zstandard") is not None

    def look(self) -> None:
        """Write what is new, if it is time."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + TURN_S
        try:
            self._append()
        except OSError as error:
            self._give_up(error)

    def finish(self) -> None:
        """The end of the current file."""
        try:
            self._append()
            self._close()
        except OSError as error:
            self._give_up(error)

    def _append(self) -> None:
        empty = self._memories.begin(SHIFT)
        part, place = self._memories.read_since(empty, self._place, unsettled=False)
        if not (len(part.records) or len(part.frames) or part.events):
            return
        if self._writer is None:
            _, self._stream = self._file.enter_context(self._files.new(SHIFT))
            self._writer = RecordingWriter(self._stream, empty, compress=self._compress, orders=self._orders)
            self._writer.add(replace(empty, events=self._opening))
        self._writer.add(part)
        self._place = place
        self._follow(part.events)
        if self._stream.tell() > self._most_bytes // FILE_SHARE:
            self._close()
            self._files.keep_bytes(self._most_bytes - self._most_bytes // FILE_SHARE)

    def _follow(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.kind is EventKind.MODE:
                self._opening = [event] if event.code == Mode.ACTIVE else []
            elif event.order:
                self._opening[1:] = [event]

    def _close(self) -> None:
        if self._writer is None:
            return
        self._writer.finish()
        self._progress["recordings"] += 1
        self._progress["bytes_written"] += self._stream.tell()
        self._writer = None
        self._file.close()

    def _give_up(self, error: OSError) -> None:
        self._progress["recordings_failed"] += 1
        say(f"shift not recorded in {self._files.directory}: {error.strerror or error}; next try in a minute")
        self._writer = None
        self._file.pop_all()  # what is in the file stays, and is recovered at the next start
        self._due_s = time.monotonic() + RETRY_S
