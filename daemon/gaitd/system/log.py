"""Log lines for people and for journald: ``text key=value ...``.

A thread of its own writes them, never a hot loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from typing import Any

import structlog

from gaitd.errors import printable

_JOURNAL_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_logfmt = structlog.processors.LogfmtRenderer(bool_as_flag=False)

MAX_CHARACTERS = 4000
"""Of a line."""
MAX_LINES = 1000
"""That wait to be written."""


STOP_S = 0.5
"""How long the end waits for lines that nobody reads."""


class _Formatter(logging.Formatter):
    """Under journald with the line's priority as a prefix (sd-daemon(3)), else with the time."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"<{_JOURNAL_PRIORITY.get(record.levelno, 6)}>{text}" if self._journal else text


class LogWriter(logging.Handler):
    """Hands lines to a thread that writes them to standard error; when too many wait, the line is lost.

    The thread holds no lock while it writes: a pipe that nobody reads stops it and nothing else, neither a
    hot loop nor the end of the process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Formatter(journal="JOURNAL_STREAM" in os.environ))
        self._lines: queue.Queue[bytes] = queue.Queue(MAX_LINES)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._stopping = False
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits. Whoever wrote what is in the record, it is one line."""
        record.msg, record.args = printable(record.getMessage(), MAX_CHARACTERS), None
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(f"{self.format(record)}\n".encode(errors="replace"))

    def stop(self) -> None:
        """Write what waits, for a moment."""
        self._stopping = True
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(b"")
        self._thread.join(STOP_S)

    def _write(self) -> None:
        while line := self._next():
            with contextlib.suppress(OSError):  # closed, or its reader is gone
                while line:
                    line = line[os.write(2, line) :]

    def _next(self) -> bytes:
        if self._stopping and self._lines.empty():
            return b""
        return self._lines.get()


def _render(logger: object, method: str, values: Any) -> str:
    text = values.pop("event")
    return f"{text} {_logfmt(logger, method, values)}".rstrip()


log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("gaitd"), processors=[_render], wrapper_class=structlog.stdlib.BoundLogger
)
"""gaitd's log: ``log.info("worker ready", pid=12)``."""


def start_logging() -> LogWriter:
    """Route gaitd's log to standard error; the caller stops the writer."""
    writer = LogWriter()
    logger = logging.getLogger("gaitd")
    logger.setLevel(logging.INFO)
    logger.handlers = [writer]
    logger.propagate = False
    return writer
