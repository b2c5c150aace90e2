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
        """Whole records after ``index``, oldest first, and the index to go on from.

        What was overwritten before it was read, or is damaged, is skipped; the indices tell.
        """
        newest = self.newest
        wanted = np.arange(max(index + 1, newest - self.records + 1), newest + 1)
        found = self._view[wanted % self.records]
        whole = [
            self._is_whole(record, number) for record, number in zip(found, wanted.tolist(), strict=True)
        ]
        return found[whole], newest

    def _is_whole(self, record: np.void, index: int) -> bool:
        return int(record["index"]) == index and int(record["checksum"]) == zlib.crc32(record.tobytes()[:-8])


def ring_bytes(record: np.dtype[Any], records: int) -> int:
    """Bytes that such a ring takes."""
    return COUNTER_BYTES + records * record.itemsize
