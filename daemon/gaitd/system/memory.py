"""What a process has of the memory, and a bound on what reading something may take."""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Iterator
from pathlib import Path

MODEL_BYTES = 256 * 1024 * 1024
"""Of a model on the CPU, to be loaded and again to be run; gaitd.service has 768 MB for all its processes."""


def resident_bytes(process: int | str = "self") -> int:
    """What a process has in memory, pages that it shares included. Raises OSError when it is gone."""
    fields = Path(f"/proc/{process}/statm").read_text().split()
    if not fields:
        raise ProcessLookupError(f"process {process} has just died")
    return int(fields[1]) * resource.getpagesize()


def available_bytes(root: Path = Path("/")) -> int | None:
    """What this process and those that it starts may take without a swap; None where the kernel does not say.

    The least of what is available and the limit of its own control group (version 2).
    """
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        group = next(line for line in groups if line.startswith("0::")).removeprefix("0::/")
        found.append(int((root / "sys/fs/cgroup" / group / "memory.max").read_text()))  # "max": none
    return min(found, default=None)


def give_memory_back() -> None:
    """What was freed becomes the kernel's again, where the C library can do that: glibc keeps most of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextlib.contextmanager
def memory_limit(more_bytes: int) -> Iterator[None]:
    """Let this process take at most so much more private memory inside it; beyond, it gets MemoryError.

    The kernel keeps to RLIMIT_DATA for every private writable mapping since Linux 4.7 (setrlimit(2)).
    """
    data_pages = int(Path("/proc/self/statm").read_text().split()[5])
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = data_pages * resource.getpagesize() + more_bytes
    for other in (before, hard):
        limit = limit if other == resource.RLIM_INFINITY else min(limit, other)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
