"""systemd's journal, with fields that can be asked for: ``journalctl -u gaitd REASON=deadline``."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def is_standard_error() -> bool:
    """Whether standard error leads into the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        stream = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def entry(message: str, priority: int, fields: Mapping[str, object]) -> bytes:
    """One entry in the journal's own protocol; a field whose name it does not take is left out."""
    named = {name.upper(): str(value) for name, value in fields.items()}
    parts = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": "gaitd", **named}
    return b"".join(_field(name, value) for name, value in parts.items() if _NAME.fullmatch(name))


class Journal:
    """Where entries go."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(self, data: bytes) -> None:
        """Send one entry; waits for a journal that is busy. Raises OSError."""
        self._socket.sendto(data, self._path)


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="replace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
