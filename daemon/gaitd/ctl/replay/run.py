"""The recorded messages through the worker's own step once more.

Each step is judged alone: what it takes from the step before (last action, reference of the slew limit) is
what was recorded of it, so that one difference is counted once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle
from gaitd.ctl.replay.session import Judged, Replayable, SessionReplay
from gaitd.ctl.replay.took import Stopwatch, Took
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.phase import counts_steps
from gaitd.shared.events import Event, EventKind
from gaitd.shared.frame_ring import message_of
from gaitd.shared.guard_memory import SessionSetup
from gaitd.telemetry.recording import Recording
from gaitd.wire.generated import CauseKind, Mode
from gaitd.worker.step import Frame

Records = npt.NDArray[Any]


@dataclass
class Replayed:
    """What came of the recorded steps; rows belong to ``indices`` of the recording's records."""

    indices: list[int] = field(default_factory=list)
    observation: list[npt.NDArray[np.float32]] = field(default_factory=list)
    model_action: list[npt.NDArray[np.float32]] = field(default_factory=list)
    target: list[npt.NDArray[np.float32]] = field(default_factory=list)
    """In the replaying policy's joint order."""
    causes: list[int] = field(default_factory=list)
    """Why an action was rejected, as a CauseKind; 0 when it was accepted."""
    clamped: list[dict[str, int]] = field(default_factory=list)
    """Joints that a limit of the replaying policy held back, by limit."""
    took: list[Took] = field(default_factory=list)
    """From the messages to the target, on this machine."""
    unanswered: list[tuple[int, CauseKind]] = field(default_factory=list)
    """Indices of steps whose state the replaying policy refuses, or whose inference failed, and why."""
    refused: dict[CauseKind, int] = field(default_factory=dict)
    """States refused and actions rejected."""
    unknown_past: int = 0
    """Steps left out, as what came before them is not in the recording."""
    of_others: int = 0
    """Recorded steps of another policy than the recording's first one, which are left out."""
    missing: int = 0
    """Recorded steps whose messages are not in the recording, or make it answer another state now."""


class Replayer:
    """Makes the steps of one recording again."""

    def __init__(self, recording: Recording, bundle: Bundle, backend: Backend) -> None:
        """Raises InputError when the policy's joints are not those of the recording."""
        self._recording = recording
        self._policy = Replayable(bundle, backend, recording.info.joints, "the recording")
        max_age_ns = round(recording.info.state_max_age_s * 1e9)
        self._limits = (
            AdmissionLimits(max_age_ns)
            if max_age_ns
            else AdmissionLimits.for_period(bundle.manifest.period_ns)
        )
        self._oldest_ns = int(min(recording.frames["received_ns"], default=0))
        self._records = {
            (int(record["epoch"]), int(record["step_ns"])): index
            for index, record in enumerate(recording.records)
        }

    def run(self) -> Replayed:
        """All sessions of the recording."""
        result = Replayed()
        sessions = [
            event
            for event in self._recording.events
            if event.kind is EventKind.MODE and event.code == Mode.ACTIVE and event.order
        ]
        of_step = self._recording.frames[self._recording.frames["step_ns"] != 0]
        others = {
            event.epoch for event in self._recording.events if event.kind is EventKind.SWITCH and event.code
        }
        result.of_others = sum(epoch in others for epoch, _ in self._records)
        for epoch, frames in _by(of_step, "epoch"):
            if epoch in others:
                continue
            # What a standby went on with is described by the failover; a session whose beginning is not in
            # the file, by its damping.
            known = [
                event
                for event in [*sessions, *self._recording.events]
                if event.epoch == epoch and event.order
            ]
            if known:
                self._run_session(known[0], frames, result)
        accounted = len(result.indices) + len(result.unanswered) + result.unknown_past + result.of_others
        result.missing = len(self._records) - accounted
        return result

    def _run_session(self, event: Event, frames: Records, result: Replayed) -> None:
        """Where messages are missing, as in a damaged part of the file, it begins anew."""
        holes = np.flatnonzero(np.diff(frames["index"].astype(np.int64)) != 1) + 1
        for number, part in enumerate(np.split(frames, holes)):
            self._run_part(event, part, result, begins=number == 0 and self._begins(event, part))

    def _begins(self, event: Event, frames: Records) -> bool:
        """Whether nothing of the session was before: the ring had not forgotten what came before it."""
        if event.kind is not EventKind.MODE or event.code != Mode.ACTIVE:
            return False
        return int(frames[0]["index"]) == 1 or self._oldest_ns < event.at_ns <= int(frames[0]["received_ns"])

    def _run_part(self, event: Event, frames: Records, result: Replayed, *, begins: bool) -> None:
        setup = SessionSetup(event.session, event.epoch, 0, event.raw, np.array(event.order, np.intp))
        replay = SessionReplay(self._policy, setup, self._limits)
        groups = [list(group) for _, group in groupby(frames, key=lambda frame: int(frame["step_ns"]))]
        unknown = 0.0
        if not begins:
            groups = self._resume(replay, groups, result)
            # While policies change, a target is on its way from the other one's.
            unknown = max(self._policy.depth, event.seq if event.kind is EventKind.SWITCH else 0)
            manifest = self._policy.bundle.manifest
            if manifest.remembers or not all(map(counts_steps, manifest.phases.values())):
                unknown = math.inf  # without its past, a hidden state or a gated phase means nothing
        for group in groups:
            answered = self._answer(replay, event, group, result, known=unknown <= 0)
            unknown -= answered

    def _resume(self, replay: SessionReplay, groups: list[list[Any]], result: Replayed) -> list[list[Any]]:
        """Go on behind the first recorded step: what it was is known, what came before it is not."""
        for place, group in enumerate(groups):
            at_ns = int(group[0]["step_ns"])
            for record in self._recording.records[self._recording.records["step_ns"] == np.uint64(at_ns)]:
                replay.resume(record)
                result.unknown_past += 1
                return groups[place + 1 :]
        return []

    def _answer(
        self, replay: SessionReplay, event: Event, group: Sequence[Any], result: Replayed, *, known: bool
    ) -> bool:
        messages = [Frame(message_of(frame), int(frame["received_ns"])) for frame in group]
        step_ns = int(group[0]["step_ns"])
        watch = Stopwatch()
        outcome = replay.answer(messages, step_ns)
        took = watch.read()
        for refusal in outcome.refusals:
            result.refused[refusal.kind] = result.refused.get(refusal.kind, 0) + 1
        index = self._records.get((event.epoch, step_ns))
        if index is None:
            return False
        record, observation = self._recording.records[index], outcome.observation
        decision, cause = Judged.of(outcome, record)
        if decision is not None and known:
            assert observation is not None
            result.indices.append(index)
            result.observation.append(observation.copy())
            result.model_action.append(decision.model_action.copy())
            result.target.append(decision.target.copy())
            result.causes.append(int(cause))
            result.clamped.append(decision.clamped)
            result.took.append(took)
        elif decision is not None:
            result.unknown_past += 1
        elif cause is not CauseKind.NONE:
            result.unanswered.append((index, cause))
        replay.apply(outcome, record)
        return decision is not None


def _by(records: Records, name: str) -> Iterator[tuple[int, Records]]:
    for value in dict.fromkeys(records[name].tolist()):
        yield int(value), records[records[name] == np.uint64(value)]
