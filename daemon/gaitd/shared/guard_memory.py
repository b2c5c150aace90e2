"""The guardian's memory: the lease, the session, and what it says of itself. Only the guardian writes it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.shared import events, memory
from gaitd.shared.checked_block import CheckedBlock, size_of
from gaitd.shared.events import EventRing
from gaitd.shared.lanes import LANES
from gaitd.shared.memory import Words, aligned
from gaitd.shared.processes import WORKERS
from gaitd.wire.generated import MAX_JOINTS, Reason


class FailoverKind(enum.IntEnum):
    """Why a standby took over."""

    DIED = 0
    SILENT = 1
    ERRORS = 2


GUARD_WORDS = {
    "mode": 1,
    "reason": 1,
    "worker_ready": len(WORKERS),
    "worker_starts": len(WORKERS),
    "worker_pid": len(WORKERS),
    "backend": len(WORKERS),
    "holder": 1,
    "failovers": len(FailoverKind),
    "last_worker": 1,
    "switches": 1,
    "control_requests": 1,
    "control_refused": 1,
    "peers_disconnected": 1,
    "damping_by_reason": len(Reason),
    "lanes": LANES,
}
"""Name and number of 8-byte words; of workers by slot. ``holder``: the slot that the session is with.
``last_worker``: no other one could go on for it. ``switches``: changes of policy within a session.
``lanes``: of each, the number of the connection that has it, counted from 1; 0: it is free."""

_SESSION = np.dtype(
    [
        ("session", "<u8"),
        ("epoch", "<u8"),
        ("slot", "<u8"),
        ("raw", "<u8"),
        ("policy_from_controller", "<u8", (MAX_JOINTS,)),
    ]
)
_LAYOUT = f"guard {GUARD_WORDS} {_SESSION.descr} {events.LAYOUT}"


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """What a worker must know of a session."""

    session: int
    epoch: int
    slot: int
    """Of the worker that holds the lease."""
    raw: bool
    """The controller sends ready-made observations."""
    policy_from_controller: npt.NDArray[np.intp]
    """values_of_controller[policy_from_controller] is in the policy's joint order."""


class GuardMemory:
    """The guardian's memory file, as its owner or as a reader."""

    def __init__(self, fd: int, *, writable: bool) -> None:
        """Raises ReplacedError when ``fd`` is no such file of this version."""
        self.fd = fd
        (self.joint_count,) = memory.read_head(fd, _LAYOUT)
        mapped = memory.map_memory(fd, writable=writable)
        self._lease = mapped[_LEASE : _LEASE + 8].cast("Q")
        self.words = Words(mapped[_WORDS:_BLOCK], GUARD_WORDS)
        self._session = CheckedBlock(mapped[_BLOCK:_EVENTS], _SESSION)
        self.events = EventRing(mapped[_EVENTS:])
        """Mode changes, and the lines of the log."""

    @classmethod
    def create(cls, joint_count: int) -> GuardMemory:
        """Make one; the caller is the only writer there will ever be."""
        fd = memory.create_memory("gaitd-guard", _SIZE, memory.make_head(_LAYOUT, joint_count))
        owned = cls(fd, writable=True)
        memory.forbid_new_writers(fd)
        return owned

    @property
    def lease(self) -> int:
        """The lease word (gaitd.shared.lease)."""
        return self._lease[0]

    @lease.setter
    def lease(self, word: int) -> None:
        self._lease[0] = word

    def write_session(self, setup: SessionSetup) -> None:
        """Guardian: write a session before the lease names its epoch."""
        order = np.zeros(MAX_JOINTS, np.intp)
        order[: self.joint_count] = setup.policy_from_controller
        self._session.write(
            session=setup.session,
            epoch=setup.epoch,
            slot=setup.slot,
            raw=int(setup.raw),
            policy_from_controller=order,
        )

    def read_session(self) -> SessionSetup | None:
        """The newest session, or None while it is not whole."""
        block = self._session.read()
        if block is None:
            return None
        session, epoch, slot, raw = (int(block[name]) for name in ("session", "epoch", "slot", "raw"))
        order = block["policy_from_controller"][: self.joint_count].astype(np.intp)
        return SessionSetup(session, epoch, slot, bool(raw), order)


def occasions(words: Words) -> int:
    """How often something happened of which a recording is made: dampings and failovers."""
    return sum(words.row("damping_by_reason")) + sum(words.row("failovers"))


_LEASE = memory.HEAD_BYTES
_WORDS = _LEASE + 64
_BLOCK = _WORDS + aligned(8 * sum(GUARD_WORDS.values()))
_EVENTS = _BLOCK + aligned(size_of(_SESSION))
_SIZE = _EVENTS + events.BYTES
