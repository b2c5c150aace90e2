"""What the processes' memory holds, taken out of it for a recording."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from gaitd.shared.events import Event
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.memory import read_all
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.telemetry.recording import MachineSample, Recording, RecordingInfo, wall_clock_offset_ns
from gaitd.wire.generated import CauseKind

COUNTED = ("received", "standby", "steps", "late_steps", "missed", "superseded", "withheld")


class Place(NamedTuple):
    """How far a reader has come in each ring."""

    step: int = 0
    frame: int = 0
    guard_event: int = 0
    worker_event: int = 0


class Memories:
    """Guardian's and worker's memory as one source of recordings."""

    def __init__(self, guard: GuardMemory, worker: WorkerMemory, launch: TelemetryLaunch) -> None:
        self.guard = guard
        self.worker = worker
        self.launch = launch
        self.machine: deque[MachineSample] = deque(maxlen=max(1, round(launch.recorder.window_s)))
        """One a second (gaitd.telemetry.machine)."""
        self._manifest = read_all(launch.manifest_fd)

    def begin(self, cause: str) -> Recording:
        """A recording with nothing in it yet."""
        launch, shape = self.launch, self.worker.shape
        info = RecordingInfo(
            policy_id=launch.policy["id"],
            policy=f"{launch.policy['name']} {launch.policy['version']}",
            bundle=launch.bundle,
            period_s=launch.period_s,
            joints=launch.joints,
            cause=cause,
            clock_offset_ns=wall_clock_offset_ns(),
            deadline_s=launch.deadline_s,
            state_max_age_s=launch.state_max_age_s,
            observation_dim=shape.observation_dim,
            backend=launch.backends[self.guard.words["backend"]],
        )
        records = self.worker.steps.read_since(self.worker.steps.staged)[0]
        return Recording(info=info, records=records, counters=self._counters(), manifest=self._manifest)

    def read_since(self, empty: Recording, place: Place, *, unsettled: bool) -> tuple[Recording, Place]:
        """What came after ``place`` (``Place()``: all that is there), and the place to go on from.

        ``unsettled``: also the newest step while it is open what becomes of its command.
        """
        worker = self.worker
        records, step = worker.steps.read_since(place.step, unsettled=unsettled)
        frames, frame = worker.frames.read_since(place.frame)
        said, guard_event = self.guard.events.read_since(place.guard_event)
        refused, worker_event = worker.events.read_since(place.worker_event)
        filled = Recording(
            info=empty.info,
            records=records,
            frames=frames,
            events=sorted([*said, *refused], key=_at),
            machine=list(self.machine) if place == Place() else list(self.machine)[-1:],
            counters=empty.counters,
            manifest=empty.manifest,
        )
        return filled, Place(step, frame, guard_event, worker_event)

    def _counters(self) -> dict[str, int]:
        words = self.worker.words
        refused = words.row("refused")
        return {
            **{name: words[name] for name in COUNTED},
            **{f"refused_{kind.name.lower()}": refused[kind] for kind in CauseKind if refused[kind]},
        }


def _at(event: Event) -> int:
    return event.at_ns
