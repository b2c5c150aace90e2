"""Memory and file descriptors of gaitd's processes over time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MORE_FILES = 2
"""Connections come and go; a leak is more."""
PROCESSES = ("gaitd", "worker", "telemetry")


@dataclass
class _Life:
    """One process: its samples from the moment it was warm."""

    name: str
    first_seen_s: float
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    """Seconds, resident kB, file descriptors."""

    @property
    def lasted_s(self) -> float:
        return self.samples[-1][0] - self.samples[0][0] if self.samples else 0.0

    @property
    def growth_kb(self) -> int:
        """In the second half of its life: what a process touches for the first time comes in the first."""
        return self.samples[-1][1] - self.samples[len(self.samples) // 2][1]

    @property
    def files(self) -> tuple[int, int]:
        """At the first and at the last sample."""
        return self.samples[0][2], self.samples[-1][2]


class Census:
    """Counts what the processes hold; a new process id is a new life."""

    def __init__(self, pid_of: Callable[[str], int], warm_s: float) -> None:
        self._pid_of = pid_of
        self._warm_s = warm_s
        self._lives: dict[int, _Life] = {}

    def take(self) -> None:
        """Take a sample of each process that lives and is warm."""
        now_s = time.monotonic()
        for name in PROCESSES:
            pid = self._pid_of(name)
            life = self._lives.setdefault(pid, _Life(name, now_s))
            if now_s - life.first_seen_s < self._warm_s:
                continue
            try:
                resident_kb = _resident_kb(pid)
                files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            except FileNotFoundError:
                continue
            life.samples.append((now_s, resident_kb, files))

    def complaints(self, once_kb: int, hourly_kb: int) -> list[str]:
        """What grew."""
        texts = []
        for pid, life in self._lives.items():
            if not life.samples:
                continue
            half_s = life.lasted_s / 2
            if life.growth_kb > once_kb + hourly_kb * half_s / 3600:
                texts.append(f"{life.name} ({pid}) grew by {life.growth_kb} kB in its last {half_s:.0f} s")
            first, last = life.files
            if last > first + MORE_FILES:
                texts.append(f"{life.name} ({pid}) has {last} file descriptors, at first {first}")
        return texts

    def summary(self) -> dict[str, str]:
        """One line a kind of process, on its longest life."""
        lines = {}
        for name in PROCESSES:
            lives = [life for life in self._lives.values() if life.name == name and life.samples]
            if lives:
                longest = max(lives, key=lambda life: life.lasted_s)
                first, last = longest.files
                lines[name] = (
                    f"{longest.samples[-1][1] / 1024:.1f} MB, {longest.growth_kb:+d} kB in the last half of "
                    f"{longest.lasted_s:.0f} s, {first} to {last} file descriptors; {len(lives)} warm lives"
                )
        return lines


def _resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise FileNotFoundError(f"/proc/{pid}/status has no VmRSS: the process has ended")
