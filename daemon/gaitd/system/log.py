"""Log lines for people and for journald: ``text key=value ...``.

A thread of its own writes them, never a hot loop.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import queue
import sys
from typing import Any

import structlog

from gaitd.errors import printable

_JOURNAL_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_logfmt = structlog.processors.LogfmtRenderer(bool_as_flag=False)

MAX_CHARACTERS = 4000
"""Of a line."""


class _Formatter(logging.Formatter):
    """Under journald with the line's priority as a prefix (sd-daemon(3)), else with the time."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"<{_JOURNAL_PRIORITY.get(record.levelno, 6)}>{text}" if self._journal else text


class _DroppingHandler(logging.handlers.QueueHandler):
    """Never waits: when the queue is full, the line is lost. Whoever wrote what is in it, it is one line."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.msg, record.args = printable(record.getMessage(), MAX_CHARACTERS), None
        prepared: logging.LogRecord = super().prepare(record)
        return prepared

    def enqueue(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)


def _render(logger: object, method: str, values: Any) -> str:
    text = values.pop("event")
    return f"{text} {_logfmt(logger, method, values)}".rstrip()


log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("gaitd"), processors=[_render], wrapper_class=structlog.stdlib.BoundLogger
)
"""gaitd's log: ``log.info("worker ready", pid=12)``."""


def start_logging() -> logging.handlers.QueueListener:
    """Route gaitd's log to standard error through a queue; the caller stops the listener."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Formatter(journal="JOURNAL_STREAM" in os.environ))
    lines: queue.Queue[logging.LogRecord] = queue.Queue(maxsize=1000)
    listener = logging.handlers.QueueListener(lines, stream)
    logger = logging.getLogger("gaitd")
    logger.setLevel(logging.INFO)
    logger.handlers = [_DroppingHandler(lines)]
    logger.propagate = False
    listener.start()
    return listener
