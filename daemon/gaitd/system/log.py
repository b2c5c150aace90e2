"""Log lines for people: ``text key=value ...``; in the journal each key is a field as well.

A thread of its own writes them, never a hot loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from pathlib import Path
from typing import Any

import structlog

from gaitd.errors import printable
from gaitd.system.journal import SOCKET, Journal, entry, is_standard_error

_JOURNAL_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
_logfmt = structlog.processors.LogfmtRenderer(bool_as_flag=False)

MAX_CHARACTERS = 4000
"""Of a line."""
FIELDS = "gaitd_fields"
"""The attribute of a log record that holds what was logged by name."""
MAX_LINES = 1000
"""That wait to be written."""


STOP_S = 0.5
"""How long the end waits for lines that nobody reads."""


class LogWriter(logging.Handler):
    """Hands lines to a thread that writes them to standard error; when too many wait, the line is lost.

    The thread holds no lock while it writes: a pipe that nobody reads stops it and nothing else, neither a
    hot loop nor the end of the process.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self._journal = Journal(journal) if is_standard_error() else None
        form = "%(message)s" if self._journal else "%(asctime)s %(levelname)-7s %(message)s"
        self.setFormatter(logging.Formatter(form, "%H:%M:%S"))
        self._lines: queue.Queue[tuple[str, bytes]] = queue.Queue(MAX_LINES)
        """As text, and as an entry of the journal; both empty: the end."""
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._stopping = False
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits. Whoever wrote what is in the record, it is one line."""
        record.msg, record.args = printable(record.getMessage(), MAX_CHARACTERS), None
        text, data = self.format(record), b""
        if self._journal is not None:
            data = entry(text, _JOURNAL_PRIORITY.get(record.levelno, 6), getattr(record, FIELDS, {}))
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait((text, data))

    def stop(self) -> None:
        """Write what waits, for a moment."""
        self._stopping = True
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(("", b""))
        self._thread.join(STOP_S)

    def _write(self) -> None:
        while (line := self._next()) != ("", b""):
            text, data = line
            if not self._enters_journal(data):
                write_line(text)

    def _enters_journal(self, data: bytes) -> bool:
        if self._journal is None:
            return False
        try:
            self._journal.send(data)
        except OSError:  # no such socket here, or it takes no more: standard error leads there, too
            return False
        return True

    def _next(self) -> tuple[str, bytes]:
        if self._stopping and self._lines.empty():
            return "", b""
        return self._lines.get()


def write_line(text: str) -> None:
    """On standard error; nothing where it is closed, or its reader is gone."""
    line = f"{text}\n".encode(errors="replace")
    with contextlib.suppress(OSError):
        while line:
            line = line[os.write(2, line) :]


def _render(logger: object, method: str, values: Any) -> tuple[tuple[str], dict[str, Any]]:
    text = values.pop("event")
    positional = values.pop("positional_args", ())
    fields = {name: printable(str(value), MAX_CHARACTERS) for name, value in values.items()}
    line = f"{text % positional if positional else text} {_logfmt(logger, method, values)}".rstrip()
    return (line,), {"extra": {FIELDS: fields}}


log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("gaitd"), processors=[_render], wrapper_class=structlog.stdlib.BoundLogger
)
"""gaitd's log: ``log.info("worker ready", pid=12)``."""


def start_logging(journal: Path = SOCKET) -> LogWriter:
    """Route gaitd's log to standard error, or the journal behind it; the caller stops the writer."""
    writer = LogWriter(journal)
    logger = logging.getLogger("gaitd")
    logger.setLevel(logging.INFO)
    logger.handlers = [writer]
    logger.propagate = False
    return writer
