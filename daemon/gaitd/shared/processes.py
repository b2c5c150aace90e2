"""The processes of one gaitd, declared in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gaitd.system.config import Realtime


@dataclass(frozen=True, slots=True)
class Process:
    """One row: what runs, how it is scheduled, and what becomes of it when it dies."""

    name: str
    entry: str
    """The module that runs, as in ``python -m``."""
    realtime: Literal["guardian", "worker", None]
    """Whose priority and CPUs of ``[realtime]`` it gets; None: normal scheduling on all CPUs."""
    max_deaths_in_a_row: int | None
    """It is restarted, after the first death at once, then with back-off; so many deaths in a row end gaitd,
    and the service manager takes over. None: restarted for ever. 0: it is gaitd itself."""

    def priority(self, realtime: Realtime) -> int:
        """SCHED_FIFO priority; 0 for normal scheduling."""
        return getattr(realtime, f"{self.realtime}_priority") if self.realtime else 0

    def cpus(self, realtime: Realtime) -> list[int]:
        """The CPUs that it is pinned to; empty: not pinned."""
        return getattr(realtime, f"{self.realtime}_cpus") if self.realtime else []


GUARDIAN = Process("guardian", "gaitd.cli", "guardian", max_deaths_in_a_row=0)
WORKER = Process("worker", "gaitd.worker.main", "worker", max_deaths_in_a_row=10)
TELEMETRY = Process("telemetry", "gaitd.telemetry.main", None, max_deaths_in_a_row=None)

PROCESSES = (GUARDIAN, WORKER, TELEMETRY)
