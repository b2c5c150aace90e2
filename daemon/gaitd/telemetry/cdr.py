"""ROS 2 messages whose instances differ in their numbers only, many at a time.

In CDR, the encoding of ROS 2, a message of fixed texts and fixed lengths has every number at a fixed place.
So its layout is a numpy dtype, and thousands of messages are one array: none is encoded by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_HEAD = b"\x00\x01\x00\x00"
"""Little-endian CDR."""


class Layout:
    """Where the numbers of one kind of message lie, and the bytes around them. Built field by field."""

    def __init__(self) -> None:
        self._template = bytearray(_HEAD)
        self._fields: dict[str, tuple[np.dtype[Any], int]] = {}

    def number(self, name: str, kind: str, shape: tuple[int, ...] = ()) -> Layout:
        """A number, or an array of fixed length; ``kind`` as numpy's, ``<f8``."""
        dtype = np.dtype((kind, shape))
        if dtype.itemsize:
            self._align(dtype.base.itemsize)
        self._fields[name] = (dtype, len(self._template))
        self._template += bytes(dtype.itemsize)
        return self

    def numbers(self, name: str, kind: str, count: int) -> Layout:
        """An array without a length of its own in the schema, of ``count`` numbers in each message."""
        self.count(count)
        return self.number(name, kind, (count,))

    def constant(self, kind: str, value: int) -> Layout:
        """The same number in each message."""
        data = np.array(value, kind).tobytes()
        self._align(len(data))
        self._template += data
        return self

    def text(self, text: str) -> Layout:
        """The same text in each message."""
        data = text.encode(errors="replace") + b"\0"
        self.count(len(data))
        self._template += data
        return self

    def texts(self, texts: Sequence[str]) -> Layout:
        """The same array of texts in each message."""
        self.count(len(texts))
        for text in texts:
            self.text(text)
        return self

    def count(self, count: int) -> Layout:
        """How many follow, where that is the same in each message."""
        return self.constant("<u4", count)

    @property
    def dtype(self) -> np.dtype[Any]:
        """One message."""
        return np.dtype(
            {
                "names": list(self._fields),
                "formats": [kind for kind, _ in self._fields.values()],
                "offsets": [offset for _, offset in self._fields.values()],
                "itemsize": len(self._template),
            }
        )

    def rows(self, count: int) -> tuple[npt.NDArray[Any], bytearray]:
        """So many messages, their numbers zero, and the bytes that they lie in."""
        data = self._template * count
        return np.frombuffer(data, self.dtype, count), data

    def message(self) -> bytes:
        """The one message of a layout without numbers."""
        return bytes(self._template)

    def read(self, messages: Sequence[bytes]) -> npt.NDArray[Any]:
        """The numbers of messages of this layout. Raises ValueError when one has another length."""
        size = len(self._template)
        if any(len(message) != size for message in messages):
            raise ValueError(f"a message has another length than {size} bytes")
        return np.frombuffer(b"".join(messages), self.dtype)

    def _align(self, size: int) -> None:
        self._template += bytes(-(len(self._template) - len(_HEAD)) % size)


class TextReader:
    """Reads a message with texts of any length, field by field. Raises ValueError where it ends too early."""

    def __init__(self, message: bytes) -> None:
        self._data = message
        self._at = len(_HEAD)

    def number(self, kind: str) -> int:
        """The next number."""
        dtype = np.dtype(kind)
        self._at += -(self._at - len(_HEAD)) % dtype.itemsize
        value = np.frombuffer(self._data, dtype, 1, self._at)[0]
        self._at += dtype.itemsize
        return int(value)

    def text(self) -> str:
        """The next text."""
        length = self.number("<u4")
        data = self._data[self._at : self._at + length]
        if len(data) != length:
            raise ValueError("a text is longer than its message")
        self._at += length
        return data.rstrip(b"\0").decode(errors="replace")
