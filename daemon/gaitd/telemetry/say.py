"""A line of the telemetry process on standard error."""

from __future__ import annotations

import os
import select

from gaitd.errors import printable
from gaitd.shared.processes import TELEMETRY

MAX_CHARACTERS = 1000
"""A pipe that has room at all takes such a line at once."""


def say(text: str) -> None:
    """Write it, or nothing where nobody reads: recordings and metrics go on without."""
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    if poll.poll(0) == [(2, select.POLLOUT)]:
        line = f"{TELEMETRY.title}: {printable(text, MAX_CHARACTERS)}\n"
        try:
            os.write(2, line.encode(errors="replace"))
        except OSError:
            return
