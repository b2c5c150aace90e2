"""The shared-memory transport as a worker has it: states of all lanes in, commands of its slot out."""

from __future__ import annotations

import os
import time

from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.lanes import LanesLaunch, command_shape, state_shape
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingReader, RingWriter
from gaitd.worker.step import Frame


class Lanes:
    """Never waits: who reads it waits for ``wake_fd``."""

    def __init__(self, launch: LanesLaunch, guard: GuardMemory) -> None:
        """Begins behind the states that are there. Raises OSError."""
        states, commands = state_shape(launch.room), command_shape(launch.room)
        self._readers = [RingReader(map_memory(fd, writable=False), states) for fd in launch.state_fds]
        self._commands = RingWriter(map_memory(launch.command_fd, writable=True), commands)
        self._controller_fds = launch.controller_fds
        self._connections = guard.words.row("lanes")
        self._known = self._connections.tobytes()
        self._open_lanes()
        for reader in self._open:
            reader.skip()
        self.wake_fd = launch.wake_fd
        """Written after each state."""

    @property
    def has_message(self) -> bool:
        """Whether a state has come."""
        self._look_who_is_there()
        return True in [reader.has_more for reader in self._open]

    def take_into(self, frames: list[Frame], most: int) -> None:
        """Add the states that wait, lane by lane, oldest first, until there are ``most``."""
        self._look_who_is_there()
        for reader in self._open:
            while len(frames) < most and (data := reader.take()) is not None:
                frames.append(Frame(data, time.monotonic_ns()))

    def send(self, data: bytes) -> None:
        """Publish a command; never waits."""
        self._commands.append(data)
        for fd in self._open_fds:
            try:
                os.eventfd_write(fd, 1)
            except BlockingIOError:  # it has not been read for 2^64 commands
                continue

    def _look_who_is_there(self) -> None:
        connections = self._connections.tobytes()
        if connections == self._known:
            return
        before, now = memoryview(self._known).cast("Q"), memoryview(connections).cast("Q")
        for lane, (old, new) in enumerate(zip(before, now, strict=True)):
            if new not in (0, old):
                self._readers[lane].begin()
        self._known = connections
        self._open_lanes()

    def _open_lanes(self) -> None:
        lanes = [lane for lane, number in enumerate(memoryview(self._known).cast("Q")) if number]
        self._open = [self._readers[lane] for lane in lanes]
        self._open_fds = [self._controller_fds[lane] for lane in lanes]
