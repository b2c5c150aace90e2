"""Keeps a loop on the clock: one tick a millisecond, measured against absolute deadlines."""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass

import numpy as np

TICK_NS = 1_000_000
MOST_BEHIND_NS = 50_000_000
"""A loop that is further behind than this drops the debt instead of racing after the clock."""


@dataclass(frozen=True)
class Timing:
    """How well the loop kept to the clock."""

    start_monotonic_ns: int
    """CLOCK_MONOTONIC at the first tick."""
    real_time_factor: float
    """Simulated time over wall time; 1 is real time."""
    lateness_us: dict[str, float]
    """How late ticks began: p50, p99, max."""
    stalls: int
    """How often the debt was dropped."""


class Pacer:
    """Waits for each tick's deadline on CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._start_ns = self._deadline_ns = time.monotonic_ns()
        self._lateness_ns = array("q")
        self._stalls = 0
        self._dropped_ns = 0

    @property
    def dropped_s(self) -> float:
        """How far the loop's ticks have fallen behind the clock for good."""
        return self._dropped_ns * 1e-9

    def wait(self) -> bool:
        """Sleep until the next tick is due. Return False when that tick is already overdue by a whole one."""
        self._deadline_ns += TICK_NS
        early_ns = self._deadline_ns - time.monotonic_ns()
        if early_ns > 0:
            time.sleep(early_ns * 1e-9)
        late_ns = time.monotonic_ns() - self._deadline_ns
        self._lateness_ns.append(late_ns)
        if late_ns > MOST_BEHIND_NS:
            self._stalls += 1
            self._deadline_ns += late_ns
            self._dropped_ns += late_ns
        return late_ns < TICK_NS

    def timing(self) -> Timing:
        """Return the figures up to now."""
        wall_ns = max(1, time.monotonic_ns() - self._start_ns)
        late_us = np.array(self._lateness_ns or (0,)) / 1000.0
        p50, p99 = np.percentile(late_us, (50, 99))
        return Timing(
            start_monotonic_ns=self._start_ns,
            real_time_factor=len(self._lateness_ns) * TICK_NS / wall_ns,
            lateness_us={"p50": float(p50), "p99": float(p99), "max": float(late_us.max())},
            stalls=self._stalls,
        )
