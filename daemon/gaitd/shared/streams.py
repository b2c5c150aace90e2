"""The memory files of streams: a ring of frames for each, which its producer writes and workers read.

They belong to the guardian, which outlives producers and workers, and have no name: nothing of them is left
when the last process that has one is gone.
"""

from __future__ import annotations

from gaitd.policy.schema_stream import Feed
from gaitd.policy.stream import FrameFault, StreamFrame, StreamReceiver, frame_bytes
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingReader, RingShape

STREAM_RECORDS = 4
"""Frames in a ring, of which the newest is taken: a producer writes three more before it disturbs that."""
STREAM_CHANNEL = "stream"
"""The name of the socket at which they are handed out."""
STREAM_GREETING = "gaitd-stream 1"
"""How a producer's request begins, before the stream's name and kind; and what its descriptor comes with.
Anything else that comes back is why there is none."""
MAX_REQUEST_BYTES = 256
"""Of a producer."""


def stream_shape(stream: Feed) -> RingShape:
    """Of a stream's ring."""
    return RingShape(STREAM_RECORDS, frame_bytes(stream))


def stream_request(stream: Feed) -> bytes:
    """What a producer of that stream asks with."""
    return f"{STREAM_GREETING}\n{stream.name}\n{stream.kind}".encode()


class StreamReader:
    """One stream as a process has it that reads it: looks, counts, and never waits."""

    def __init__(self, stream: Feed, fd: int, taken: memoryview[int], refused: memoryview[int]) -> None:
        """``fd``: read-only. ``taken``: where frames are counted; ``refused``: the others, by FrameFault.

        Raises OSError.
        """
        self._receiver = StreamReceiver(stream)
        self._ring = RingReader(map_memory(fd, writable=False), stream_shape(stream))
        self._taken, self._refused = taken, refused

    @property
    def frame(self) -> StreamFrame | None:
        """The newest that was taken."""
        return self._receiver.frame

    def look(self, now_ns: int) -> bool:
        """Take what has come; whether that was a frame."""
        damaged = self._ring.damaged
        data = self._ring.take_newest()
        fault = None if data is None else self._receiver.take(data, now_ns)
        if self._ring.damaged != damaged:
            fault = FrameFault.DAMAGED
        if fault is not None:
            self._refused[fault] += 1
        elif data is not None:
            self._taken[0] += 1
            return True
        return False
