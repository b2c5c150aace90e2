"""The policy's streams as a worker has them: the newest frame of each, and what became of the others."""

from __future__ import annotations

from collections.abc import Sequence

from gaitd.policy.manifest import Stream
from gaitd.policy.stream import FrameFault, Frames, StreamReceiver, is_stale
from gaitd.shared.memory import Words, map_memory
from gaitd.shared.message_ring import RingReader
from gaitd.shared.streams import stream_shape


class Streams:
    """Looks, and never waits."""

    def __init__(self, streams: Sequence[Stream], fds: Sequence[int], words: Words, now_ns: int) -> None:
        """``fds``: read-only, one of each stream. Raises OSError."""
        self._receivers = [StreamReceiver(each) for each in streams]
        self._readers = [
            RingReader(map_memory(fd, writable=False), stream_shape(each))
            for each, fd in zip(streams, fds, strict=True)
        ]
        self._stale_since, self._taken = words.row("stream_stale_since_ns"), words.row("stream_frames")
        self._refused = words.row("stream_refused")
        for index in range(len(streams)):
            self._stale_since[index] = now_ns
        self.frames: Frames = [None] * len(streams)
        """The newest of each."""

    def look(self, now_ns: int) -> None:
        """Take what has come, and note which stream is stale since when."""
        for index, (receiver, reader) in enumerate(zip(self._receivers, self._readers, strict=True)):
            damaged = reader.damaged
            data = reader.take_newest()
            fault = None if data is None else receiver.take(data, now_ns)
            if reader.damaged != damaged:
                fault = FrameFault.DAMAGED
            if fault is not None:
                self._refused[index * len(FrameFault) + fault] += 1
            elif data is not None:
                self._taken[index] += 1
            frame = receiver.frame
            if not is_stale(receiver.stream, frame, now_ns):
                self._stale_since[index] = 0
            elif frame is not None and self._stale_since[index] == 0:
                self._stale_since[index] = frame.stamp_ns + receiver.stream.max_age_ns
        if self._receivers:
            self.frames = [receiver.frame for receiver in self._receivers]
