"""The state messages as they came, in the worker's memory: with them every step can be made again."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitd.shared.record_ring import RecordRing, record_of

_HEAD_BYTES = 160
"""Of a message, beside its values: two dozen msgpack heads, five numbers."""
_HEAD = struct.Struct("<4Q")


def message_bytes(joint_count: int, observation_dim: int) -> int:
    """Bytes that a STATE, a RAW_OBSERVATION or a COMMAND has at most, in whole words."""
    values = max(16 + 3 * joint_count, observation_dim + 2 * joint_count, 6 * joint_count)
    return (_HEAD_BYTES + 4 * values + 7) // 8 * 8


def frame_record_dtype(joint_count: int, observation_dim: int) -> np.dtype[Any]:
    """One message as it came; a longer one than any that the contract knows is cut.

    ``step_ns``: when the step that it belongs to began, the same for all messages of one step; 0 without a
    session. ``length``: what the message had.
    """
    size = message_bytes(joint_count, observation_dim)
    numbers = [(name, "<u8") for name in ("received_ns", "step_ns", "epoch", "length")]
    return record_of([*numbers, ("data", "u1", (size,))])


class FrameRing:
    """The newest state messages of a worker, whatever became of them."""

    def __init__(self, mapped: memoryview, record: np.dtype[Any], records: int) -> None:
        """``record``: of ``frame_record_dtype``."""
        self._ring = RecordRing(mapped, record, records)
        self._room = record["data"].itemsize

    def add(self, frames: Iterable[tuple[bytes, int]], step_ns: int, epoch: int) -> None:
        """Worker: these (message, when received) come to a step, or to none (0, 0)."""
        room, append = self._room, self._ring.append
        for data, received_ns in frames:
            head = _HEAD.pack(received_ns, step_ns, epoch, len(data))
            append(head + data[:room].ljust(room, b"\0"))

    def read_since(self, index: int) -> tuple[npt.NDArray[Any], int]:
        """Records after ``index``, oldest first, and the index to go on from."""
        return self._ring.read_since(index)


def message_of(record: np.void) -> bytes:
    """The message, or its beginning where it was cut."""
    return bytes(record["data"][: int(record["length"])].tobytes())
