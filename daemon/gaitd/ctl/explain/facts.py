"""The numbers of a recording that an explanation is made of. Times in seconds after the damping."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitd.bundle.read import decode_manifest
from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.shared.events import Event, EventKind
from gaitd.shared.frame_ring import message_of
from gaitd.shared.processes import POLICY_SLOTS, STANDBY, WORKER, WORKERS
from gaitd.telemetry.files import FAILOVER, GUARDIAN_DIED, LOST
from gaitd.telemetry.recording import Recording
from gaitd.wire.codec import decode_either
from gaitd.wire.frame import WireError
from gaitd.wire.generated import CauseKind, Mode, Reason

Float64Array = npt.NDArray[np.float64]
_ABOUT_TIME = frozenset({Reason.DEADLINE, Reason.STATE_STALE, Reason.STATE_LOST, Reason.CLIENT_DEADLINE})
RECENT_S = 1.0
"""What happened so shortly before the damping may have led to it."""


@dataclass(frozen=True)
class Facts:
    """A recording seen from its occasion: the damping or failover that it was made for, else its end."""

    recording: Recording

    @cached_property
    def damping(self) -> Event | None:
        """The change of mode that the file was made for."""
        if self.recording.info.cause in (FAILOVER, GUARDIAN_DIED, LOST):
            return None
        found = [
            event
            for event in self.recording.events
            if event.kind is EventKind.MODE and event.code == Mode.DAMPING
        ]
        named = [
            event
            for event in found
            if Reason.received(event.reason).name.lower() == self.recording.info.cause
        ]
        return next(iter([*reversed(named), *reversed(found)]), None)

    @cached_property
    def failover(self) -> Event | None:
        """Where the standby went on, in a file that was made for that."""
        return self.failovers[-1] if self.recording.info.cause == FAILOVER and self.failovers else None

    @property
    def occasion(self) -> Event | None:
        """What the file was made for."""
        return self.damping or self.failover

    @property
    def session(self) -> int:
        """The session of the occasion, else of the end; 0 for none."""
        modes = [event for event in self.recording.events if event.kind is EventKind.MODE]
        last = self.occasion or next(reversed(modes), None)
        return 0 if last is None else last.session

    @cached_property
    def zero_ns(self) -> int:
        """CLOCK_MONOTONIC at the occasion, else at the end."""
        if self.occasion is not None:
            return self.occasion.at_ns
        frames, records, events = self.recording.frames, self.recording.records, self.recording.events
        ends = [
            *(int(times.max()) for times in (frames["received_ns"], records["infer_end_ns"]) if len(times)),
            *(event.at_ns for event in events[-1:]),
        ]
        return max(ends, default=0)

    @cached_property
    def began_ns(self) -> int:
        """When the session began, 0 where the file does not say."""
        session = self.session
        return next(
            (
                event.at_ns
                for event in self.recording.events
                if event.kind is EventKind.MODE and event.code == Mode.ACTIVE and event.session == session
            ),
            0,
        )

    @cached_property
    def failovers(self) -> list[Event]:
        """Where the standby went on with the session; of all sessions where none was damped."""
        return [
            event
            for event in self.recording.events
            if event.kind is EventKind.FAILOVER
            and (self.damping is None or event.session == self.damping.session)
        ]

    @property
    def was_about_time(self) -> bool:
        """What came too late, or not at all, is behind the occasion."""
        return self.failover is not None or (self.damping is not None and self.damping.reason in _ABOUT_TIME)

    @property
    def holder(self) -> str:
        """The process that answered until then."""
        if self.failover is not None:
            return WORKER.name
        session = None if self.damping is None else self.damping.session
        events = [event for event in self.recording.events if session in (None, event.session)]
        policy = next((event.code for event in reversed(events) if event.kind is EventKind.SWITCH), 0)
        if policy == 0 and any(event.kind is EventKind.FAILOVER for event in events):
            return STANDBY.name
        return WORKERS[POLICY_SLOTS[min(policy, len(POLICY_SLOTS) - 1)]].name

    @property
    def on_npu(self) -> bool:
        """Whether that process may have inferred on the NPU: all others are on the CPU."""
        return self.holder == WORKER.name and self.recording.info.backend != "onnx"

    @property
    def period_s(self) -> float:
        """The control period."""
        return self.recording.info.period_s

    @property
    def deadline_s(self) -> float:
        """How long a session may go without a command."""
        return self.recording.info.deadline_s or 5 * self.period_s

    def seconds(self, at_ns: npt.NDArray[Any]) -> Float64Array:
        """CLOCK_MONOTONIC times as seconds after the damping."""
        return (at_ns.astype(np.int64) - self.zero_ns) / 1e9

    def second(self, at_ns: int) -> float:
        """The same of one time."""
        return (at_ns - self.zero_ns) / 1e9

    @cached_property
    def steps(self) -> npt.NDArray[Any]:
        """The records of the session; of the newest one where none is named."""
        records = self.recording.records
        if not len(records):
            return records
        session = self.session
        own = records[records["session"] == np.uint64(session)] if session else records[:0]
        return own if len(own) or session else records[records["session"] == records["session"][-1]]

    @cached_property
    def begun(self) -> Float64Array:
        """(steps,) when each step's state was received."""
        return self.seconds(self.steps["receive_ns"])

    @cached_property
    def before(self) -> npt.NDArray[np.bool_]:
        """(steps,) whether its state was received before the damping."""
        return self.begun <= 0

    @cached_property
    def recent(self) -> npt.NDArray[np.bool_]:
        """(steps,) those of the last RECENT_S before the damping."""
        return self.before & (self.begun > -RECENT_S)

    @cached_property
    def earlier(self) -> npt.NDArray[np.bool_]:
        """(steps,) those before that: how it was when all was well."""
        return self.before & ~self.recent

    @cached_property
    def sent(self) -> npt.NDArray[np.bool_]:
        """(steps,) whether its command went out."""
        return np.asarray(self.steps["sent_ns"] != 0)

    @cached_property
    def age_s(self) -> Float64Array:
        """(steps,) from the state's stamp to its command; nan where none went out."""
        age = self._difference("sent_ns", "state_stamp_ns")
        return np.where(self.sent, age, np.nan)

    @cached_property
    def inference_s(self) -> Float64Array:
        """(steps,)"""
        return self._difference("infer_end_ns", "infer_start_ns")

    @cached_property
    def transport_s(self) -> Float64Array:
        """(steps,) from the state's stamp to its reception."""
        return self._difference("receive_ns", "state_stamp_ns")

    @cached_property
    def waiting_s(self) -> Float64Array:
        """(steps,) from the state's reception to the inference."""
        return self._difference("infer_start_ns", "receive_ns")

    def _difference(self, end: str, start: str) -> Float64Array:
        return (self.steps[end].astype(np.int64) - self.steps[start].astype(np.int64)) / 1e9

    @cached_property
    def tracking_error(self) -> Float64Array:
        """(steps, n) rad: how far each joint is from the last step's target; 0 where that is no position."""
        steps = self.steps
        if len(steps) < 2:
            return np.zeros((len(steps), len(self.recording.info.joints)))
        error = np.zeros(steps["target"].shape)
        error[1:] = np.abs(steps["joint_position"][1:] - steps["target"][:-1])
        error[:, ~self._follows_position] = 0.0
        return error

    @cached_property
    def _follows_position(self) -> npt.NDArray[np.bool_]:
        """(n,) of a policy whose manifest cannot be read, all."""
        try:
            return ActionMapper(decode_manifest(self.recording.manifest, "the recording")).follow("position")
        except InputError:
            return np.ones(len(self.recording.info.joints), np.bool_)

    @cached_property
    def held_back(self) -> npt.NDArray[np.bool_]:
        """(steps, n) whether a limit held that joint back."""
        accepted = self.steps["cause"] == 0
        with np.errstate(invalid="ignore"):  # a model may answer what is not finite
            changed = np.abs(self.steps["action"] - self.steps["model_action"]) > 1e-6
        return np.asarray(accepted[:, None] & changed)

    @cached_property
    def refusals(self) -> list[Event]:
        """States refused and actions rejected in the last RECENT_S of the session, and just after."""
        return [
            event
            for event in self.recording.events
            if event.kind is EventKind.REFUSAL and -RECENT_S < self.second(event.at_ns) < 0.05
        ]

    @cached_property
    def received(self) -> Float64Array:
        """(messages,) when each arrived, whatever became of it."""
        return self.seconds(self.recording.frames["received_ns"])

    @cached_property
    def stamps_ns(self) -> npt.NDArray[np.int64]:
        """(messages,) when each state was sampled; 0 where the message cannot be read."""
        info = self.recording.info
        stamps = np.zeros(len(self.recording.frames), np.int64)
        for index, record in enumerate(self.recording.frames):
            with suppress(WireError):
                state = decode_either(message_of(record), info.observation_dim, len(info.joints))
                stamps[index] = min(state.stamp_ns, 2**62)
        return stamps

    @property
    def begins_s(self) -> float:
        """When the first thing was recorded, of the messages and steps."""
        starts = [*self.received[:1], *self.begun[:1]]
        return min(map(float, starts), default=0.0)

    def silence_before_s(self) -> float:
        """From the last message of any kind to the damping."""
        earlier = self.received[self.received <= 0]
        return float(-earlier[-1]) if len(earlier) else float("inf")

    def last_command_s(self) -> float:
        """When the last command went out; -inf without any."""
        times = self.seconds(self.steps["sent_ns"][self.sent])
        return float(times[times <= 0].max(initial=-np.inf))

    def long_rehearsals(self, after_s: float) -> list[float]:
        """How long the model held up the worker with no state to answer, s, in those that ended after that.

        They began before the occasion.
        """
        found = [event for event in self.recording.events if event.kind is EventKind.REHEARSAL]
        times = [(self.second(event.at_ns), event.code / 1e6) for event in found]
        return [lasted for ended, lasted in times if after_s < ended < lasted]

    def lines(self, part: str, after_s: float = -60.0) -> list[Event]:
        """Lines of the log that hold ``part``."""
        return [
            event
            for event in self.recording.events
            if event.kind is EventKind.LOG and part in event.text and self.second(event.at_ns) > after_s
        ]

    def count_refused(self) -> dict[CauseKind, int]:
        """How many of ``refusals`` by their cause."""
        counts: dict[CauseKind, int] = {}
        for event in self.refusals:
            counts[event.cause.kind] = counts.get(event.cause.kind, 0) + 1
        return counts
