"""The terminal's keys while something is shown: one at a time, and the terminal as it was afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import time
from types import FrameType, TracebackType
from typing import Any

from gaitd.system.wait import wait_readable

_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_CONTROL_CHARACTERS = 6
"""Their place in what termios says."""


class Keyboard:
    """Use as a context manager, from the main thread."""

    def __init__(self) -> None:
        self.ended = False
        """A signal asked for the end: Ctrl-C, a service manager, a terminal that is gone."""
        self._fd = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[Any] | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Keyboard:
        # A change of the terminal's size, too, ends the waiting.
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._woken_by = wake
        self._fd_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (*_ENDS, signal.SIGWINCH):
            self._handlers[number] = signal.signal(number, self._on_signal)
        if self._fd is not None:
            self._before = termios.tcgetattr(self._fd)
            changed = termios.tcgetattr(self._fd)
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            for key in (termios.VSUSP, termios.VQUIT):  # either would leave the terminal as it is now
                changed[_CONTROL_CHARACTERS][key] = b"\0"
            # Ctrl-C takes away the keys before it: who then reads them must not wait for others.
            changed[_CONTROL_CHARACTERS][termios.VMIN] = changed[_CONTROL_CHARACTERS][termios.VTIME] = 0
            termios.tcsetattr(self._fd, termios.TCSADRAIN, changed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None and self._before is not None:
            with contextlib.suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._wake)
        os.close(self._woken_by)

    def wait(self, seconds: float) -> str:
        """Keys that are pressed before the time is over or a signal comes; "" without."""
        until_s = time.monotonic() + seconds
        sources = [self._wake] if self._fd is None else [self._wake, self._fd]
        ready = wait_readable(sources, until_s - time.monotonic())
        if self._wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 64)
        if self._fd is None or self._fd not in ready:
            return ""
        try:
            keys = os.read(self._fd, 64)
        except OSError:
            keys = b""
        if not keys and wait_readable([self._fd], 0.0):  # its other end is closed
            self.ended = True
        return keys.decode(errors="replace")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.ended = self.ended or number in _ENDS
