"""The example controller's tick log: what came out of the whole chain, at the robot's end."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

BEFORE_NS = 20_000_000
"""The last command before a moment came within this time."""


@dataclass(frozen=True)
class Ticks:
    """One entry a control tick of the controller (1 kHz)."""

    time_ns: npt.NDArray[np.int64]
    """(N,) CLOCK_MONOTONIC."""
    mode: npt.NDArray[np.str_]
    """(N,) idle, active or damping."""
    reason: npt.NDArray[np.str_]
    """(N,)"""
    seq: npt.NDArray[np.int64]
    """(N,) of the state that the command in force answers."""
    age_us: npt.NDArray[np.float64]
    """(N,) since that state was sampled."""

    def arrivals(self) -> npt.NDArray[np.intp]:
        """Indices of the ticks at which a new policy command came into force."""
        active = self.mode == "active"
        new = np.diff(np.where(active, self.seq, 0), prepend=0) != 0
        return np.flatnonzero(active & new)

    def session_begin_ns(self) -> int:
        """When the first policy command came into force; of a log without one, its beginning."""
        arrivals = self.arrivals()
        return int(self.time_ns[arrivals[0] if arrivals.size else 0])

    def longest_gap_ns(self, from_ns: int, until_ns: int) -> int:
        """The longest time between two new commands around the first moment and up to the second."""
        times = self.time_ns[self.arrivals()]
        within = times[(times >= from_ns - BEFORE_NS) & (times <= until_ns)]
        return int(np.diff(np.append(within, until_ns)).max(initial=0))

    def first_damping_after(self, time_ns: int) -> int | None:
        """Index of the first damping tick at or after a moment, or None."""
        found = np.flatnonzero((self.mode == "damping") & (self.time_ns >= time_ns))
        return int(found[0]) if found.size else None


def read_ticks(path: Path) -> Ticks:
    """Read the CSV that the controller wrote."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> list[str]:
        return [row[name] for row in rows]

    return Ticks(
        time_ns=np.array(column("monotonic_ns"), np.int64),
        mode=np.array(column("mode")),
        reason=np.array(column("reason")),
        seq=np.array(column("seq"), np.int64),
        age_us=np.array(column("age_us"), np.float64),
    )
