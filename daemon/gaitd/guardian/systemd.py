"""What gaitd tells systemd: ready, status, stopping, and the watchdog."""

from __future__ import annotations

import os

import sdnotify

from gaitd.errors import printable

FEEDS_PER_LIMIT = 4


class ServiceManager:
    """Notifications that never wait; without systemd they go nowhere."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        if self._notifier.socket is not None:
            self._notifier.socket.setblocking(False)
        self._feed_every_ns = int(os.environ.get("WATCHDOG_USEC", "0")) * 1000 // FEEDS_PER_LIMIT
        self._fed_ns = 0

    def say_ready(self) -> None:
        """The service has started."""
        self._notifier.notify("READY=1")

    def say_stopping(self) -> None:
        """The service ends."""
        self._notifier.notify("STOPPING=1")

    def say_status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._notifier.notify(f"STATUS={printable(text)}")

    def watchdog_is_due(self, now_ns: int) -> bool:
        """Whether the watchdog wants to be fed."""
        return self._feed_every_ns > 0 and now_ns - self._fed_ns >= self._feed_every_ns

    def feed_watchdog(self, now_ns: int) -> None:
        """The hot loop makes progress."""
        self._fed_ns = now_ns
        self._notifier.notify("WATCHDOG=1")
