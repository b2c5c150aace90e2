"""What peers may cost a process: connections, memory, subscriptions.

libzmq has no limit on connections and aborts where it gets no descriptor for one more, and it holds whatever
a peer sends until its message is whole. So the process itself looks, between two turns of its loop, and
disconnects the peers that have most.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import socket
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set

import zmq

from gaitd.errors import ResourceError

MAX_CONNECTIONS = 128
"""Of one process, on all its sockets together."""
MAX_DESCRIPTORS = 4096
"""Asked of the kernel: far above what can come between two looks."""
MIN_DESCRIPTORS = 512
"""For the process itself, MAX_CONNECTIONS, and those that come between two looks."""
MAX_ENDED = 64
"""Connections that were ended and are still there. libzmq keeps one, with its descriptor, until all that had
come over it is read, so whoever comes back at once, and asks, leaves one more behind each time."""
ENDED_LOOK_NS = 50_000_000
"""While there are more, they are counted once in this time."""
MAX_SUBSCRIBER_BYTES = 128
"""Of a message from a subscriber: the handshake has 40, a subscription to everything 1."""
MAX_SUBSCRIPTIONS = 2
"""That wait to be looked at, of one connection."""
MAX_NAMED = 4
"""Peers in a line of the log."""
MAX_TOPIC_FRAMES = 256
"""Frames from subscribers that are looked at in one turn."""


def raise_descriptor_limit() -> None:
    """As many descriptors as this process may have, up to MAX_DESCRIPTORS.

    Raises ResourceError where those are fewer than MIN_DESCRIPTORS: libzmq would abort among peers that are
    within their limits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_DESCRIPTORS:
        raise ResourceError(
            f"this process may have {hard} file descriptors, gaitd needs {MIN_DESCRIPTORS}; set "
            f"LimitNOFILE={MAX_DESCRIPTORS} in the unit, or `ulimit -n {MAX_DESCRIPTORS}`"
        )
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(MAX_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class PeerLimits:
    """Looks at the connections to the endpoints of this process, and at its memory."""

    def __init__(self, bound: Mapping[str, Sequence[str]], max_growth_bytes: int) -> None:
        """``bound``: this process's endpoints, by channel. All else that it needs is there."""
        self._places = {_place(endpoint) for endpoints in bound.values() for endpoint in endpoints}
        self._max_descriptors = len(_descriptors()) + MAX_CONNECTIONS
        self._max_growth_bytes = max_growth_bytes
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._heap = _Heap()
        self._urgent_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._at_first: tuple[int, int] | None = None
        """Bytes resident, and of the heap, when it looked first."""
        self._waits_until_ns = 0

    def enforce(self, now_ns: int) -> str:
        """Disconnect what is too much; returns who that was, for the log, or an empty string.

        Too many connections: each peer process keeps its first one, then its second and so on, until half of
        the places are taken. Too much memory: nobody knows whose message it is, so all are disconnected.
        While MAX_ENDED are left of before, neither, but where half of the descriptors are taken.
        """
        too_much = self._holds_too_much()
        count = len(_descriptors()) if too_much or self._may_be_crowded() else 0
        if not too_much and count <= self._max_descriptors:
            return ""
        urgent = count > self._urgent_descriptors
        if not urgent and (now_ns < self._waits_until_ns or self._are_left(now_ns)):
            return ""
        return self._disconnect(keep=0 if too_much else MAX_CONNECTIONS // 2)

    def disconnect_peer(self, name: str, endpoints: Sequence[str]) -> str:
        """Disconnect a peer from these endpoints, by the name that its messages carry (ZMQ's Peer-Address).

        Returns the name.
        """
        places = {_place(endpoint) for endpoint in endpoints}
        for peer, fd in self._connections(places):
            if peer == name:
                _shut(fd)
        return name

    def _disconnect(self, keep: int) -> str:
        by_peer: dict[str, list[int]] = defaultdict(list)
        for peer, fd in self._connections(self._places):
            by_peer[peer].append(fd)
        places = [(rank, fd, peer) for peer, fds in by_peer.items() for rank, fd in enumerate(sorted(fds))]
        closed: Counter[str] = Counter()
        for _, fd, peer in sorted(places)[keep:]:
            _shut(fd)
            closed[peer] += 1
        return ", ".join(f"{count} of {peer}" for peer, count in closed.most_common(MAX_NAMED))

    def _connections(self, places: Set[str]) -> Iterator[tuple[str, int]]:
        """Peer and descriptor of each connection that was accepted there; the process's own are left out."""
        for fd in _descriptors():
            with contextlib.suppress(OSError), _socket_of(fd) as connection:
                if connection.family == socket.AF_UNIX:
                    if connection.getsockname() not in places:
                        continue
                    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                    pid, uid, gid = struct.unpack("3i", credentials)
                    connection.getpeername()  # a listener has none: OSError
                    if pid != os.getpid():
                        yield f":{uid}:{gid}:{pid}", fd
                elif connection.family == socket.AF_INET and str(connection.getsockname()[1]) in places:
                    yield connection.getpeername()[0], fd

    def _are_left(self, now_ns: int) -> bool:
        """Whether too many that were ended are still to be read."""
        poll = select.poll()
        for _, fd in self._connections(self._places):
            poll.register(fd, 0)  # that it was ended is always told
        if len(poll.poll(0)) <= MAX_ENDED:
            return False
        self._waits_until_ns = now_ns + ENDED_LOOK_NS
        return True

    def _may_be_crowded(self) -> bool:
        """Whether the descriptor of that number is taken: the kernel gives the lowest that is free."""
        try:
            free = fcntl.fcntl(self._statm, fcntl.F_DUPFD_CLOEXEC, self._max_descriptors)
        except OSError:
            return True
        os.close(free)
        return free > self._max_descriptors

    def _holds_too_much(self) -> bool:
        resident = self._resident_bytes()
        if self._at_first is None:
            self._at_first = resident, self._heap.used_bytes()
        resident_at_first, heap_at_first = self._at_first
        if resident - resident_at_first <= self._max_growth_bytes:
            return False
        # Memory that was given back may stay with the process: what is in use decides.
        return self._heap.used_bytes() - heap_at_first > self._max_growth_bytes // 2

    def _resident_bytes(self) -> int:
        return int(os.pread(self._statm, 128, 0).split()[1]) * resource.getpagesize()


class CommandPublisher:
    """Publishes commands. Whoever subscribes to anything but all of them is disconnected.

    A subscription is the peer's to choose in size and number, and is stored and searched by the process that
    sends.
    """

    def __init__(self, socket: zmq.Socket[bytes], endpoints: Sequence[str], limits: PeerLimits) -> None:
        """``socket``: an XPUB, bound to ``endpoints``."""
        self._socket = socket
        self._endpoints = endpoints
        self._limits = limits

    def send(self, data: bytes) -> None:
        """Publish; never waits."""
        self._socket.send(data, zmq.DONTWAIT)

    def look_at_peers(self) -> str:
        """Keep all of this process's peers to their limits: bounded work, between two turns of its loop.

        Returns who was disconnected, for the log, or an empty string.
        """
        return self._look_at_subscribers() or self._limits.enforce(time.monotonic_ns())

    def _look_at_subscribers(self) -> str:
        refused = ""
        for _ in range(MAX_TOPIC_FRAMES):
            if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
                break
            frame = self._socket.recv(zmq.DONTWAIT, copy=False)
            if frame.bytes not in (b"\0", b"\1"):
                with contextlib.suppress(zmq.ZMQError):  # it carries no address: it is gone
                    refused = self._limits.disconnect_peer(str(frame.get("Peer-Address")), self._endpoints)
        return refused


_MALLINFO = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip
"""The fields of mallinfo(3)."""


class _Heap:
    """What this process's allocator has handed out; 0 where the C library does not tell."""

    class _Mallinfo(ctypes.Structure):
        _fields_ = tuple((name, ctypes.c_int) for name in _MALLINFO)

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._mallinfo = getattr(libc, "mallinfo", None)
        if self._mallinfo is not None:
            self._mallinfo.restype = self._Mallinfo

    def used_bytes(self) -> int:
        if self._mallinfo is None:
            return 0
        info = self._mallinfo()
        return int(info.uordblks) + int(info.hblkhd)


def _place(endpoint: str) -> str:
    """What a connection's own address shows of it: the path of a Unix socket, the port."""
    return endpoint.removeprefix("ipc://") if endpoint.startswith("ipc://") else endpoint.rpartition(":")[2]


def _descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    except OSError:  # none is left to look with
        return list(range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))


@contextlib.contextmanager
def _socket_of(fd: int) -> Iterator[socket.socket]:
    """The socket of a descriptor that somebody else owns. Raises OSError when it is none."""
    borrowed = socket.socket(fileno=fd)
    try:
        yield borrowed
    finally:
        borrowed.detach()


def _shut(fd: int) -> None:
    """End a connection of libzmq's: it sees the end as if the peer had closed it, and frees all of it."""
    with contextlib.suppress(OSError), _socket_of(fd) as connection:
        connection.shutdown(socket.SHUT_RDWR)
