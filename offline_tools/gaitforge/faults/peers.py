"""Peers that violate the contract: malformed messages, floods, second controllers, foreign bytes."""

from __future__ import annotations

import argparse
import os
import socket
import time
from pathlib import Path

import numpy as np
import zmq

from gaitd.wire.codec import encode_state
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.messages import RobotState

ENDPOINTS = ("state", "control", "command", "guard")
KINDS = {"state": zmq.PUB, "control": zmq.DEALER, "command": zmq.SUB, "guard": zmq.SUB}
"""The socket type of each endpoint's peer. A publisher receives too: subscriptions."""

_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
"""ZMTP 3.0, no security (rfc.zeromq.org/spec/23)."""
_READY = {"state": b"PUB", "control": b"DEALER", "command": b"SUB", "guard": b"SUB"}


def path_of(directory: Path, endpoint: str) -> str:
    """The socket file of an endpoint."""
    return str(getattr(Endpoints.in_directory(directory), endpoint)).removeprefix("ipc://")


class Peer:
    """One connection to an endpoint, as the kind of socket that belongs there."""

    def __init__(self, directory: Path, endpoint: str) -> None:
        self._context = zmq.Context()
        kind = zmq.XSUB if KINDS[endpoint] == zmq.SUB else KINDS[endpoint]
        self._socket = self._context.socket(kind)
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(getattr(Endpoints.in_directory(directory), endpoint))
        time.sleep(0.05)  # a publisher drops what it sends before the connection is established

    def send(self, frame: bytes) -> None:
        """Send a message, if there is room for it."""
        try:
            self._socket.send(frame, zmq.DONTWAIT)
        except zmq.Again:
            time.sleep(0.001)

    def send_parts(self, *frames: bytes) -> None:
        """Send a message of several frames."""
        self._socket.send_multipart(frames)

    def close(self) -> None:
        """Close the connection."""
        self._context.destroy(linger=0)


def malformed(directory: Path, seed: int = 0) -> int:
    """Random, truncated and half-right messages to every endpoint; returns how many."""
    rng = np.random.default_rng(seed)
    good = encode_state(foreign_state())
    count = 0
    for endpoint in ENDPOINTS:
        peer = Peer(directory, endpoint)
        for _ in range(50):
            peer.send(rng.bytes(int(rng.integers(0, 300))))
            peer.send(good[: int(rng.integers(0, len(good)))])
            flipped = bytearray(good)
            flipped[int(rng.integers(len(good)))] ^= 1 << int(rng.integers(8))
            peer.send(bytes(flipped))
            peer.send_parts(good, b"more")
            count += 4
        peer.close()
    return count


def not_zeromq(directory: Path) -> None:
    """Bytes that are not ZeroMQ, and the beginning of a message of 1 GB, to every endpoint."""
    for endpoint in ENDPOINTS:
        for first in (os.urandom(2000), _oversized(endpoint)):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.settimeout(0.2)
                raw.connect(path_of(directory, endpoint))
                try:
                    for start in range(0, len(first), 64):
                        raw.sendall(first[start : start + 64])
                    raw.sendall(bytes(1 << 20))
                except OSError:
                    continue  # disconnected, as it should be


def greeting(endpoint: str) -> bytes:
    """How a peer of that endpoint begins."""
    name, value = b"Socket-Type", _READY[endpoint]
    properties = bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
    body = b"\x05READY" + properties
    return _GREETING + b"\x04" + bytes([len(body)]) + body


def _oversized(endpoint: str) -> bytes:
    return greeting(endpoint) + b"\x02" + (1 << 30).to_bytes(8, "big")


def connections(directory: Path, count: int) -> list[socket.socket]:
    """Open many connections to every endpoint, and stay silent."""
    opened = []
    for endpoint in ENDPOINTS:
        for _ in range(count):
            raw = socket.socket(socket.AF_UNIX)
            raw.setblocking(False)
            try:
                raw.connect(path_of(directory, endpoint))
            except OSError:
                raw.close()
                break
            opened.append(raw)
    return opened


def foreign_state(joints: int = 12, session: int = 1) -> RobotState:
    """A well-formed state of an unknown session."""
    zeros = np.zeros(joints, np.float32)
    return RobotState(
        session=session,
        seq=1,
        stamp_ns=1,
        angular_velocity=zeros[:3],
        orientation=np.array([1, 0, 0, 0], np.float32),
        linear_acceleration=zeros[:3],
        linear_velocity=None,
        velocity_command=zeros[:3],
        joint_position=zeros,
        joint_velocity=zeros,
        joint_torque=zeros,
    )


def flood(directory: Path, endpoint: str, seconds: float) -> int:
    """Messages as fast as this machine can; returns how many were sent."""
    peer = Peer(directory, endpoint)
    frames = [encode_state(foreign_state()), os.urandom(40)]
    until_s, sent = time.monotonic() + seconds, 0
    while time.monotonic() < until_s:
        for _ in range(500):
            peer.send(frames[sent % 2])
            sent += 1
    peer.close()
    return sent


def main() -> None:
    """Flood an endpoint; prints how many messages went out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("endpoint", choices=ENDPOINTS)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    print(flood(options.directory, options.endpoint, options.seconds))


if __name__ == "__main__":
    main()
