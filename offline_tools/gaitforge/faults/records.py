"""What controller and simulator wrote while faults were injected; a program that was killed leaves none."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gaitd.errors import GaitdError
from gaitforge.simulate.trace import Trace
from gaitforge.stack.processes import REPORT, TICKS, TRACE, Chain
from gaitforge.stack.ticks import Ticks, read_ticks

UNREADABLE = (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
"""What reading a file raises that is missing, cut or empty."""

Content = TypeVar("Content")


@dataclass(frozen=True)
class Records:
    """Of a chain that has ended."""

    ticks: Ticks
    trace: Trace
    start_ns: int
    """CLOCK_MONOTONIC at the simulated time's zero."""

    @staticmethod
    def of(chain: Chain) -> Records:
        """Read them. Raises GaitdError naming the file that is missing or cut, and how its program ended."""
        return Records(
            ticks=_read(chain, TICKS, "controller", _some_ticks),
            trace=_read(chain, TRACE, "simulate", Trace.load),
            start_ns=_read(chain, REPORT, "simulate", _start_ns),
        )


def _read(chain: Chain, name: str, program: str, read: Callable[[Path], Content]) -> Content:
    path = chain.directory / name
    try:
        return read(path)
    except UNREADABLE as error:
        state = "cut or damaged" if path.exists() else "missing"
        raise GaitdError(f"{path} is {state}: {chain.ending(program)}") from error


def _some_ticks(path: Path) -> Ticks:
    ticks = read_ticks(path)
    if not ticks.time_ns.size:
        raise ValueError("no ticks")
    return ticks


def _start_ns(path: Path) -> int:
    return int(json.loads(path.read_text())["start_monotonic_ns"])
