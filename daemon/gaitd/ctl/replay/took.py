"""How long something takes in this thread, and how much of it the thread computes."""

from __future__ import annotations

import time
from typing import NamedTuple


class Took(NamedTuple):
    """Two durations, seconds."""

    wall_s: float
    """From its beginning to its end."""
    cpu_s: float
    """Of that this thread computed; the rest it waited, on a busy machine for the CPU."""


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), time.thread_time()

    def read(self) -> Took:
        """How long it has run."""
        return Took(time.perf_counter() - self._wall_s, time.thread_time() - self._cpu_s)
