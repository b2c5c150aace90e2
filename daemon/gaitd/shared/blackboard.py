"""Shared memory between guardian, worker and telemetry: heartbeats, counters, a ring of step records.

An anonymous memory file that the children inherit: it has no name to delete, and is sealed against shrinking,
which would kill whoever touches it next. Each word has one writer. Single 8-byte words are read and written
whole; what is longer carries a checksum, so a reader on a weakly ordered CPU, or after a crash in mid-write,
sees either a whole record or none.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitd.policy.admission import Refusal
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.shared import lifeline
from gaitd.wire.contract import MAX_JOINTS, Reason

_MAGIC = 0x6761697464303031
RING_RECORDS = 4096
"""49 s of steps at 12 ms."""

GUARD_WORDS = {
    "heartbeat_ns": 1,
    "active_session": 1,
    "mode": 1,
    "reason": 1,
    "session": 1,
    "worker_starts": 1,
    "control_requests": 1,
    "control_refused": 1,
    "damping_by_reason": len(Reason),
}
"""Written by the guardian: name and number of 8-byte words.

``active_session`` is the one session whose commands may be published; 0: none.
"""

WORKER_WORDS = {
    "heartbeat_ns": 1,
    "ready": 1,
    "busy_since_ns": 1,
    "last_state_ns": 1,
    "last_command_ns": 1,
    "last_command_session": 1,
    "last_refusal_ns": 1,
    "last_refusal_reason": 1,
    "trip_session": 1,
    "trip_reason": 1,
    "received": 1,
    "standby": 1,
    "steps": 1,
    "late_steps": 1,
    "missed": 1,
    "superseded": 1,
    "withheld": 1,
    "refused": len(Refusal),
    "rejected": len(Reason),
    "clamped": len(LIMIT_NAMES),
}
"""Written by the worker; counters go on across its restarts.

Every received state ends in exactly one of: standby (session 0, before activate), refused, superseded (into
the history, a newer one was answered), rejected (its action), withheld (the latch fell), steps.
"""

_SESSION_BLOCK = np.dtype(
    [
        ("session", "<u8"),
        ("raw", "<u8"),
        ("joint_count", "<u8"),
        ("policy_from_controller", "<u8", (MAX_JOINTS,)),
        ("checksum", "<u8"),
    ]
)


@dataclass(frozen=True, slots=True)
class SessionSetup:
    """What the worker must know of a session."""

    session: int
    raw: bool
    """The controller sends ready-made observations."""
    policy_from_controller: npt.NDArray[np.intp]
    """values_of_controller[policy_from_controller] is in the policy's joint order."""


def step_record_dtype(joint_count: int) -> np.dtype[Any]:
    """One control step as the worker did it; times are CLOCK_MONOTONIC ns, joints in policy order."""
    return np.dtype(
        [
            ("index", "<u8"),
            ("session", "<u8"),
            ("seq", "<u8"),
            ("state_stamp_ns", "<u8"),
            ("receive_ns", "<u8"),
            ("infer_start_ns", "<u8"),
            ("infer_end_ns", "<u8"),
            ("publish_ns", "<u8"),
            ("reason", "<u8"),
            ("angular_velocity", "<f4", (3,)),
            ("orientation", "<f4", (4,)),
            ("linear_acceleration", "<f4", (3,)),
            ("velocity_command", "<f4", (3,)),
            ("joint_position", "<f4", (joint_count,)),
            ("joint_velocity", "<f4", (joint_count,)),
            ("joint_torque", "<f4", (joint_count,)),
            ("action", "<f4", (joint_count,)),
            ("target", "<f4", (joint_count,)),
            ("checksum", "<u4"),
        ]
    )


class Words:
    """Named 8-byte words in shared memory, read and written whole."""

    __slots__ = ("_rows",)

    def __init__(self, memory: memoryview, layout: Mapping[str, int]) -> None:
        cells = memory.cast("Q")
        self._rows: dict[str, memoryview[int]] = {}
        start = 0
        for name, count in layout.items():
            self._rows[name] = cells[start : start + count]
            start += count

    def __getitem__(self, name: str) -> int:
        return self._rows[name][0]

    def __setitem__(self, name: str, value: int) -> None:
        self._rows[name][0] = value

    def row(self, name: str) -> memoryview[int]:
        """The words of a name that has several."""
        return self._rows[name]


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


