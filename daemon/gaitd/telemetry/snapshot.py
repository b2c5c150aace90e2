"""What the processes' memory holds, taken out of it for a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gaitd.shared.events import Event
from gaitd.shared.frame_ring import message_of
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.memory import read_all
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.telemetry.recording import (
    MachineSample,
    Recording,
    RecordingInfo,
    ShadowSample,
    wall_clock_offset_ns,
)
from gaitd.wire.generated import CauseKind

COUNTED = ("received", "standby", "followed", "steps", "late_steps", "missed", "superseded", "withheld")
Records = npt.NDArray[Any]


class WorkerPlace(NamedTuple):
    """How far a reader has come in a worker's rings."""

    step: int = 0
    frame: int = 0
    event: int = 0
    answered: int = 0
    """The newest message that came to a step."""


class Place(NamedTuple):
    """How far a reader has come in all of them."""

    guard_event: int
    workers: tuple[WorkerPlace, ...]
    """By slot."""
    told_ns: int = 0
    """When a shadow told the newest that was read."""


class Memories:
    """The guardian's and the workers' memory as one source of recordings."""

    def __init__(self, guard: GuardMemory, workers: Sequence[WorkerMemory], launch: TelemetryLaunch) -> None:
        """``workers``: by slot."""
        self.guard = guard
        self.workers = workers
        self.launch = launch
        self.oldest = Place(0, (WorkerPlace(),) * len(workers))
        """From here on all that is there is read."""
        self.machine: deque[MachineSample] = deque(maxlen=max(1, round(launch.recorder.window_s)))
        """One a second (gaitd.telemetry.machine)."""
        self.shadow: deque[ShadowSample] = deque(maxlen=self.machine.maxlen)
        """What a shadow told, one a second."""
        self._manifest = read_all(launch.manifest_fd)

    def begin(self, cause: str) -> Recording:
        """A recording with nothing in it yet."""
        launch, first = self.launch, self.workers[0]
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
            observation_dim=first.shape.observation_dim,
            backend=launch.backends[self.guard.words["backend"]],
        )
        records = first.steps.read_since(first.steps.staged)[0]
        return Recording(info=info, records=records, counters=self._counters(), manifest=self._manifest)

    def read_since(self, empty: Recording, place: Place, *, unsettled: bool) -> tuple[Recording, Place]:
        """What came after ``place`` (``oldest``: all that is there), and the place to go on from.

        ``unsettled``: also a worker's newest step while it is open what becomes of its command.
        """
        events, guard_event = self.guard.events.read_since(place.guard_event)
        records, frames, places = [], [], []
        for worker, at in zip(self.workers, place.workers, strict=True):
            steps, step = worker.steps.read_since(at.step, unsettled=unsettled)
            messages, frame = worker.frames.read_since(at.frame)
            refused, event = worker.events.read_since(at.event)
            answered = messages["index"][messages["step_ns"] != 0]
            newest = int(answered[-1]) if len(answered) else at.answered
            records.append(steps)
            frames.append(messages)
            events += refused
            places.append(WorkerPlace(step, frame, event, newest))
        filled = Recording(
            info=empty.info,
            records=_in_order(records, "infer_end_ns"),
            frames=_in_order(_told_once(frames), "received_ns"),
            events=sorted(events, key=_at),
            machine=list(self.machine) if place == self.oldest else list(self.machine)[-1:],
            shadow=[told for told in self.shadow if told.at_ns > place.told_ns],
            counters=empty.counters,
            manifest=empty.manifest,
        )
        told_ns = self.shadow[-1].at_ns if self.shadow else place.told_ns
        return filled, Place(guard_event, tuple(places), told_ns)

    def _counters(self) -> dict[str, int]:
        words = [worker.words for worker in self.workers]
        refused = {kind: sum(each.row("refused")[kind] for each in words) for kind in CauseKind}
        return {
            **{name: sum(each[name] for each in words) for name in COUNTED},
            **{f"refused_{kind.name.lower()}": count for kind, count in refused.items() if count},
        }


def _told_once(rings: Sequence[Records]) -> list[Records]:
    """Every worker gets every message. What one took to a step stays; the rest is told by one of them.

    At the edge between two parts of a shift a message may still be told twice.
    """
    if len(rings) == 1:
        return list(rings)
    messages = [[message_of(record) for record in ring] for ring in rings]
    took_part = [ring["step_ns"] != 0 for ring in rings]
    answered = [set(compress(*both)) for both in zip(messages, took_part, strict=True)]
    told = []
    for slot, ring in enumerate(rings):
        by_others = set[bytes]().union(*messages[:slot], *answered)
        new = [message not in by_others for message in messages[slot]]
        told.append(ring[took_part[slot] | np.array(new, bool)])
    return told


def _in_order(parts: Sequence[Records], name: str) -> Records:
    if len(parts) == 1:
        return parts[0]
    together = np.concatenate(parts)
    return together[np.argsort(together[name], kind="stable")]


def _at(event: Event) -> int:
    return event.at_ns
