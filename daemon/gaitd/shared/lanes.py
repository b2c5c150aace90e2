"""The files of the shared-memory transport: a ring of states for each lane, of commands for each slot.

A lane is what one controller's client has: it alone writes the lane's states. Each worker writes its slot's
commands, the guardian its own. All of them belong to the guardian, which outlives workers, and have no name:
nothing of them is left when the last process that has one is gone.
"""

from __future__ import annotations

import errno
import fcntl
import os

import msgspec

from gaitd.errors import ResourceError
from gaitd.shared.memory import create_memory
from gaitd.shared.message_ring import RingKind, RingShape, ring_head

LANES = 8
"""Clients at a time. A client that renews its connection has two for a moment."""
STATE_RECORDS = 64
"""States that wait while a worker is busy; far more than may still be answered."""
COMMAND_RECORDS = 8
"""Of which a client takes the newest."""
SHM_CHANNEL = "shm"
"""The name of the socket at which they are handed out, in hello's reply."""


class LanesLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's descriptors."""

    room: int
    state_fds: list[int]
    """By lane, read-only."""
    command_fd: int
    """Of its slot; it writes it."""
    wake_fd: int
    """An eventfd that controllers write after a state."""
    controller_fds: list[int]
    """By lane, eventfds to be written after a command."""

    @property
    def fds(self) -> list[int]:
        """All of them."""
        return [*self.state_fds, self.command_fd, self.wake_fd, *self.controller_fds]


def state_shape(room: int) -> RingShape:
    """Of a lane's ring."""
    return RingShape(STATE_RECORDS, room)


def command_shape(room: int) -> RingShape:
    """Of a slot's ring, and of the guardian's."""
    return RingShape(COMMAND_RECORDS, room)


def create_ring(
    kind: RingKind,
    number: int,
    shape: RingShape,
    key: str = "daemon.transport",
    remedy: str = 'set daemon.transport to "zmq"',
) -> int:
    """Make a ring's file; returns its descriptor. Raises OSError, ResourceError where it cannot be sealed.

    A peer that could shrink it would kill whoever reads it next, so without seals there is none; and whoever
    may write it must not be able to seal it against the next one. ``key``: who needs it.
    """
    fd = create_memory(f"gaitd-ring-{kind.name.lower()}-{number}", shape.size, ring_head(kind, number, shape))
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise ResourceError(
            f"{key}: this kernel, or a filter of system calls, has no memory files that can be "
            f"sealed (memfd_create); {remedy}"
        ) from None
    return fd
