"""The guardian's log lines, kept in its memory for the flight recorder as well."""

from __future__ import annotations

import logging
import time

from gaitd.errors import printable
from gaitd.shared.events import MAX_TEXT_BYTES, Event, EventKind, EventRing


class EventLog(logging.Handler):
    """Never waits: a write into memory. Only the guardian's main thread logs."""

    def __init__(self, events: EventRing) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """One line, cut where an event has no more room."""
        text = printable(record.getMessage(), MAX_TEXT_BYTES)
        self._events.write(
            Event(at_ns=time.monotonic_ns(), kind=EventKind.LOG, code=record.levelno, text=text)
        )


def keep_events_of(events: EventRing) -> None:
    """From here on, gaitd's log lines become events too; of an earlier guardian's memory no longer."""
    logger = logging.getLogger("gaitd")
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, EventLog)]
    logger.addHandler(EventLog(events))
