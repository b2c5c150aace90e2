"""A block of shared memory longer than a word, with a checksum instead of a lock."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


class CheckedBlock:
    """One writer replaces the whole block; a reader sees it whole or not at all."""

    def __init__(self, mapped: memoryview, fields: np.dtype[Any]) -> None:
        """``mapped``: ``size_of(fields)`` bytes, or more, of a memory file."""
        layout = _with_checksum(fields)
        self._stored = np.frombuffer(mapped, layout, 1)
        self._scratch = np.zeros(1, layout)

    def write(self, **values: object) -> None:
        """Writer: every field's new value."""
        for name, value in values.items():
            self._scratch[name] = value
        self._scratch["checksum"] = _checksum(self._scratch)
        self._stored[:] = self._scratch

    def read(self) -> np.void | None:
        """The fields as they were written last; None before the first time, and while it is being written."""
        block = self._stored.copy()
        if block["checksum"][0] != _checksum(block):
            return None
        newest: np.void = block[0]
        return newest


def size_of(fields: np.dtype[Any]) -> int:
    """Bytes of a block with these fields."""
    return _with_checksum(fields).itemsize


def _with_checksum(fields: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype([*fields.descr, ("checksum", "<u8")])


def _checksum(block: npt.NDArray[np.void]) -> int:
    """Of all but the checksum itself; that of zeros is not zero."""
    return zlib.crc32(block.tobytes()[:-8])
