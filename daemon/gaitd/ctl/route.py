"""How a gaitd is reached: by the sockets on its own machine, or over TCP with keys."""

from __future__ import annotations

import argparse
import grp
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath

import zmq

from gaitd.errors import InputError
from gaitd.system.keys import read_public_key, read_secret_key
from gaitd.system.runtime_dir import check_runtime_dir
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.generated import CHANNELS, DEFAULT_PORT, HEARTBEAT_MS, REMOTE_RECONNECT_MS


@dataclass(frozen=True, slots=True)
class Keys:
    """What a client needs for TCP, in Z85."""

    server: bytes
    """The robot's public key."""
    secret: bytes
    """The client's own."""


@dataclass(frozen=True, slots=True)
class Route:
    """The endpoints of one gaitd, and the keys for them."""

    endpoints: Endpoints
    keys: Keys | None = None

    @classmethod
    def local(cls, runtime_dir: PurePath) -> Route:
        """To the gaitd with that runtime directory. Raises InputError when no socket fits in."""
        check_runtime_dir(runtime_dir)
        return cls(Endpoints.in_directory(runtime_dir))

    @classmethod
    def remote(cls, robot: str, server_key: Path, key: Path) -> Route:
        """To a HOST or HOST:PORT. Raises InputError when the address or a key file is wrong."""
        parts = re.fullmatch(r"([^\s:/]+)(?::([0-9]+))?", robot)
        port = int(parts[2] or DEFAULT_PORT) if parts is not None else 0
        if parts is None or not 1 <= port <= 65536 - len(CHANNELS):
            raise InputError(f"{robot!r} is not HOST or HOST:PORT with a port from 1 to 65532")
        keys = Keys(read_public_key(server_key), read_secret_key(key, serves=False))
        return cls(Endpoints.on_host(parts[1], port), keys)

    def connect(self, socket: zmq.Socket[bytes], *channels: str) -> None:
        """Connect a socket to channels. Set its other options before."""
        if self.keys is not None:
            socket.set(zmq.CURVE_SERVERKEY, self.keys.server)
            socket.set(zmq.CURVE_PUBLICKEY, zmq.curve_public(self.keys.secret))
            socket.set(zmq.CURVE_SECRETKEY, self.keys.secret)
            socket.set(zmq.RECONNECT_IVL, REMOTE_RECONNECT_MS)
            socket.set(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        for channel in channels:
            socket.connect(getattr(self.endpoints, channel))

    @property
    def is_barred(self) -> bool:
        """Whether this user has no right to open the sockets: silence then says nothing about gaitd."""
        return self.keys is None and not _may_connect(self._path)

    @property
    def _path(self) -> str:
        return self.endpoints.control.removeprefix("ipc://")

    def advice(self) -> str:
        """What to look at when nobody answers."""
        if self.keys is None:
            if self.is_barred:
                return _no_access(self._path)
            return "is it running? systemctl status gaitd; or name its directory with --runtime-dir"
        key = zmq.curve_public(self.keys.secret).decode()
        return (
            "is it running, does its network.address fit, is the server key its own, "
            f"and is {key} in its network.allowed_keys?"
        )


def _may_connect(path: str) -> bool:
    """Whether this user has the rights for a socket; also where it is not there."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
        return os.access(path, os.W_OK) or not stat.S_ISSOCK(mode)
    except PermissionError:
        return False
    except OSError:
        return True


def _no_access(path: str) -> str:
    """Which group may open a socket: that of its directory, where the socket itself cannot be looked at."""
    for place in (Path(path), Path(path).parent):
        try:
            group = grp.getgrgid(place.stat().st_gid).gr_name
        except (OSError, KeyError):
            continue
        if group != "root":
            return (
                f"you may not open its socket, the group {group} may: "
                f"sudo usermod --append --groups {group} $USER and log in again, or use sudo"
            )
    return "you may not open its socket; use sudo"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that also works from another machine."""
    group = parser.add_argument_group("a robot on the network")
    group.add_argument(
        "--robot",
        metavar="HOST[:PORT]",
        help=f"its address, and the network.port of its gaitd ({DEFAULT_PORT})",
    )
    group.add_argument("--server-key", type=Path, metavar="FILE", help="the robot's public key, ROBOT.pub")
    group.add_argument("--key", type=Path, metavar="FILE", help="your secret key, NAME.key")


def of_options(options: argparse.Namespace) -> Route:
    """The route that the command line names. Raises InputError."""
    given = (options.robot, options.server_key, options.key)
    if given == (None, None, None):
        return Route.local(options.runtime_dir)
    if None in given:
        raise InputError(
            "--robot, --server-key and --key belong together: there is no TCP without keys; "
            "gaitctl keygen makes them"
        )
    return Route.remote(*given)
