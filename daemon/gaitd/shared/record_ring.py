"""A ring of records of one size in a memory file: one writer, any number of readers, the oldest overwritten.

A record carries its index and a checksum, so a reader takes it whole or not at all.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

COUNTER_BYTES = 64
_COUNT_MASK = (1 << 62) - 1


def record_of(fields: list[tuple[Any, ...]]) -> np.dtype[Any]:
    """The dtype of a record with these fields: its index before them, a checksum behind them."""
    return np.dtype([("index", "<u8"), *fields, ("checksum", "<u8")])


def read_after(
    records: npt.NDArray[Any], checked: int, index: int, newest: int
) -> tuple[npt.NDArray[Any], int]:
    """Whole records of a ring after ``index`` up to ``newest``, oldest first, and the index to go on from.

    A record is at its index modulo their number; its checksum is of its first ``checked`` bytes. Records at
    the end whose bytes have not all arrived are left for the next call. What was overwritten before it was
    read, or is damaged though a newer one is whole, is skipped; the indices tell.
    """
    wanted = np.arange(max(index + 1, newest - len(records) + 1), newest + 1)
    found = records[wanted % len(records)]
    pairs = list(zip(found, wanted.tolist(), strict=True))
    whole = [_is_whole(record, number, checked) for record, number in pairs]
    left = 0
    for (record, number), is_whole in zip(reversed(pairs), reversed(whole), strict=True):
        if is_whole or int(record["index"]) > number:
            break
        left += 1
    return found[whole], newest - left


def _is_whole(record: np.void, index: int, checked: int) -> bool:
    return int(record["index"]) == index and int(record["checksum"]) == zlib.crc32(record.tobytes()[:checked])


class RecordRing:
    """Records in order of their index, which counts from 1."""

    def __init__(self, mapped: memoryview, record: np.dtype[Any], records: int) -> None:
        """``mapped``: ``ring_bytes(record, records)`` bytes of a memory file."""
        self.record = record
        self.records = records
        self._size = record.itemsize
        self._counter = mapped[:8].cast("Q")
        self._memory = mapped[COUNTER_BYTES : COUNTER_BYTES + records * self._size]
        self._view = np.frombuffer(self._memory, record, records)

    @property
    def newest(self) -> int:
        """Index of the newest record, 0 before the first."""
        return self._counter[0] & _COUNT_MASK

    def append(self, body: bytes) -> None:
        """Writer: the next record; ``body`` is all of it between index and checksum."""
        index = (self._counter[0] + 1) & _COUNT_MASK
        content = index.to_bytes(8, "little") + body
        start = index % self.records * self._size
        self._memory[start : start + self._size] = content + zlib.crc32(content).to_bytes(8, "little")
        self._counter[0] = index

    def read_since(self, index: int) -> tuple[npt.NDArray[Any], int]:
        """Whole records after ``index``, and the index to go on from: as ``read_after``."""
        return read_after(self._view, self._size - 8, index, self.newest)


def ring_bytes(record: np.dtype[Any], records: int) -> int:
    """Bytes that such a ring takes."""
    return COUNTER_BYTES + records * record.itemsize
