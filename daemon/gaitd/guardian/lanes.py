"""The shared-memory transport as the guardian has it: who has which lane, and what it says itself there."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from gaitd.errors import error_of
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.lanes import (
    LANES,
    SHM_CHANNEL,
    LanesLaunch,
    command_shape,
    create_ring,
    state_shape,
)
from gaitd.shared.memory import map_memory, read_only
from gaitd.shared.message_ring import RingKind, RingWriter, ring_head
from gaitd.system.handover import Handover, hand_over, is_gone
from gaitd.wire.generated import GUARD_SLOT

GREETING = b"gaitd-shm 1"
"""What descriptors come with; anything else is why there are none."""


class Lanes:
    """All files of the transport, and the socket at which they are handed out."""

    def __init__(self, directory: Path, room: int, slots: Sequence[int], guard: GuardMemory) -> None:
        """``room``: bytes of the longest message. ``slots``: of the workers.

        Raises InputError, ResourceError.
        """
        self._room = room
        self._connections = guard.words.row("lanes")
        self._newest = 0
        self._states = [create_ring(RingKind.STATE, lane, state_shape(room)) for lane in range(LANES)]
        self._state_memory = [map_memory(fd, writable=True) for fd in self._states]
        self._controllers = [_event() for _ in range(LANES)]
        shape = command_shape(room)
        self._commands = {slot: create_ring(RingKind.COMMAND, slot, shape) for slot in slots}
        self._wakes = {slot: _event() for slot in slots}
        guard_fd = create_ring(RingKind.GUARD, GUARD_SLOT, shape)
        self._guard = RingWriter(map_memory(guard_fd, writable=True), shape)
        readable = {slot: read_only(fd) for slot, fd in self._commands.items()}
        self._for_all = [read_only(guard_fd)]
        self._for_all += [fd for slot in slots for fd in (readable[slot], self._wakes[slot])]
        self._peers: dict[int, socket.socket] = {}
        """By lane."""
        path = directory / f"{SHM_CHANNEL}.sock"
        try:
            self._desk = Handover(path, LANES)
        except OSError as error:
            raise error_of(error.errno, f"{path}: {error.strerror}; set daemon.runtime_dir") from None

    def launch(self, slot: int) -> LanesLaunch:
        """What the worker in that slot is started with."""
        return LanesLaunch(
            room=self._room,
            state_fds=[read_only(fd) for fd in self._states],
            command_fd=self._commands[slot],
            wake_fd=self._wakes[slot],
            controller_fds=self._controllers,
        )

    def serve(self) -> None:
        """Let in one who has connected, and note who is gone. Never waits."""
        for lane, client in list(self._peers.items()):
            if is_gone(client):
                self._free(lane)
        peer = self._desk.accept()
        if peer is None:
            return
        free = [lane for lane in range(LANES) if lane not in self._peers]
        if not free:
            why = f"all {LANES} lanes of gaitd's shared memory are taken: end other clients, or use ZeroMQ"
            hand_over(peer, why.encode(), [])
            peer.close()
            return
        lane = free[0]
        self._peers[lane] = peer
        self._empty(lane)
        self._newest += 1
        self._connections[lane] = self._newest  # before the client can write a state
        if not hand_over(peer, GREETING, [self._states[lane], self._controllers[lane], *self._for_all]):
            self._free(lane)

    def send(self, data: bytes) -> None:
        """What the guardian says to all; never waits."""
        self._guard.append(data)
        for lane in self._peers:
            wake(self._controllers[lane])

    def close(self) -> None:
        """The end: clients hear of it."""
        self._desk.close()
        for lane in list(self._peers):
            self._free(lane)

    def _empty(self, lane: int) -> None:
        """Nothing of an earlier client is left in it: no states, no head, no blocking eventfd."""
        memory = self._state_memory[lane]
        memory[:] = ring_head(RingKind.STATE, lane, state_shape(self._room)).ljust(len(memory), b"\0")
        os.set_blocking(self._controllers[lane], False)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._controllers[lane])

    def _free(self, lane: int) -> None:
        self._connections[lane] = 0
        self._peers.pop(lane).close()


def wake(eventfd: int) -> None:
    """A reader that has not read for 2^64 messages need not be told of one more."""
    with contextlib.suppress(BlockingIOError):
        os.eventfd_write(eventfd, 1)


def _event() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
