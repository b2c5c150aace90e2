"""When the next state is due. No clock: time is an argument."""

from __future__ import annotations

LEAST_APART = 0.75
"""Periods; gaitd refuses states that follow each other too closely (0.6)."""


class Period:
    """One step every period, in a loop that turns faster than that; as the C++ client's Pacer."""

    def __init__(self, period_s: float) -> None:
        self._period_ns = round(period_s * 1e9)
        self._next_ns = 0

    def due(self, now_ns: int) -> bool:
        """True once a period.

        Small delays do not add up; after a large one the steps keep LEAST_APART.
        """
        if now_ns < self._next_ns:
            return False
        least_ns = now_ns + round(LEAST_APART * self._period_ns)
        self._next_ns = max((self._next_ns or now_ns) + self._period_ns, least_ns)
        return True
