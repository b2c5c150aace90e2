"""Blocks of one subject put together: histograms by round, fates, CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

from gaitforge.bench.block import Block

MAX_NS, DIGITS = 10_000_000_000, 3
"""Of a histogram: its largest value, and significant decimal digits."""
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
FATES = ("published", "superseded", "refused", "lost", "dampings")


@dataclass
class Measured:
    """One subject at one rate under one load."""

    contender: str
    load: str
    rate_hz: float
    rounds: list[HdrHistogram] = field(default_factory=list)
    """Nanoseconds."""
    fates: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FATES, 0))
    """Of all states, see Block."""
    cpu: list[Mapping[str, float]] = field(default_factory=list)
    """Cores by process, of each round; none of what is not gaitd."""

    def add(self, block: Block) -> None:
        """One round's block."""
        histogram = HdrHistogram(1, MAX_NS, DIGITS)
        for value in block.latencies_us:
            histogram.record_value(round(value * 1000))
        self.rounds.append(histogram)
        for name in FATES:
            self.fates[name] += getattr(block, name)
        if block.cpu:
            self.cpu.append(block.cpu)

    @property
    def whole(self) -> HdrHistogram:
        """All rounds together."""
        histogram = HdrHistogram(1, MAX_NS, DIGITS)
        for each in self.rounds:
            histogram.add(each)
        return histogram

    def times(self) -> dict[str, Any]:
        """Percentiles of all rounds together in microseconds, fates, and CPU as a median of the rounds'."""
        whole = self.whole
        row: dict[str, Any] = {
            f"{name}_us": round(whole.get_value_at_percentile(percentile) / 1000, 1)
            for name, percentile in PERCENTILES.items()
        }
        fates = {"count": whole.get_total_count(), **self.fates}
        return {**row, **fates, "cpu_percent": _percent([sum(each.values()) for each in self.cpu])}

    def processes(self) -> dict[str, float | None]:
        """CPU in per cent of a core by process, as a median of the rounds'."""
        names = self.cpu[0] if self.cpu else ()
        return {name: _percent([each.get(name, 0.0) for each in self.cpu]) for name in names}

    def ratio(self, other: Measured, name: str) -> list[float]:
        """To another one's percentile, taken in each round: the median, the lowest and the highest."""
        ratios = [
            mine.get_value_at_percentile(PERCENTILES[name]) / its.get_value_at_percentile(PERCENTILES[name])
            for mine, its in zip(self.rounds, other.rounds, strict=True)
        ]
        return [round(float(value), 2) for value in np.percentile(ratios, (50, 0, 100))]


def _percent(cores: Sequence[float]) -> float | None:
    return round(100 * float(np.median(cores)), 1) if cores else None
