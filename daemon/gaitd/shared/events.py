"""What happened, as a ring in the memory of the process it happened in: mode changes, log lines, refusals."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaitd.shared.record_ring import RecordRing, record_of, ring_bytes
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.generated import MAX_JOINTS, CauseKind

MAX_TEXT_BYTES = 320
MAX_NAME_BYTES = 64
EVENTS = 1024
_NO_JOINT = 0xFF
_FIELDS = [
    ("at_ns", "<u8"),
    ("kind", "<u8"),
    ("session", "<u8"),
    ("epoch", "<u8"),
    ("seq", "<u8"),
    ("code", "<u8"),
    ("reason", "<u8"),
    ("cause", "<u8"),
    ("number", "<f8"),
    ("bound", "<f8"),
    ("joint", "u1"),
    ("raw", "u1"),
    ("joints", "u1"),
    ("order", "u1", (MAX_JOINTS,)),
    ("name", f"S{MAX_NAME_BYTES}"),
    ("text", f"S{MAX_TEXT_BYTES}"),
]
_RECORD = record_of(_FIELDS)
_BODY = np.dtype(_FIELDS)
BYTES = ring_bytes(_RECORD, EVENTS)
LAYOUT = f"{_RECORD.descr} {EVENTS}"


class EventKind(enum.IntEnum):
    """What kind of thing happened."""

    MODE = 1
    """The guardian's mode or session changed; ``code`` is the Mode."""
    LOG = 2
    """A line of the guardian's log; ``code`` is its level as in Python's logging."""
    REFUSAL = 3
    """The worker refused a state or rejected an action."""
    ERROR = 4
    """The worker ends with an error that is none of gaitd's own."""
    FAILOVER = 5
    """The standby goes on with the session under this epoch; ``code`` is the FailoverKind."""
    REHEARSAL = 6
    """The model held up the worker with no state to answer; ``code`` is for how long, in microseconds."""
    SWITCH = 7
    """The session is with another policy under this epoch; ``code`` is its index, ``seq`` how many steps the
    change takes, ``text`` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened."""

    at_ns: int
    """CLOCK_MONOTONIC."""
    kind: EventKind
    session: int = 0
    epoch: int = 0
    seq: int = 0
    """Of the newest state that was taken, for a refusal."""
    code: int = 0
    reason: int = 0
    """A Reason."""
    cause: Cause = NO_CAUSE
    """Its joint in the policy's order."""
    raw: bool = False
    """MODE and FAILOVER: the session's controller builds the observations."""
    order: Sequence[int] = ()
    """MODE and FAILOVER: values_of_controller[order] is in the policy's joint order."""
    name: str = ""
    """The controller's, for MODE."""
    text: str = ""


class EventRing:
    """A process's newest EVENTS events in its memory."""

    def __init__(self, mapped: memoryview) -> None:
        """``mapped``: BYTES of a memory file."""
        self._ring = RecordRing(mapped, _RECORD, EVENTS)
        self._body = np.zeros((), _BODY)

    @property
    def newest(self) -> int:
        """How many events there were."""
        return self._ring.newest

    def write(self, event: Event) -> None:
        """Writer: this happened."""
        body, cause = self._body, event.cause
        body["at_ns"], body["kind"], body["code"] = event.at_ns, event.kind, event.code
        body["session"], body["epoch"], body["seq"] = event.session, event.epoch, event.seq
        body["reason"], body["cause"] = event.reason, cause.kind
        body["number"] = np.nan if cause.number is None else cause.number
        body["bound"] = np.nan if cause.bound is None else cause.bound
        body["joint"] = _NO_JOINT if cause.joint is None else cause.joint
        body["raw"], body["joints"] = event.raw, len(event.order)
        body["order"][: len(event.order)] = event.order
        body["name"] = event.name.encode(errors="replace")[:MAX_NAME_BYTES]
        body["text"] = event.text.encode(errors="replace")[:MAX_TEXT_BYTES]
        self._ring.append(body.tobytes())

    def read_since(self, index: int) -> tuple[list[Event], int]:
        """Events after ``index``, oldest first, and the index to go on from."""
        records, newest = self._ring.read_since(index)
        return [_event(record) for record in records if record["kind"] in _KINDS], newest


_KINDS = set(EventKind)


def _event(record: np.void) -> Event:
    joint, number, bound = int(record["joint"]), float(record["number"]), float(record["bound"])
    cause = Cause(
        CauseKind.received(int(record["cause"])),
        None if joint == _NO_JOINT else joint,
        None if np.isnan(number) else number,
        None if np.isnan(bound) else bound,
    )
    return Event(
        at_ns=int(record["at_ns"]),
        kind=EventKind(int(record["kind"])),
        session=int(record["session"]),
        epoch=int(record["epoch"]),
        seq=int(record["seq"]),
        code=int(record["code"]),
        reason=int(record["reason"]),
        cause=cause if cause.kind is not CauseKind.NONE else NO_CAUSE,
        raw=bool(record["raw"]),
        order=tuple(record["order"][: record["joints"]].tolist()),
        name=bytes(record["name"]).decode(errors="replace"),
        text=bytes(record["text"]).decode(errors="replace"),
    )
