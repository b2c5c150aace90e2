"""The memory files of streams: a ring of frames for each, which its producer writes and workers read.

They belong to the guardian, which outlives producers and workers, and have no name: nothing of them is left
when the last process that has one is gone.
"""

from __future__ import annotations

from gaitd.policy.manifest import Stream
from gaitd.policy.stream import frame_bytes
from gaitd.shared.message_ring import RingShape

STREAM_RECORDS = 4
"""Frames in a ring, of which the newest is taken: a producer writes three more before it disturbs that."""
STREAM_CHANNEL = "stream"
"""The name of the socket at which they are handed out."""
STREAM_GREETING = "gaitd-stream 1"
"""How a producer's request begins, before the stream's name and kind; and what its descriptor comes with.
Anything else that comes back is why there is none."""
MAX_REQUEST_BYTES = 256
"""Of a producer."""


def stream_shape(stream: Stream) -> RingShape:
    """Of a stream's ring."""
    return RingShape(STREAM_RECORDS, frame_bytes(stream))


def stream_request(stream: Stream) -> bytes:
    """What a producer of that stream asks with."""
    return f"{STREAM_GREETING}\n{stream.name}\n{stream.kind}".encode()
