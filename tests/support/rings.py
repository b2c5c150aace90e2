"""Rings of shared memory for tests."""

from __future__ import annotations

from gaitd.shared.message_ring import RingKind, RingShape, RingWriter, ring_head


def written_ring(shape: RingShape, messages: int = 6) -> bytes:
    """The memory of a ring with so many messages in it."""
    memory = memoryview(bytearray(shape.size))
    head = ring_head(RingKind.STATE, 0, shape)
    memory[: len(head)] = head
    writer = RingWriter(memory, shape)
    for number in range(messages):
        writer.append(bytes([number]) * (shape.room - number))
    return bytes(memory)
