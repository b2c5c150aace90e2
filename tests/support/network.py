"""Keys, an allow-list and free ports for a gaitd that also listens on TCP."""

from __future__ import annotations

import socket
from pathlib import Path

import zmq
from zmq.utils.monitor import parse_monitor_message

from gaitd.ctl.route import Keys, Route
from gaitd.system.keys import make_key_pair, read_public_key, read_secret_key
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.generated import CHANNELS

LOOPBACK = "127.0.0.1"


def free_ports() -> int:
    """The first of four TCP ports in a row that nobody has just now."""
    while True:
        probes = [socket.socket() for _ in CHANNELS]
        try:
            probes[0].bind((LOOPBACK, 0))
            first = int(probes[0].getsockname()[1])
            for index, probe in enumerate(probes[1:], start=1):
                probe.bind((LOOPBACK, first + index))
            return first
        except (OSError, OverflowError):
            continue
        finally:
            for probe in probes:
                probe.close()


class Network:
    """The keys of a robot and of those who may or may not reach it, in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_ports()
        self.server_key = self.make("robot").with_suffix(".pub")
        self.allowed_keys = directory / "allowed_keys"
        self.allowed_keys.write_text("")

    def make(self, name: str) -> Path:
        """A new pair of keys; the secret one's path."""
        return make_key_pair(name, self._directory)[0]

    def allow(self, *names: str) -> None:
        """Write the list of these names."""
        lines = [(self._directory / f"{name}.pub").read_text() for name in names]
        self.allowed_keys.write_text("# who may move the joints\n\n" + "".join(lines))

    @property
    def config(self) -> str:
        return (
            f'\n[network]\naddress = "{LOOPBACK}"\nport = {self.port}\n'
            f'server_key = "{self._directory / "robot.key"}"\nallowed_keys = "{self.allowed_keys}"\n'
        )

    @property
    def robot(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def options(self, name: str) -> list[str]:
        """The options of gaitctl and of the C++ examples."""
        key = self._directory / f"{name}.key"
        return ["--robot", self.robot, "--server-key", str(self.server_key), "--key", str(key)]

    def route(self, name: str, server: str = "robot") -> Route:
        """The route with that one's key, and another's for the robot's if wanted."""
        server_key = read_public_key(self._directory / f"{server}.pub")
        secret = read_secret_key(self._directory / f"{name}.key")
        return Route(Endpoints.on_host(LOOPBACK, self.port), Keys(server_key, secret))

    def keyless_route(self) -> Route:
        return Route(Endpoints.on_host(LOOPBACK, self.port))


class Handshakes:
    """Counts how the handshakes of a socket end."""

    FAILED = (
        zmq.EVENT_DISCONNECTED
        | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    )

    def __init__(self, watched: zmq.Socket[bytes]) -> None:
        self.succeeded = self.failed = 0
        self._events = watched.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | self.FAILED)

    def look(self) -> Handshakes:
        while self._events.poll(0):
            good = (
                parse_monitor_message(self._events.recv_multipart())["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            )
            self.succeeded += good
            self.failed += not good
        return self
