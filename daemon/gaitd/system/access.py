"""Who may connect: owner and group through Unix sockets, the keys on a list through TCP.

A CURVE option holds for what is bound after it: the Unix socket, bound first, stays without keys. libzmq
asks its ZAP handler about each new TCP connection. That is a socket of ours in the same context, answered
between two turns of the process's own loop: no thread competes with the hot one, and where nobody answers,
nobody is let in.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import zmq
from zmq.utils import z85

from gaitd.errors import InputError, error_of
from gaitd.system.config import Config
from gaitd.system.keys import read_public_keys, read_secret_key
from gaitd.wire.endpoints import Endpoints, local_endpoint
from gaitd.wire.generated import CHANNELS

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
HANDSHAKE_MS = 2000
"""A peer that connects and says nothing holds a file descriptor no longer than this."""
CURVE_BYTES = 512
"""What encryption adds: to a message 33 bytes, to the handshake a few hundred."""
NETWORK_USER = b"network"
"""The user id of every message that comes over TCP."""
MAX_ADMISSIONS_PER_TURN = 4
"""Many peers that connect at once must not keep the loop from its work; the others wait."""
TCP_FIX = "set network.address and network.port; under systemd add the drop-in examples/network.conf"

T = TypeVar("T")


class UnauthorizedPeer(NamedTuple):
    """A peer that was refused."""

    address: str
    key: str


class AccessControl:
    """Binds the channels of one process and decides about new TCP connections."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: Config) -> None:
        """Raises InputError when TCP is wanted and its keys are unavailable."""
        self._context = context
        self._directory = Path(config.daemon.runtime_dir)
        self.local = Endpoints.in_directory(self._directory)
        """The Unix sockets of this gaitd."""
        self.bound: dict[str, list[str]] = {}
        """The endpoints that are open, by channel."""
        self._zap: zmq.Socket[bytes] | None = None
        network = config.network
        if not network.address:
            return
        self._remote = Endpoints.on_host(network.address, network.port)
        self._secret_key = _of_field("network.server_key", read_secret_key, network.server_key)
        allowed = _of_field("network.allowed_keys", read_public_keys, network.allowed_keys)
        self._allowed = {z85.decode(key) for key in allowed.values()}
        _try_tcp()
        self._zap = context.socket(zmq.REP)
        self._zap.set(zmq.LINGER, 0)
        self._zap.bind(ZAP_ENDPOINT)

    def open(self, kind: int, channel: str, queue: int, max_message_bytes: int) -> zmq.Socket[bytes]:
        """A socket of that kind, bound to a channel's endpoints. Raises InputError, ResourceError.

        A channel that is not in the contract's table, of a further worker, has no TCP port.

        ``queue``: how many messages of a peer may wait in it, each way where it sends one peer's replies. A
        peer whose message is larger than ``max_message_bytes``, 128 at least, is disconnected.
        """
        bound = self._context.socket(kind)
        bound.set(zmq.LINGER, 0)
        bound.set(zmq.RCVHWM, queue)
        if kind == zmq.ROUTER:
            bound.set(zmq.SNDHWM, queue)
        bound.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        bound.set(zmq.MAXMSGSIZE, max_message_bytes)
        with for_owner_and_group():
            self._bind(bound, local_endpoint(self._directory, channel), channel, "set daemon.runtime_dir")
        if self._zap is not None and channel in CHANNELS:
            bound.set(zmq.MAXMSGSIZE, max_message_bytes + CURVE_BYTES)
            bound.set(zmq.CURVE_SERVER, 1)
            bound.set(zmq.CURVE_SECRETKEY, self._secret_key)
            bound.set(zmq.ZAP_DOMAIN, b"gaitd")
            bound.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an answer of ours libzmq would let in any key
            self._bind(bound, getattr(self._remote, channel), channel, TCP_FIX)
        return bound

    def admit(self) -> UnauthorizedPeer | None:
        """Answer who waits on TCP, a bounded number; returns the last one refused. Never waits."""
        refused = None
        for _ in range(MAX_ADMISSIONS_PER_TURN):
            if self._zap is None or not int(self._zap.get(zmq.EVENTS)) & zmq.POLLIN:
                break
            version, request_id, _, address, _, _, key = self._zap.recv_multipart(zmq.DONTWAIT)
            allowed = key in self._allowed
            status, text = (b"200", b"OK") if allowed else (b"400", b"key not on the list")
            self._zap.send_multipart([version, request_id, status, text, NETWORK_USER, b""], zmq.DONTWAIT)
            if not allowed:
                refused = UnauthorizedPeer(address.decode(), z85.encode(key).decode())
        return refused

    def _bind(self, bound: zmq.Socket[bytes], endpoint: str, channel: str, fix: str) -> None:
        try:
            bound.bind(endpoint)
        except zmq.ZMQError as error:
            number, text = error.errno, error.strerror
            directory = Path(endpoint.removeprefix("ipc://")).parent
            if endpoint.startswith("ipc://") and os.statvfs(directory).f_flag & os.ST_RDONLY:
                # libzmq could not replace the file that is there, and says that it is in use.
                number, text = errno.EROFS, os.strerror(errno.EROFS)
            raise error_of(number, f"{endpoint}: cannot be bound: {text}; {fix}") from None
        self.bound.setdefault(channel, []).append(endpoint)


def is_over_network(frame: zmq.Frame) -> bool:
    """Whether a message came over TCP: its first frame, as it was received."""
    try:
        return frame.get("User-Id") == NETWORK_USER.decode()
    except zmq.ZMQError:  # nobody said who is at the other end of a Unix socket
        return False


@contextlib.contextmanager
def for_owner_and_group() -> Iterator[None]:
    """What is bound in it gets mode 0660: to connect takes the right to write."""
    before = os.umask(0o117)
    try:
        yield
    finally:
        os.umask(before)


def _of_field(field: str, read: Callable[[Path], T], path: str) -> T:
    try:
        return read(Path(path))
    except InputError as error:
        raise InputError(f"{field}: {error}") from None


def _try_tcp() -> None:
    """libzmq aborts where it is forbidden what it needs, as to the service without its drop-in.

    It looks the address up among the interfaces, for which it asks the kernel by netlink.
    """
    try:
        for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_NETLINK, socket.SOCK_RAW)):
            socket.socket(family, kind).close()
    except OSError as error:
        raise error_of(error.errno, f"network.address: no TCP here: {error.strerror}; {TCP_FIX}") from None
