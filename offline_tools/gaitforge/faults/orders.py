"""Orders from the runner to a process that is to misbehave, through a small shared file."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any

SIZE = 4096
_HEAD = 16
"""Number of the newest order and its length, 8 bytes each; the order itself follows, in JSON."""

Order = dict[str, Any]


class Orders:
    """Both ends; reading costs no system call, so that a hot loop may look at every step."""

    def __init__(self, path: Path) -> None:
        """Create the file, or open it; orders that it already holds are not taken."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, SIZE)
        self._map = mmap.mmap(fd, SIZE)
        os.close(fd)
        self._taken = self._number()

    def give(self, kind: str, **details: Any) -> None:
        """Order something."""
        text = json.dumps({"kind": kind, **details}).encode()
        self._map[_HEAD : _HEAD + len(text)] = text
        self._map[8:_HEAD] = len(text).to_bytes(8, "little")
        self._map[:8] = (self._number() + 1).to_bytes(8, "little")

    def take(self) -> Order | None:
        """The newest order, once; None when there is no new one."""
        number = self._number()
        if number == self._taken:
            return None
        self._taken = number
        length = int.from_bytes(self._map[8:_HEAD], "little")
        order: Order = json.loads(self._map[_HEAD : _HEAD + length])
        return order

    def _number(self) -> int:
        return int.from_bytes(self._map[:8], "little")
