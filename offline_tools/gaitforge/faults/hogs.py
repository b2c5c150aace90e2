"""Peers of the group that ask for more than is theirs: connections, memory, time. Each is a process.

``python -m gaitforge.faults.hogs DIRECTORY KIND [--endpoint E] [--count N] [--seconds S]``
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from gaitd.wire.control import Request, encode_request
from gaitd.wire.endpoints import Endpoints
from gaitforge.faults import peers

FRAMES, FRAME_BYTES = 1000, 100
"""As many in one go; small enough for a subscriber."""
REQUEST_BYTES = 60_000
TOPIC_BYTES = (60_000, 100)
"""More than a subscriber may send, and less."""
GREETING_BYTES = 64
"""Of ZMTP: both sides send so much before anything else."""
MORE = 1
"""Flags of a short ZMTP frame that is not the last one of its message."""


def idle(directory: Path, endpoint: str, count: int, seconds: float) -> None:
    """Connections that have shaken hands and say nothing; those that are closed come back."""
    end_s = time.monotonic() + seconds
    opened: list[socket.socket] = []
    while time.monotonic() < end_s:
        while len(opened) < count and time.monotonic() < end_s:
            with contextlib.suppress(OSError):
                opened.append(shake_hands(directory, endpoint))
        time.sleep(0.01)
        kept = []
        for each in opened:
            if has_hung_up(each):
                each.close()
            else:
                kept.append(each)
        opened = kept


def endless(directory: Path, endpoint: str, count: int, seconds: float) -> None:
    """Messages that never end: frame after frame, and each says that another one follows."""
    end_s = time.monotonic() + seconds
    frames = FRAMES * (bytes([MORE, FRAME_BYTES]) + bytes(FRAME_BYTES))
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError), shake_hands(directory, endpoint) as raw:
            while time.monotonic() < end_s:
                raw.sendall(frames)


def topics(directory: Path, endpoint: str, count: int, seconds: float) -> None:
    """Subscriptions without end, each to another topic."""

    def message() -> bytes:
        return b"\x01" + os.urandom(TOPIC_BYTES[time.monotonic_ns() % len(TOPIC_BYTES)])

    _send_all(directory, zmq.XSUB, endpoint, count, seconds, message)


def oversized(directory: Path, endpoint: str, count: int, seconds: float) -> None:
    """Requests that are far too long."""
    data = encode_request(Request(1, "status", {"x": bytes(REQUEST_BYTES)}))
    _send_all(directory, zmq.DEALER, endpoint, count, seconds, lambda: data)


def busy(directory: Path, endpoint: str, count: int, seconds: float) -> None:
    """Requests as costly as may be, from many connections, answers unread."""
    joints = [f"joint_{index:04d}" for index in range(500)]
    body = {"controller": "x", "joints": joints, "fields": [], "message": "state"}
    data = encode_request(Request(1, "hello", body))
    _send_all(directory, zmq.DEALER, endpoint, count, seconds, lambda: data)


KINDS: dict[str, Callable[[Path, str, int, float], None]] = {
    each.__name__: each for each in (idle, endless, topics, oversized, busy)
}


def shake_hands(directory: Path, endpoint: str) -> socket.socket:
    """A connection of a peer that belongs there, as a plain socket. Raises OSError when it is closed."""
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(1.0)
    try:
        raw.connect(peers.path_of(directory, endpoint))
        greeting = peers.greeting(endpoint)
        raw.sendall(greeting[:GREETING_BYTES])
        seen = 0
        while seen < GREETING_BYTES and (part := raw.recv(GREETING_BYTES - seen)):
            seen += len(part)
        raw.sendall(greeting[GREETING_BYTES:])
    except OSError:
        raw.close()
        raise
    return raw


def has_hung_up(raw: socket.socket) -> bool:
    """Whether the other side ended the connection; what it sent is thrown away."""
    try:
        while raw.recv(4096, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _send_all(
    directory: Path, kind: int, endpoint: str, count: int, seconds: float, message: Callable[[], bytes]
) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 2 * count + 10)
    sockets = [context.socket(kind) for _ in range(count)]
    for each in sockets:
        each.set(zmq.SNDHWM, 10)
        each.connect(getattr(Endpoints.in_directory(directory), endpoint))
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        sent = 0
        for each in sockets:
            with contextlib.suppress(zmq.Again):
                each.send(message(), zmq.DONTWAIT)
                sent += 1
        if not sent:
            time.sleep(0.001)
    context.destroy(linger=0)


def main() -> None:
    """One attack."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--endpoint", choices=peers.ENDPOINTS, default="control")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    KINDS[options.kind](options.directory, options.endpoint, options.count, options.seconds)


if __name__ == "__main__":
    main()
