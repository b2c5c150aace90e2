"""The ring of step records: what a worker did, step by step.

A record is staged before its command is sent, and marked once it went out. A worker that dies in between
leaves a record that says so; nothing that may have reached the controller is missing here.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gaitd.shared.record_ring import read_after

RECORDS = 4096
"""Unless told otherwise."""
COUNTERS_BYTES = 64
_COUNT_MASK = (1 << 62) - 1
"""No index is larger: from a count that a stray write has damaged, both sides go on as from any other."""
PADDING = "padding"
TIMES = (
    "index",
    "session",
    "epoch",
    "seq",
    "state_stamp_ns",
    "receive_ns",
    "infer_start_ns",
    "infer_end_ns",
    "step_ns",
    "cause",
    "clamped_position",
    "clamped_slew",
    "clamped_torque",
    "clamped_velocity",
    "clamped_acceleration",
    "clamped_torque_rate",
)
_TIMES = struct.Struct(f"<{len(TIMES)}Q")


def step_record_dtype(joint_count: int, observation_dim: int = 0) -> np.dtype[Any]:
    """One control step; times are CLOCK_MONOTONIC ns, joints in the policy's order.

    ``cause``: the CauseKind for which the action was rejected, so that there was no command. ``clamped_...``:
    joints that a limit held back. ``observation``: before normalization. ``sent_ns`` is 0 while the command
    is not known to have left; it is written later, beside the checksum.
    """
    joints = (joint_count,)
    entries: list[tuple[str, str, tuple[int, ...]]] = [(name, "<u8", ()) for name in TIMES]
    entries += [
        ("angular_velocity", "<f4", (3,)),
        ("orientation", "<f4", (4,)),
        ("linear_acceleration", "<f4", (3,)),
        ("velocity_command", "<f4", (3,)),
        ("joint_position", "<f4", joints),
        ("joint_velocity", "<f4", joints),
        ("joint_torque", "<f4", joints),
        ("action", "<f4", joints),
        ("target", "<f4", joints),
        ("model_action", "<f4", joints),
        ("observation", "<f4", (observation_dim,)),
        ("checksum", "<u4", ()),
    ]
    if (13 + 6 * joint_count + observation_dim) % 2 == 0:
        entries.append((PADDING, "<u4", ()))
    return np.dtype([*entries, ("sent_ns", "<u8", ())])


class StepTimes(NamedTuple):
    """The integers of a step record but for its index."""

    session: int
    epoch: int
    seq: int
    state_stamp_ns: int
    receive_ns: int
    infer_start_ns: int
    infer_end_ns: int
    step_ns: int = 0
    cause: int = 0
    clamped_position: int = 0
    clamped_slew: int = 0
    clamped_torque: int = 0
    clamped_velocity: int = 0
    clamped_acceleration: int = 0
    clamped_torque_rate: int = 0


class StepRing:
    """A worker's last steps in its memory; one writer, any number of readers."""

    def __init__(
        self, mapped: memoryview, joint_count: int, observation_dim: int = 0, records: int = RECORDS
    ) -> None:
        """``mapped``: COUNTERS_BYTES and that many records of a worker's memory."""
        self.dtype = dtype = step_record_dtype(joint_count, observation_dim)
        self.records = records
        self._size = dtype.itemsize
        self._counters = mapped[:16].cast("Q")
        self._memory = mapped[COUNTERS_BYTES : COUNTERS_BYTES + records * self._size]
        self._cells = self._memory.cast("Q")
        self._records = np.frombuffer(self._memory, dtype, records)
        assert dtype.fields is not None
        self._checked = int(dtype.fields["checksum"][1])
        scratch = bytearray(self._size)
        self._scratch = memoryview(scratch)
        values = (self._checked - 8 * len(TIMES)) // 4
        self._values = np.frombuffer(scratch, "<f4", values, 8 * len(TIMES))

    @property
    def staged(self) -> int:
        """Index of the newest record, 0 before the first."""
        return self._counters[0] & _COUNT_MASK

    @property
    def settled(self) -> int:
        """Index up to which it is known what became of the commands."""
        return self._counters[1] & _COUNT_MASK

    @property
    def _next(self) -> int:
        return (self._counters[0] + 1) & _COUNT_MASK

    def settle(self) -> None:
        """Worker: nothing more becomes of the newest record; it was withheld, or its writer died."""
        self._counters[1] = self._counters[0]

    def compose(self, times: StepTimes, values: tuple[npt.NDArray[np.float32], ...]) -> None:
        """Worker: make the next record, beside the ring. ``values``: its float arrays in order."""
        _TIMES.pack_into(self._scratch, 0, self._next, *times)
        np.concatenate(values, out=self._values)
        scratch, checked = self._scratch, self._checked
        scratch[checked : checked + 4] = zlib.crc32(scratch[:checked]).to_bytes(4, "little")

    def stage(self) -> None:
        """Worker: the composed record enters the ring, not sent. It is there before its command can leave."""
        index = self._next
        start = index % self.records * self._size
        self._memory[start : start + self._size] = self._scratch
        self._counters[0] = index

    def mark_sent(self, now_ns: int) -> None:
        """Worker: the newest record's command went out."""
        index = self.staged
        self._cells[(index % self.records + 1) * self._size // 8 - 1] = now_ns
        self._counters[1] = index

    def read_since(self, index: int, *, unsettled: bool = False) -> tuple[npt.NDArray[Any], int]:
        """Whole records after ``index``, oldest first, and the index to go on from.

        As ``read_after``. ``unsettled``: also the newest record while it is open what becomes of its command.
        """
        newest = self.staged if unsettled else self.settled
        return read_after(self._records, self._checked, index, newest)
