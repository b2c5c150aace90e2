"""A Unix socket of the group, at which a process hands out descriptors (SCM_RIGHTS). Nobody here waits."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from gaitd.system.access import for_owner_and_group


class Handover:
    """The listening end. What a killed process left is replaced: the directory is gaitd's."""

    def __init__(self, path: Path, backlog: int) -> None:
        """Raises OSError."""
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            with for_owner_and_group():
                self._listener.bind(str(path))
            self._listener.listen(backlog)
        except OSError:
            self._listener.close()
            raise

    def accept(self) -> socket.socket | None:
        """The next one who has connected, non-blocking; None: nobody has."""
        try:
            peer = self._listener.accept()[0]
        except OSError:  # also: no descriptor is left
            return None
        peer.setblocking(False)
        return peer

    def close(self) -> None:
        """Nobody can connect any more."""
        self._listener.close()
        self.path.unlink(missing_ok=True)


def hand_over(peer: socket.socket, data: bytes, fds: Sequence[int]) -> bool:
    """Send one message with descriptors; False when the peer is gone or does not read."""
    try:
        return socket.send_fds(peer, [data], fds) == len(data)
    except OSError:
        return False


def heard(peer: socket.socket, most: int) -> bytes | None:
    """The message, ``most`` bytes of it, that a peer has sent; empty: it is gone; None: there is none."""
    try:
        return peer.recv(most)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def is_gone(peer: socket.socket) -> bool:
    """Whether a peer that is to say nothing has closed its end, or has said something."""
    try:
        peer.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
