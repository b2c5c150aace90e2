"""The flight recorder: when damping begins, or somebody asks, the ring's last steps become a file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.memory import Words
from gaitd.shared.step_ring import StepRing
from gaitd.telemetry.recording import RecordingInfo, wall_clock_offset_ns, write_recording
from gaitd.telemetry.say import say
from gaitd.wire.generated import Reason

_NAME = re.compile(r"gaitd-(\d{6,})-(\w+)\.mcap")
_SUFFIX_BESIDE = ".part"
_REQUEST = "request"
_ON_PURPOSE = {_REQUEST, Reason.OPERATOR.name.lower(), Reason.SHUTDOWN.name.lower()}
"""Causes of recordings that somebody asked for; they push out no recording of a fault."""


class FlightRecorder:
    """Watches the guard's words; never raises, for whatever the disk says.

    Files are numbered, as a robot's clock may jump: gaitd-000017-deadline.mcap. The newest are kept, those of
    faults and those of what was done on purpose each for themselves.
    """

    def __init__(
        self, guard: GuardMemory, rings: Sequence[StepRing], progress: Words, launch: TelemetryLaunch
    ) -> None:
        """``rings``: of the workers by slot.

        ``progress`` (gaitd.shared.telemetry_memory) may be that of a recorder before this one.
        """
        self._guard = guard.words
        self._rings = rings
        self._launch = launch
        self._directory = Path(launch.recorder.directory)
        self._progress = progress
        self._dampings = progress["dampings_recorded"]
        """Seen so far; the newest may still be due."""
        self._cause: str | None = None
        self._requested = False

    def request(self) -> None:
        """Record at the next look (safe in a signal handler)."""
        self._requested = True

    def look(self) -> None:
        """Record what the last look found due; so the worker's last step has had time to arrive."""
        if self._cause is not None:
            try:
                self._record(self._cause)
            finally:  # killed in between, the next process records it
                self._progress["dampings_recorded"] = self._dampings
            self._cause = None
        dampings = self._count_dampings()
        if dampings != self._dampings:
            self._dampings = dampings
            self._cause = Reason(self._guard["reason"]).name.lower()
            # Damped and already released: the guard's words speak of the release.
            if self._cause == Reason.NONE.name.lower():
                self._cause = "damping"
        elif self._requested:
            self._cause = _REQUEST
        self._requested = False

    def finish(self) -> None:
        """The last looks, at the end of the process."""
        self.look()
        self.look()

    def _count_dampings(self) -> int:
        return sum(self._guard.row("damping_by_reason"))

    def _record(self, cause: str) -> None:
        found = [ring.read_since(0, unsettled=True) for ring in self._rings]
        recorded = self._progress.row("recorded")
        newest = [index for _, index in found]
        records = np.concatenate([each for each, _ in found])
        if newest == recorded[: len(newest)].tolist() or not len(records):
            return  # nothing that is not in a file already
        records = records[np.argsort(records["infer_end_ns"], kind="stable")]
        launch = self._launch
        info = RecordingInfo(
            policy_id=launch.policy["id"],
            policy=f"{launch.policy['name']} {launch.policy['version']}",
            bundle=launch.bundle,
            period_s=launch.period_s,
            joints=launch.joints,
            cause=cause,
            clock_offset_ns=wall_clock_offset_ns(),
        )
        beside: Path | None = None
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            numbers = self._numbered()
            path = self._directory / f"gaitd-{max(numbers, default=0) + 1:06d}-{cause}.mcap"
            beside = path.with_name(path.name + _SUFFIX_BESIDE)
            with beside.open("wb") as stream:
                write_recording(stream, records, info)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
            for slot, index in enumerate(newest):
                recorded[slot] = index
            self._keep_newest()
        except OSError as error:
            say(f"recording not written to {self._directory}: {error.strerror or error}")
            if beside is not None:
                with suppress(OSError):
                    beside.unlink(missing_ok=True)
            return
        say(f"recorded {len(records)} steps in {path}")

    def _numbered(self) -> dict[int, Path]:
        matches = ((_NAME.fullmatch(path.name), path) for path in self._directory.iterdir())
        return {int(match[1]): path for match, path in matches if match}

    def _keep_newest(self) -> None:
        numbered = self._numbered()
        for on_purpose in (False, True):
            kind = [number for number, path in numbered.items() if _is_on_purpose(path) is on_purpose]
            for number in sorted(kind)[: -self._launch.recorder.keep]:
                _remove(numbered[number])
        for path in self._directory.glob(f"gaitd-*.mcap{_SUFFIX_BESIDE}"):
            _remove(path)  # of a process that was killed


def _is_on_purpose(recording: Path) -> bool:
    match = _NAME.fullmatch(recording.name)
    return match is not None and match[2] in _ON_PURPOSE


def _remove(path: Path) -> None:
    """What cannot be removed, as a directory of that name, must not keep the others."""
    with suppress(OSError):
        path.unlink()
