"""What a process and all that descend from it take of the machine."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            children[int(fields[1])].append(int(entry.name))
    waiting = [pid]
    while waiting:
        waiting += children[waiting[0]]
        yield waiting.pop(0)


def memory_mb(pid: int) -> float:
    """Proportional set size of the family: a page that n processes share counts 1/n for each."""
    total_kb = 0
    for each in family(pid):
        text = Path(f"/proc/{each}/smaps_rollup").read_text()
        total_kb += int(text.split("\nPss:")[1].split()[0])
    return total_kb / 1024


def cpu_s(pid: int) -> dict[str, float]:
    """CPU time so far of each of the family, by the name that it gives itself."""
    found: dict[str, float] = defaultdict(float)
    for each in family(pid):
        head, _, rest = Path(f"/proc/{each}/stat").read_text().rpartition(")")
        fields = rest.split()
        found[head.partition("(")[2]] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return dict(found)
