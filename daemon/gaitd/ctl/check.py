"""What a check of gaitctl doctor is, and how it sees the system."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Level(Enum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    """It runs, but slower or less safely than it could."""
    FAIL = "FAIL"
    """It will not run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    level: Level
    found: str
    fix: str = ""
    """What to do; empty when nothing is."""


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name, Level.OK, found)


def warn(name: str, found: str, fix: str) -> Check:
    """Worth fixing."""
    return Check(name, Level.WARN, found, fix)


def fail(name: str, found: str, fix: str) -> Check:
    """Must be fixed."""
    return Check(name, Level.FAIL, found, fix)


def _kernel_log() -> str:
    """Kernel messages since boot of warnings and worse; empty when they may not be read."""
    command = ["journalctl", "--dmesg", "--boot", "--priority=warning", "--output=cat", "--no-pager"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


@dataclass(frozen=True)
class System:
    """The files of a system below a root directory; the kernel's log is asked for."""

    root: Path = Path("/")
    kernel_log: Callable[[], str] = field(default=_kernel_log)

    def path(self, name: str) -> Path:
        """An absolute path of the system, as a path of ours."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """Content of a file without surrounding blanks; empty when it is absent or may not be read."""
        try:
            return self.path(name).read_text(errors="replace").strip("\0 \n\t")
        except OSError:
            return ""

    def number(self, name: str) -> int | None:
        """The integer in a file."""
        text = self.text(name)
        return int(text) if text.lstrip("-").isdigit() else None

    def glob(self, pattern: str) -> Iterator[Path]:
        """Paths of ours that match an absolute pattern of the system, sorted."""
        yield from sorted(self.root.glob(pattern.lstrip("/")))


def cpu_list(text: str) -> set[int]:
    """The kernel's list of CPUs: "0-3,6" -> {0, 1, 2, 3, 6}."""
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus
