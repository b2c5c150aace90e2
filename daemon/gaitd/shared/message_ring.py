"""A ring of messages in a memory file, as proto/README.md ("Shared memory") has it: one writer, many readers.

Python has no barriers. On x86 a reader sees stores in their order; on ARM64 it may see the counter before
the record. A record counts only with its index and a checksum that fits, and one that does not fit yet is
looked at again; an eventfd that is written afterwards wakes a reader that sees all of it, since the kernel
takes a lock on both sides. proto/cpp's gaitd/ring.hpp is the same with barriers.
"""

from __future__ import annotations

import enum
import struct
import zlib
from typing import NamedTuple

from gaitd.shared.memory import aligned
from gaitd.wire.generated import RING_MAGIC

_HEAD = struct.Struct("<5Q")
_COUNTER_AT, _RECORDS_AT = 64, 128
_RECORD_HEAD = struct.Struct("<QII")
"""Index, length, checksum."""
_RECORD_HEAD_BYTES = _RECORD_HEAD.size
_LOW = 0xFFFFFFFF
_MIX = 0x9E3779B1
"""The index goes into the checksum times this: by itself, a change of the first bytes could undo its own."""


class RingKind(enum.IntEnum):
    """What a memory file's messages are."""

    STATE = 1
    COMMAND = 2
    GUARD = 3
    STREAM = 4


class RingShape(NamedTuple):
    """How many messages there are in a ring, and how long each may be."""

    records: int
    room: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return _RECORDS_AT + self.records * aligned(_RECORD_HEAD_BYTES + self.room)


def ring_head(kind: RingKind, number: int, shape: RingShape) -> bytes:
    """What the file begins with. ``number``: of the lane or the slot."""
    return _HEAD.pack(RING_MAGIC, kind, number, *shape)


class RingWriter:
    """The one writer of a ring."""

    __slots__ = ("_counter", "_mapped", "_records", "_room", "_stride")

    def __init__(self, mapped: memoryview, shape: RingShape) -> None:
        """Goes on after the newest message that is there."""
        self._counter = mapped[_COUNTER_AT : _COUNTER_AT + 8].cast("Q")
        self._mapped = mapped
        self._records, self._room = shape
        self._stride = aligned(_RECORD_HEAD_BYTES + shape.room)

    def append(self, data: bytes) -> None:
        """The next message. Raises ValueError when it is longer than the room for it."""
        length = len(data)
        if not 0 < length <= self._room:
            raise ValueError(f"a message of {length} bytes; there is room for 1 to {self._room}")
        index = self._counter[0] + 1 & 0xFFFFFFFFFFFFFFFF
        start = _RECORDS_AT + index % self._records * self._stride
        record = _RECORD_HEAD.pack(index, length, zlib.crc32(data, index * _MIX & _LOW)) + data
        self._mapped[start : start + len(record)] = record
        self._counter[0] = index


class RingReader:
    """Takes messages one after the other; what was overwritten before, or is damaged, is left out."""

    __slots__ = ("_counter", "_doubted", "_mapped", "_records", "_room", "_stride", "_taken", "damaged")

    def __init__(self, mapped: memoryview, shape: RingShape) -> None:
        """Begins with the oldest that is there."""
        self._counter = mapped[_COUNTER_AT : _COUNTER_AT + 8].cast("Q")
        self._mapped = mapped
        self._records, self._room = shape
        self._stride = aligned(_RECORD_HEAD_BYTES + shape.room)
        self._taken = 0
        self._doubted = 0
        """The newest message when one was not whole: up to there, what is not whole later is damaged."""
        self.damaged = 0

    def begin(self) -> None:
        """The ring has been emptied."""
        self._taken = self._doubted = 0

    def skip(self) -> None:
        """What is there is not wanted."""
        self._taken = self._counter[0]

    @property
    def has_more(self) -> bool:
        """Whether ``take`` may find one."""
        return self._counter[0] != self._taken

    def take(self) -> bytes | None:
        """The oldest message that is still there and was not taken; None: there is none yet."""
        newest = self._counter[0]
        while newest != self._taken:
            ahead = newest - self._taken
            if not 0 < ahead < self._records:  # overwritten, or the counter was set to something else
                self._taken = newest - 1 if ahead < 0 else newest - self._records + 1
            index = self._taken + 1
            data = self._read(index)
            if data is None and self._doubted < index:
                self._doubted = newest
                return None
            self._taken = index
            if data is not None:
                return data
            self.damaged += 1
        return None

    def take_newest(self) -> bytes | None:
        """The newest message, unless it was taken; those before it are passed over. None: none yet."""
        newest = self._counter[0]
        if newest == self._taken:
            return None
        data = self._read(newest)
        if data is None and self._doubted != newest:
            self._doubted = newest
            return None
        self._taken = newest
        self.damaged += data is None
        return data

    def _read(self, index: int) -> bytes | None:
        start = _RECORDS_AT + index % self._records * self._stride
        found, length, checksum = _RECORD_HEAD.unpack_from(self._mapped, start)
        if found != index or not 0 < length <= self._room:
            return None
        start += _RECORD_HEAD_BYTES
        data = bytes(self._mapped[start : start + length])
        return data if zlib.crc32(data, index * _MIX & _LOW) == checksum else None