class Blackboard:
    """One gaitd's shared memory. The creator passes ``fd`` to its children, which attach."""

    def __init__(self, fd: int, joint_count: int) -> None:
        self.fd = fd
        self.joint_count = joint_count
        record = step_record_dtype(joint_count)
        words = (8 * sum(GUARD_WORDS.values()), 8 * sum(WORKER_WORDS.values()))
        sections = (64, *words, _SESSION_BLOCK.itemsize, 64, lifeline.BYTES)
        offsets = np.cumsum([0, *(_aligned(size) for size in sections)]).tolist()
        size = offsets[-1] + RING_RECORDS * record.itemsize
        if os.fstat(fd).st_size == 0:
            os.ftruncate(fd, size)
        self._map = mmap.mmap(fd, size)
        self._head: npt.NDArray[np.uint64] = np.frombuffer(self._map, "<u8", 2, offsets[0])
        memory = memoryview(self._map)
        self.guard = Words(memory[offsets[1] : offsets[2]], GUARD_WORDS)
        self.worker = Words(memory[offsets[2] : offsets[3]], WORKER_WORDS)
        self._session = np.frombuffer(self._map, _SESSION_BLOCK, 1, offsets[3])
        self._ring_count: npt.NDArray[np.uint64] = np.frombuffer(self._map, "<u8", 1, offsets[4])
        self.lifeline = (ctypes.c_char * lifeline.BYTES).from_buffer(self._map, offsets[5])
        """Memory of the worker's lifeline (gaitd.shared.lifeline)."""
        self._ring = np.frombuffer(self._map, record, RING_RECORDS, offsets[6])

    @classmethod
    def create(cls, joint_count: int) -> Blackboard:
        """Make a new one, all zero."""
        fd = os.memfd_create("gaitd-blackboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        board = cls(fd, joint_count)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        board._head[:] = (_MAGIC, joint_count)
        lifeline.make_lifeline(board.lifeline)
        return board

    @classmethod
    def attach(cls, fd: int) -> Blackboard:
        """Map one that was inherited. Raises RuntimeError when fd is no blackboard."""
        magic, joint_count = np.frombuffer(os.pread(fd, 16, 0), "<u8").tolist()
        if magic != _MAGIC or not 1 <= joint_count <= MAX_JOINTS:
            raise RuntimeError(f"file descriptor {fd} is not a blackboard")
        return cls(fd, joint_count)

    def write_session(self, setup: SessionSetup) -> None:
        """Guardian: lay down a session before ``guard['active_session']`` names it."""
        block = np.zeros(1, _SESSION_BLOCK)
        block["session"], block["raw"] = setup.session, int(setup.raw)
        block["joint_count"] = self.joint_count
        block["policy_from_controller"][0, : self.joint_count] = setup.policy_from_controller
        block["checksum"] = zlib.crc32(block.tobytes()[:-8])
        self._session[:] = block

    def read_session(self, session: int) -> SessionSetup | None:
        """Worker: the setup of that session, or None while it is not whole."""
        block = self._session.copy()
        if block["session"][0] != session or block["checksum"][0] != zlib.crc32(block.tobytes()[:-8]):
            return None
        order = block["policy_from_controller"][0, : self.joint_count].astype(np.intp)
        return SessionSetup(session, bool(block["raw"][0]), order)

    def new_record(self) -> npt.NDArray[Any]:
        """A zeroed step record, shape (1,), for the worker to fill and hand to ``append``."""
        return np.zeros(1, self._ring.dtype)

    def append(self, record: npt.NDArray[Any]) -> None:
        """Worker: add a step record to the ring."""
        index = int(self._ring_count[0]) + 1
        record["index"] = index
        record["checksum"] = zlib.crc32(record.tobytes()[:-4])
        self._ring[index % RING_RECORDS] = record[0]
        self._ring_count[0] = index

    @property
    def steps_written(self) -> int:
        """Number of step records ever written."""
        return int(self._ring_count[0])

    def read_since(self, index: int) -> tuple[npt.NDArray[Any], int]:
        """Whole records after ``index``, oldest first, and the index to go on from.

        Records that were overwritten before they could be read are skipped; the indices tell.
        """
        newest = self.steps_written
        first = max(index + 1, newest - RING_RECORDS + 1)
        records = self._ring[np.arange(first, newest + 1) % RING_RECORDS]
        wanted = np.arange(first, newest + 1, dtype=np.uint64)
        whole = [
            position
            for position, record in enumerate(records)
            if record["index"] == wanted[position] and record["checksum"] == zlib.crc32(record.tobytes()[:-4])
        ]
        return records[whole], newest
