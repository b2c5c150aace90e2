"""The processes of one gaitd, declared in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gaitd.bundle.together import MAX_TOGETHER
from gaitd.system.config import Realtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One row: its name, and how it is scheduled."""

    name: str
    realtime: Literal["guardian", "worker", "standby", None]
    """Whose priority and CPUs of ``[realtime]`` it gets; None: normal scheduling on all CPUs."""

    @property
    def title(self) -> str:
        """Its name among all processes of the machine."""
        return f"gaitd-{self.name}"

    def priority(self, realtime: Realtime) -> int:
        """SCHED_FIFO priority; 0 for normal scheduling."""
        return getattr(realtime, f"{self.realtime}_priority") if self.realtime else 0

    def cpus(self, realtime: Realtime) -> list[int]:
        """The CPUs that it is pinned to; empty: not pinned."""
        return getattr(realtime, f"{self.realtime}_cpus") if self.realtime else []


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcess(Process):
    """A process that the guardian starts, and starts again when it died: at once, then with back-off."""

    entry: str
    """The module that runs, as in ``python -m``."""
    reports: bool
    """It reports when it is ready, and works from then on; another one works from its start."""
    max_deaths_in_a_row: int | None
    """So many end gaitd, and the service manager takes over. None: it is restarted for ever."""
    first_backoff_ns: int = 250_000_000
    """After the second death in a row; doubled with each further one."""
    max_backoff_ns: int = 5_000_000_000
    grace_s: float = 0.4
    """How long it may take to end by itself."""
    stable_ns: int = 10_000_000_000
    """A death after more than this of work is the first in a row again."""

    def backoff_ns(self, deaths_in_a_row: int) -> int:
        """How long after the latest of so many deaths the next one is started."""
        if deaths_in_a_row <= 1:
            return 0
        return min(self.first_backoff_ns << min(deaths_in_a_row - 2, 32), self.max_backoff_ns)


GUARDIAN = Process(name="guardian", realtime="guardian")
WORKER = ChildProcess(
    name="worker", realtime="worker", entry="gaitd.worker.main", reports=True, max_deaths_in_a_row=10
)
TELEMETRY = ChildProcess(
    name="telemetry",
    realtime=None,
    entry="gaitd.telemetry.main",
    reports=False,
    max_deaths_in_a_row=None,
    grace_s=3.0,  # it writes the recording of the end
)

STANDBY = ChildProcess(
    name="standby", realtime="standby", entry="gaitd.worker.main", reports=True, max_deaths_in_a_row=None
)

FURTHER = tuple(
    ChildProcess(
        name=f"policy-{number}",
        realtime="standby",
        entry="gaitd.worker.main",
        reports=True,
        max_deaths_in_a_row=None,
    )
    for number in range(1, MAX_TOGETHER)
)
"""Workers of the policies beside the first one."""


def encoder_row(stream: str) -> ChildProcess:
    """Of the encoder that makes the stream of that name."""
    return ChildProcess(
        name=f"encoder-{stream}",
        realtime=None,
        entry="gaitd.encoder.main",
        reports=False,
        max_deaths_in_a_row=None,
    )


WORKERS = (WORKER, STANDBY, *FURTHER)
"""By slot, in the lease and in their commands."""
WORKER_SLOT, STANDBY_SLOT, *_FURTHER_SLOTS = range(len(WORKERS))
POLICY_SLOTS = (WORKER_SLOT, *_FURTHER_SLOTS)
"""Of the policies in their order; the standby runs the first one, too."""


def policy_in(slot: int) -> int:
    """The index of the policy that a slot's worker runs."""
    return 0 if slot == STANDBY_SLOT else POLICY_SLOTS.index(slot)
