"""The flight recorder: around each damping or failover, or on request, what is in memory becomes a file."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import occasions
from gaitd.shared.memory import Words
from gaitd.system.memory import give_memory_back
from gaitd.telemetry.files import FAILOVER, GUARDIAN_DIED, LOST, ON_PURPOSE, REQUEST, RecordingFiles, cause_of
from gaitd.telemetry.recording import Recording, RecordingWriter
from gaitd.telemetry.say import say
from gaitd.telemetry.snapshot import Memories
from gaitd.wire.generated import Mode, Reason

SETTLE_NS = 100_000_000
"""At least so long after it: the worker's last step has had time to arrive."""


class FlightRecorder:
    """Watches the guardian's words; never raises, for whatever the disk says."""

    def __init__(self, memories: Memories, progress: Words) -> None:
        """``progress`` (gaitd.shared.telemetry_memory) may be that of a recorder before this one."""
        self._memories = memories
        self._guard = memories.guard.words
        recorder = memories.launch.recorder
        self._keep = recorder.keep
        self._after_ns = max(SETTLE_NS, round(recorder.after_s * 1e9))
        self._files = RecordingFiles(Path(recorder.directory))
        self._progress = progress
        self._occasions = progress["occasions"]
        """Dampings and failovers seen so far; the newest may still be due."""
        self._cause: str | None = None
        self._in_session = False
        """What is due happened in a session."""
        self._happened_ns = self._read_ns = 0
        """When that was, and until when memory has been read for the last recording but a failover's."""
        self._due_ns = 0
        self._requested = False

    def request(self) -> None:
        """Record at the next look (safe in a signal handler)."""
        self._requested = True

    def recover(self) -> None:
        """Save what a recorder that was killed had written."""
        for path in self._files.recover():
            say(f"recovered {path}, which was not written to its end")

    def look(self) -> None:
        """Record what is due: some time after it, after a damping at once when another session begins.

        A fault so soon after a failover is in one file with it.
        """
        now_ns = time.monotonic_ns()
        walks_again = self._cause != FAILOVER and self._guard["mode"] == Mode.ACTIVE
        if now_ns >= self._due_ns or walks_again:
            self._finish_pending()
        count = occasions(self._guard)
        if count != self._occasions:
            cause, event = self._latest_occasion()
            if self._cause != FAILOVER or cause in ON_PURPOSE:
                self._finish_pending()
            self._occasions, self._cause = count, cause
            self._in_session = event is not None and event.session != 0
            self._happened_ns = now_ns if event is None else event.at_ns
            self._due_ns = self._happened_ns + self._after_ns
        if self._requested:
            self._requested = False
            self._record(REQUEST, again=True)

    def finish(self, *, guardian_died: bool = False) -> None:
        """The last look, at the end of the process."""
        self.look()
        if guardian_died and self._guard["mode"] == Mode.ACTIVE:
            self._record(GUARDIAN_DIED)
        self._finish_pending()

    def _finish_pending(self) -> None:
        if self._cause is None:
            return
        cause, self._cause = self._cause, None
        try:
            # Its last step may be in a file already that was written just before it happened.
            self._record(cause, again=self._in_session and self._happened_ns >= self._read_ns)
        finally:  # killed before, the next process records it
            self._progress["occasions"] = self._occasions

    def _latest_occasion(self) -> tuple[str, Event | None]:
        """A damping's reason or FAILOVER, and its event."""
        events, _ = self._memories.guard.events.read_since(0)
        for event in reversed(events):
            if event.kind is EventKind.MODE and event.code == Mode.DAMPING:
                return Reason.received(event.reason).name.lower(), event
            if event.kind is EventKind.FAILOVER:
                return FAILOVER, event
        return "damping", None

    def record_lost(self, event: Event) -> None:
        """What is known of a gaitd that died in a session, where nobody wrote a recording of it."""
        with suppress(OSError):
            newest = self._files.newest()
            if newest is None or cause_of(newest) != GUARDIAN_DIED:
                self._write(replace(self._memories.begin(LOST), events=[event]))

    def _record(self, cause: str, *, again: bool = False) -> None:
        """``again``: also what is in a file already."""
        if cause != FAILOVER:  # of which no file explains a damping that came before it was written
            self._read_ns = time.monotonic_ns()
        empty = self._memories.begin(cause)
        recording, place = self._memories.read_since(empty, self._memories.oldest, unsettled=True)
        steps, messages = self._progress.row("recorded"), self._progress.row("recorded_message")
        known = all(
            worker.step <= steps[slot] and worker.answered <= messages[slot]
            for slot, worker in enumerate(place.workers)
        )
        if known and not (again and (len(recording.frames) or len(recording.records))):
            return  # nothing of a session that is not in a file already
        if self._write(recording):
            for slot, worker in enumerate(place.workers):
                steps[slot], messages[slot] = worker.step, worker.answered
        del recording
        give_memory_back()

    def _write(self, recording: Recording) -> bool:
        try:
            with self._files.new(recording.info.cause) as (path, stream):
                writer = RecordingWriter(stream, recording)
                writer.add(recording)
                writer.finish()
                size = stream.tell()
            self._files.keep_newest(self._keep)
        except OSError as error:
            self._progress["recordings_failed"] += 1
            say(f"recording not written to {self._files.directory}: {error.strerror or error}")
            return False
        self._progress["recordings"] += 1
        self._progress["bytes_written"] += size
        why = next((event for event in reversed(recording.events) if event.kind is EventKind.MODE), None)
        said = f": {why.text}" if why is not None and why.text else ""
        say(
            f"recorded {len(recording.records)} steps in {path}{said}",
            recording=path,
            reason=recording.info.cause,
            session=0 if why is None else why.session,
            policy=recording.info.policy_id,
        )
        return True
