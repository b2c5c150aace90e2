"""Telemetry that writes where it may only read when a signal says so; everything else in it is unchanged."""

from __future__ import annotations

import signal
import sys

import gaitd.telemetry.main
from gaitforge.faults.shared_memory import GUARD_FILE, WORKER_FILE, write_where_forbidden

WILD_WRITES = {GUARD_FILE: signal.SIGRTMIN + 1, WORKER_FILE: signal.SIGRTMIN + 2}
"""Which signal asks for a write into which memory file."""


def obey_signals() -> None:
    """From now on, this process writes when it is asked to."""
    for name, number in WILD_WRITES.items():
        signal.signal(number, lambda *_, name=name: write_where_forbidden(name))


if __name__ == "__main__":
    obey_signals()
    sys.exit(gaitd.telemetry.main.main())
