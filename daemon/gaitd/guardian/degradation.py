"""A robot that still walks, but with late answers: said while it walks, before a deadline ends it."""

from __future__ import annotations

WINDOW_NS = 1_000_000_000
REPEAT_NS = 10_000_000_000
"""At most one warning in this time, however long it lasts."""


class Degradation:
    """Looks at the worker's counters; pure but for what it remembers."""

    def __init__(self) -> None:
        self._since_ns = 0
        self._steps = 0
        self._late = 0
        self._warned_ns: int | None = None

    def look(self, steps: int, late: int, now_ns: int) -> str:
        """What to warn of, once a window; empty when nothing is late. The counters only grow."""
        if now_ns - self._since_ns < WINDOW_NS:
            return ""
        new_steps, new_late = steps - self._steps, late - self._late
        self._since_ns, self._steps, self._late = now_ns, steps, late
        if new_late <= 0 or (self._warned_ns is not None and now_ns - self._warned_ns < REPEAT_NS):
            return ""
        self._warned_ns = now_ns
        return f"{new_late} of the last {new_steps} commands were later than a control period"
