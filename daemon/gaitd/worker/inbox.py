"""Where states arrive: waits for the next ones, warm and awake when they are due."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

import zmq

from gaitd.system.wait import wait_readable
from gaitd.worker.lanes import Lanes
from gaitd.worker.step import Frame

MAX_FRAMES = 64
"""Messages taken in one wake-up: a flood must not keep the loop from answering."""
STATE_QUEUE = 128
"""States that wait while the worker is busy; far more than may still be answered."""

LEAD_STEPS = 2
"""A rehearsal begins at least so many steps before a state is due, and takes about one."""


class Inbox:
    """The state socket, and shared memory where it is served. Its wait is at most one control period."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        period_ns: int,
        anticipate_ns: int,
        rehearse: Callable[[Frame], None],
        lanes: Lanes | None = None,
    ) -> None:
        """``anticipate_ns``: how long before a state is due the worker warms up and stops sleeping; 0: never.

        ``rehearse`` goes through a step with an old message.
        """
        socket.set(zmq.SUBSCRIBE, b"")
        socket.set(zmq.RCVTIMEO, max(1, period_ns // 1_000_000))
        self._socket = socket
        self._lanes = lanes
        self._epoll: select.epoll | None = None
        self._wait_fd = int(socket.FD)
        self._socket_waits = False
        """The last turn had states from memory, and did not look at the socket."""
        if lanes is not None:
            self._epoll = select.epoll()
            self._epoll.register(socket.FD, select.EPOLLIN)
            # Edge-triggered: nothing has to be read from it, and each write wakes anew.
            self._epoll.register(lanes.wake_fd, select.EPOLLIN | select.EPOLLET)
            self._wait_fd = self._epoll.fileno()
        self._period_ns = period_ns
        self._anticipate_ns = anticipate_ns
        self._rehearse = rehearse
        self._last: Frame | None = None
        self._lead_ns = 0
        """How long before the next state is due the rehearsal begins."""

    def expect_after(self, frame: Frame, step_ns: int) -> None:
        """The next state is due a period after this one, which took ``step_ns`` to answer.

        A rehearsal has to be over before the next state is due, and not long before: caches cool while the
        worker sleeps. Where it does not fit, there is none: it would make the real step late.
        """
        self._lead_ns = max(self._anticipate_ns, LEAD_STEPS * step_ns)
        fits = self._lead_ns < self._period_ns - step_ns
        self._last = frame if self._anticipate_ns > 0 and fits else None

    def forget(self) -> None:
        """Nothing is due."""
        self._last = None

    def receive(self) -> list[Frame]:
        """The messages that wait, oldest first, a bounded number; none when a period passes without any."""
        last, self._last = self._last, None
        if last is not None:
            self._anticipate(last)
        if self._epoll is not None:
            if not self._has_message():
                self._epoll.poll(self._period_ns / 1e9)
            return self._drain([])
        try:
            data = self._socket.recv()
        except zmq.Again:
            return []
        return self._drain([Frame(data, time.monotonic_ns())])

    def receive_until(self, end_ns: int, wake_fd: int) -> list[Frame]:
        """The messages that wait, when there are some; none at ``end_ns``, or when the eventfd wakes."""
        self._settle()
        wait_s = (end_ns - time.monotonic_ns()) / 1e9
        waits = not self._has_message() and wait_s > 0
        if waits and wake_fd in wait_readable([self._wait_fd, wake_fd], wait_s):
            os.eventfd_read(wake_fd)
        return self._drain([])

    def _drain(self, frames: list[Frame]) -> list[Frame]:
        if self._lanes is not None:
            self._lanes.take_into(frames, MAX_FRAMES)
            # A look at the socket costs more than a state from memory: it has the next turn, at once.
            self._socket_waits = bool(frames) and not self._socket_waits
            if self._socket_waits:
                return frames
        while len(frames) < MAX_FRAMES and self._socket_has_message():
            frames.append(Frame(self._socket.recv(zmq.DONTWAIT), time.monotonic_ns()))
        return frames

    def _anticipate(self, last: Frame) -> None:
        """Before the next one is due, rehearse, then wait awake: a cold step takes twice as long."""
        due_ns = last.received_ns + self._period_ns
        if not self._sleeps_until(due_ns - self._lead_ns):
            return
        self._rehearse(last)
        self._sleeps_until(due_ns - self._anticipate_ns)
        until_ns = due_ns + self._anticipate_ns // 4
        while not self._has_message() and time.monotonic_ns() < until_ns:
            pass

    def _sleeps_until(self, end_ns: int) -> bool:
        """False when something came before, or there is no time to sleep."""
        self._settle()
        asleep_s = (end_ns - time.monotonic_ns()) / 1e9
        # The descriptor tells that something came, not what: a second look is needed either way.
        return asleep_s > 0 and not self._has_message() and not wait_readable([self._wait_fd], asleep_s)

    def _settle(self) -> None:
        """What an eventfd has told until now is about states that the next look finds."""
        if self._epoll is not None:
            self._epoll.poll(0)

    def _has_message(self) -> bool:
        return (self._lanes is not None and self._lanes.has_message) or self._socket_has_message()

    def _socket_has_message(self) -> bool:
        return bool(int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN)
