"""Take out of a report what is nobody else's business: keys, addresses, names of the host and of people."""

from __future__ import annotations

import re
import socket
from typing import Any

_PATTERNS = (
    (re.compile(r"(?<![\w.])/(home|Users)/[^/\s'\":,;]+"), r"/\1/<user>"),
    (re.compile(r"(?<![\w.])(?!127\.0\.0\.1|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?![\w.])"), "<address>"),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![\w:])"), "<address>"),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){4,7}[0-9a-fA-F]{1,4}(?![\w:])"), "<address>"),
    (re.compile(r"(?<![\w:])[0-9a-fA-F:]*::[0-9a-fA-F:]*[0-9a-fA-F](?![\w:])"), "<address>"),
    (re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])"), "<uuid>"),
)
_Z85 = re.compile(r"(?<!\S)[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}(?!\S)")
_HASH = re.compile(r"[0-9a-f]{40}")


def redact(value: Any, host: str | None = None) -> Any:
    """The same lists, maps and texts, without them. ``host``: this machine's name."""
    host = socket.gethostname() if host is None else host
    if isinstance(value, str):
        return _redact_text(value, host)
    if isinstance(value, list):
        return [redact(item, host) for item in value]
    if isinstance(value, dict):
        return {redact(key, host): redact(item, host) for key, item in value.items()}
    return value


def _redact_text(text: str, host: str) -> str:
    text = _Z85.sub(lambda found: found[0] if _HASH.fullmatch(found[0]) else "<key>", text)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    if len(host) > 1 and host != "localhost":
        text = re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", "<host>", text)
    return text
