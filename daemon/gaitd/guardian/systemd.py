"""What gaitd tells systemd: ready, status, stopping, and the watchdog."""

from __future__ import annotations

import os

import sdnotify

from gaitd.errors import printable

FEEDS_PER_LIMIT = 4


class ServiceManager:
    """Notifications that never wait; without systemd they go nowhere.

    What the manager must know and does not take, because its queue is full, is said again by ``repeat``.
    """

    def __init__(self) -> None:
        self._socket = sdnotify.SystemdNotifier().socket
        if self._socket is not None:
            self._socket.setblocking(False)
        self._untold: dict[str, str] = {}
        self._feed_every_ns = int(os.environ.get("WATCHDOG_USEC", "0")) * 1000 // FEEDS_PER_LIMIT
        self._fed_ns = 0

    @property
    def is_there(self) -> bool:
        """Whether systemd has started this process and listens."""
        return self._socket is not None

    def say_ready(self) -> None:
        """The service has started."""
        self._say("READY", "1")

    def say_stopping(self) -> None:
        """The service ends."""
        self._say("STOPPING", "1")

    def say_status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._say("STATUS", printable(text))

    def watchdog_is_due(self, now_ns: int) -> bool:
        """Whether the watchdog wants to be fed."""
        return self._feed_every_ns > 0 and now_ns - self._fed_ns >= self._feed_every_ns

    def feed_watchdog(self, now_ns: int) -> None:
        """The hot loop makes progress."""
        self._fed_ns = now_ns
        self._send("WATCHDOG", "1")

    def repeat(self) -> None:
        """Say what was not taken yet."""
        for name, value in list(self._untold.items()):
            self._say(name, value)

    def _say(self, name: str, value: str) -> None:
        if self._send(name, value):
            self._untold.pop(name, None)
        else:
            self._untold[name] = value

    def _send(self, name: str, value: str) -> bool:
        """Whether the manager has it; where there is none, it has all that it will ever have."""
        if self._socket is None:
            return True
        try:
            self._socket.send(f"{name}={value}".encode())
        except OSError:
            return False
        return True
