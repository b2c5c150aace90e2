"""A peer of the guardian's own: a guardian that does not hear itself is not heard by anybody else.

It asks a question through the control endpoint, by the way of any other peer, and listens to what the
guardian publishes. Never waits.
"""

from __future__ import annotations

import contextlib
import os
import secrets

import zmq

from gaitd.wire.endpoints import Endpoints

TOKEN_BYTES = 16
PERIODS = 2
"""It asks once in so many control periods; each question wakes two threads."""
AT_LEAST_NS = 24_000_000
"""But not more often, however short the period: this is about people who want to stop the robot."""
MAX_QUESTIONS = 2
"""Under way at a time: one may be lost with its connection."""


class Probe:
    """Says for how long the guardian has not been heard."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Endpoints, period_ns: int) -> None:
        """``endpoints``: of this process, bound. ``period_ns``: the control period."""
        self._every_ns = max(PERIODS * period_ns, AT_LEAST_NS)
        self._token = secrets.token_bytes(TOKEN_BYTES)
        """No other peer can send it."""
        self._ask = context.socket(zmq.DEALER)
        self._listen = context.socket(zmq.SUB)
        self._listen.set(zmq.SUBSCRIBE, b"")
        self._listen.set(zmq.CONFLATE, 1)
        for socket, endpoint in ((self._ask, endpoints.control), (self._listen, endpoints.guard)):
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.SNDHWM, MAX_QUESTIONS)
            socket.connect(endpoint)
        self._files = {
            path: _identity(path)
            for path in (each.removeprefix("ipc://") for each in (endpoints.control, endpoints.guard))
        }
        self._next_ns = 0
        self._asked_ns = 0
        """When the question that is under way was asked; 0: none is."""
        self._published_ns = 0
        """Of the first message that was published and not heard; 0: none."""

    def is_question(self, data: bytes) -> bool:
        """Whether a message on the control endpoint is the probe's; it is to be sent back."""
        return data == self._token

    def note_published(self, now_ns: int) -> None:
        """Something was published on the guard endpoint, and must be heard."""
        self._published_ns = self._published_ns or now_ns

    def silence_ns(self, now_ns: int) -> int:
        """For how long something has been under way; now and then, ask again.

        0 is not reached while the file of an endpoint is gone, or another gaitd's: whoever comes then does
        not get here.
        """
        if self._asked_ns and _take(self._ask) and self._is_there():
            self._asked_ns = 0
        if self._published_ns and _take(self._listen):
            self._published_ns = 0
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + self._every_ns
            self._asked_ns = self._asked_ns or now_ns
            with contextlib.suppress(zmq.Again):  # as many are under way as may be
                self._ask.send(self._token, zmq.DONTWAIT)
        return max(now_ns - since_ns for since_ns in (self._asked_ns or now_ns, self._published_ns or now_ns))

    def _is_there(self) -> bool:
        return all(_identity(path) == identity for path, identity in self._files.items())


def _identity(path: str) -> tuple[int, int]:
    """Which file that is; (0, 0) for none."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _take(socket: zmq.Socket[bytes]) -> bool:
    try:
        socket.recv(zmq.DONTWAIT)
    except zmq.Again:
        return False
    return True
