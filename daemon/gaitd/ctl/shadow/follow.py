"""The steps of the policy that walks, from the processes' memory, one by one through the candidate.

It reads and nothing else: the memory is mapped read-only, and no message goes to anybody. What it is too slow
for it misses, and counts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gaitd.ctl.replay.session import Judged, Replayable, SessionReplay
from gaitd.ctl.replay.took import Stopwatch, Took
from gaitd.ctl.shadow.tally import JudgedStep, Tally, applied_in
from gaitd.ctl.shadow.terms import TermComparison
from gaitd.policy.admission import AdmissionLimits
from gaitd.shared.events import EventKind
from gaitd.shared.frame_ring import message_of
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.processes import policy_in
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.wire.generated import CauseKind
from gaitd.worker.step import Frame, Outcome

MAX_LAG_S = 2.0
"""Further behind, it goes on with the newest step: its report is about now."""
TURN_S = 0.25
"""Of work in one look, so that somebody hears how it does."""
WALKING = 0
"""Index of the policy that is compared with: the one that gaitd has a standby for, and tells a shadow of."""
NEWEST = 1 << 61
"""Of a ring, whatever its index is."""


class _Place(NamedTuple):
    """How far a worker's rings were read."""

    step: int
    frame: int


@dataclass
class _Waiting:
    """A step as far as it has been read."""

    epoch: int
    frames: list[Frame] = field(default_factory=list)
    record: Any = None


