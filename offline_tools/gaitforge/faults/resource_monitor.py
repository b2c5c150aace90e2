"""Memory and file descriptors of gaitd's processes over time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MORE_FILES = 2
"""Connections open and close; a larger increase is a leak."""
PROCESSES = ("gaitd", "worker", "telemetry")


@dataclass
class _Samples:
    """Samples of one process, from the end of its warm-up."""

    name: str
    first_seen_s: float
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    """Seconds, resident kB, file descriptors."""

    @property
    def duration_s(self) -> float:
        return self.samples[-1][0] - self.samples[0][0] if self.samples else 0.0

    @property
    def growth_kb(self) -> int:
        """Over the second half of the samples: memory touched for the first time is in the first half."""
        return self.samples[-1][1] - self.samples[len(self.samples) // 2][1]

    @property
    def files(self) -> tuple[int, int]:
        """At the first and at the last sample."""
        return self.samples[0][2], self.samples[-1][2]


class ResourceMonitor:
    """Samples the memory and file descriptors of each process; a new process id is a new process."""

    def __init__(self, pid_of: Callable[[str], int], warm_s: float) -> None:
        self._pid_of = pid_of
        self._warm_s = warm_s
        self._processes: dict[int, _Samples] = {}

    def sample(self) -> None:
        """Sample every running process that is past its warm-up."""
        now_s = time.monotonic()
        for name in PROCESSES:
            pid = self._pid_of(name)
            seen = self._processes.setdefault(pid, _Samples(name, now_s))
            if now_s - seen.first_seen_s < self._warm_s:
                continue
            try:
                resident_kb = _resident_kb(pid)
                files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            except FileNotFoundError:
                continue
            seen.samples.append((now_s, resident_kb, files))

    def excesses(self, once_kb: int, hourly_kb: int) -> list[str]:
        """One message for each process whose memory or file descriptors grew by more than allowed."""
        texts = []
        for pid, seen in self._processes.items():
            if not seen.samples:
                continue
            half_s = seen.duration_s / 2
            if seen.growth_kb > once_kb + hourly_kb * half_s / 3600:
                texts.append(f"{seen.name} ({pid}) grew by {seen.growth_kb} kB in its last {half_s:.0f} s")
            first, last = seen.files
            if last > first + MORE_FILES:
                texts.append(f"{seen.name} ({pid}) has {last} file descriptors, at first {first}")
        return texts

    def summary(self) -> dict[str, str]:
        """One line for each kind of process, on the one that was sampled longest."""
        lines = {}
        for name in PROCESSES:
            sampled = [seen for seen in self._processes.values() if seen.name == name and seen.samples]
            if sampled:
                longest = max(sampled, key=lambda seen: seen.duration_s)
                first, last = longest.files
                lines[name] = (
                    f"{longest.samples[-1][1] / 1024:.1f} MB, {longest.growth_kb:+d} kB in the last half of "
                    f"{longest.duration_s:.0f} s, {first} to {last} file descriptors; "
                    f"{len(sampled)} processes sampled"
                )
        return lines


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise FileNotFoundError(f"/proc/{pid}/status has no VmRSS: the process has ended")
