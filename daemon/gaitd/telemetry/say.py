"""A line of the telemetry process on standard error, or in the journal that it leads to."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from gaitd.errors import printable
from gaitd.shared.processes import TELEMETRY
from gaitd.system.journal import Journal, entry, is_standard_error

INFO = 6
"""Of syslog's priorities."""
MAX_CHARACTERS = 1000
"""A pipe that has room at all takes such a line at once."""


def say(text: str, **fields: object) -> None:
    """Write it, or nothing where nobody reads: recordings and metrics go on without.

    ``fields``: what the journal can be asked for.
    """
    line = printable(text, MAX_CHARACTERS)
    if is_standard_error():
        with suppress(OSError):
            Journal().send(entry(f"{TELEMETRY.title}: {line}", INFO, fields))
            return
    poll = select.poll()
    poll.register(2, select.POLLOUT)
    if poll.poll(0) == [(2, select.POLLOUT)]:
        with suppress(OSError):
            os.write(2, f"{TELEMETRY.title}: {line}\n".encode(errors="replace"))