class MemoryFollower:
    """Follows whoever holds the session, from now on; compares with the first policy's workers alone."""

    def __init__(
        self,
        policy: Replayable,
        guard: GuardMemory,
        workers: Sequence[WorkerMemory],
        limits: AdmissionLimits,
        tally: Tally,
        terms: TermComparison,
    ) -> None:
        """``workers``: their memory by slot."""
        self._policy = policy
        self._guard = guard
        self._workers = workers
        self._limits = limits
        self._tally = tally
        self._terms = terms
        self._max_lag = round(MAX_LAG_S / policy.bundle.manifest.control_period_s)
        self._recurrent = policy.bundle.manifest.remembers
        self._places = [_newest(worker) for worker in workers]
        self._waiting: dict[int, _Waiting] = {}
        """By when the step began."""
        self._replay: SessionReplay | None = None
        self._session = self._epoch = self._answered_seq = 0
        self._unknown = 0
        """So many steps more are left out: not all is known that they observe."""
        self._joined = 0
        """The session of which the beginning, or something since, was not seen."""
        self._lose_track()

    def look(self) -> None:
        """Read what is new, and work on it for a while."""
        self._read()
        due = deque(sorted(self._due()))
        if len(due) > self._max_lag:
            self._skip()
            return
        until_s = time.monotonic() + TURN_S
        while due and time.monotonic() < until_s:
            at_ns = due.popleft()
            step = self._waiting.pop(at_ns, None)
            if step is not None:
                self._take(step, at_ns)

    def _due(self) -> list[int]:
        """Steps that are over: they have a record, or a later one has."""
        newest = max((at_ns for at_ns, step in self._waiting.items() if step.record is not None), default=0)
        return [at_ns for at_ns in self._waiting if at_ns <= newest]

    def _read(self) -> None:
        """Records first: whatever has one has its messages in the ring already."""
        for slot, worker in enumerate(self._workers):
            place = self._places[slot]
            records, step = worker.steps.read_since(place.step)
            frames, frame = worker.frames.read_since(place.frame)
            self._places[slot] = _Place(step, frame)
            overwritten = step - place.step - len(records)
            if overwritten > 0 or frame - place.frame > len(frames):
                self._tally.missed += max(0, overwritten)
                self._lose_track()
            for message in frames[frames["step_ns"] != 0]:
                waiting = self._waiting.setdefault(int(message["step_ns"]), _Waiting(int(message["epoch"])))
                waiting.frames.append(Frame(message_of(message), int(message["received_ns"])))
            for record in records:
                at_ns = int(record["step_ns"])
                self._waiting.setdefault(at_ns, _Waiting(int(record["epoch"]))).record = record

    def _skip(self) -> None:
        """Too far behind: go on with what comes now."""
        self._lose_track()
        for slot, worker in enumerate(self._workers):
            newest = _newest(worker)
            self._tally.missed += max(0, newest.step - self._places[slot].step)
            self._places[slot] = newest

    def _lose_track(self) -> None:
        """Something is not known any more: what waits is out of date, and the session's past has a hole."""
        self._tally.missed += sum(step.record is not None for step in self._waiting.values())
        self._waiting.clear()
        self._replay = None
        setup = self._guard.read_session()
        self._joined = 0 if setup is None else setup.session

    def _take(self, step: _Waiting, at_ns: int) -> None:
        if not step.frames:  # they were overwritten, or came before this process looked
            if self._replay is None:
                self._tally.left_out += 1
            else:
                self._tally.missed += 1
                self._lose_track()
            return
        if (self._replay is None or step.epoch != self._epoch) and not self._begin(step):
            return
        assert self._replay is not None
        watch = Stopwatch()
        outcome = self._replay.answer(step.frames, at_ns)
        took = watch.read()
        if step.record is None:
            return  # refused by the worker, or it died
        if int(step.record["seq"]) > self._answered_seq:
            self._judge(outcome, step.record, took)
        else:
            self._tally.left_out += 1  # answered once more after a failover, and compared already
        self._answered_seq = max(self._answered_seq, int(step.record["seq"]))
        self._replay.apply(outcome, step.record)

    def _begin(self, step: _Waiting) -> bool:
        """Take up the step's session; False when this step itself cannot be compared."""
        setup = self._guard.read_session()
        if setup is None or setup.epoch != step.epoch:
            if step.record is not None:  # it is over, or another worker's by now
                self._tally.left_out += 1
                self._replay, self._joined = None, int(step.record["session"])
            return False
        if policy_in(setup.slot) != WALKING:
            self._tally.another_policy += step.record is not None
            self._replay, self._joined = None, setup.session  # on the way back not all is known
            return False
        if self._replay is not None and setup.session == self._session:
            self._epoch = setup.epoch  # the standby went on with it
            return True
        self._session, self._epoch, self._answered_seq = setup.session, setup.epoch, 0
        if setup.session != self._joined:
            self._replay, self._unknown = SessionReplay(self._policy, setup, self._limits), 0
            return True
        self._tally.left_out += step.record is not None
        if self._recurrent or step.record is None or not step.record["sent_ns"]:
            return False  # without its past, a hidden state means nothing: the next session will do
        self._replay = SessionReplay(self._policy, setup, self._limits)
        self._replay.resume(step.record)
        self._unknown = max(self._policy.depth, self._blend_steps(setup.epoch))
        return False

    def _blend_steps(self, epoch: int) -> int:
        """In so many steps of that epoch a target is on its way from that of another policy."""
        events = self._guard.events.read_since(0)[0]
        of_it = (event for event in events if event.kind is EventKind.SWITCH and event.epoch == epoch)
        return max((event.seq for event in of_it), default=0)

    def _judge(self, outcome: Outcome, record: Any, took: Took) -> None:
        decision, cause = Judged.of(outcome, record)
        applied = applied_in(record)
        if decision is None:  # what it refuses needs no past
            if cause is CauseKind.NONE:
                self._tally.left_out += 1
            else:
                self._tally.add(JudgedStep(None, applied, cause, {}, None))
            return
        if self._unknown > 0:
            self._unknown -= 1
            self._tally.left_out += 1
            return
        target = decision.target[self._policy.to_record] if cause is CauseKind.NONE else None
        self._tally.add(JudgedStep(target, applied, cause, decision.clamped, took))
        if outcome.observation is not None:
            self._terms.add(outcome.observation, np.asarray(record["observation"]))


def _newest(worker: WorkerMemory) -> _Place:
    return _Place(worker.steps.settled, worker.frames.read_since(NEWEST)[1])
