"""A controller's end of the shared-memory transport, in Python."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from gaitd.shared.lanes import command_shape, state_shape
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingReader, RingWriter
from gaitd.system.wait import wait_readable


class LaneClient:
    """One lane of a gaitd with one worker, or with the first of several."""

    def __init__(self, directory: Path) -> None:
        """Ask; ``take`` what was handed out."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20.0)
        self.socket.connect(str(directory / "shm.sock"))
        self.fds: list[int] = []

    def take(self) -> str:
        """What gaitd says, and the lane if there is one."""
        said, self.fds, _, _ = socket.recv_fds(self.socket, 512, 16)
        if self.fds:
            self.state_fd, self.wake_fd, self.guard_fd, self.command_fd, self.worker_fd = self.fds[:5]
            room = int.from_bytes(os.pread(self.state_fd, 8, 32), "little")
            self.states = RingWriter(map_memory(self.state_fd, writable=True), state_shape(room))
            rings = [
                RingReader(map_memory(fd, writable=False), command_shape(room))
                for fd in (self.guard_fd, self.command_fd)
            ]
            for ring in rings:
                ring.skip()
            self.guardian, self.commands = rings
        return said.decode()

    def send(self, data: bytes) -> None:
        """A state, and wake every worker."""
        self.states.append(data)
        for fd in self.fds[4::2]:
            os.eventfd_write(fd, 1)

    def receive(self, timeout_s: float) -> bytes | None:
        """The next command of worker or guardian, the guardian's first; None when the time is over."""
        until_s = time.monotonic() + timeout_s
        while (data := self.guardian.take() or self.commands.take()) is None:
            if not wait_readable([self.wake_fd], until_s - time.monotonic()):
                return None
            os.eventfd_read(self.wake_fd)  # perhaps of a command that was taken before
        return data

    def close(self) -> None:
        """Give the lane back."""
        self.socket.close()
        for fd in self.fds:
            os.close(fd)
