"""The policy's streams as a worker has them: the newest frame of each, and which is stale since when."""

from __future__ import annotations

from collections.abc import Sequence

from gaitd.policy.manifest import Stream
from gaitd.policy.stream import FrameFault, Frames, is_stale
from gaitd.shared.memory import Words
from gaitd.shared.streams import StreamReader


class Streams:
    """Looks, and never waits."""

    def __init__(self, streams: Sequence[Stream], fds: Sequence[int], words: Words, now_ns: int) -> None:
        """``fds``: read-only, one of each stream. Raises OSError."""
        self._streams = streams
        self._stale_since = words.row("stream_stale_since_ns")
        taken, refused, faults = words.row("stream_frames"), words.row("stream_refused"), len(FrameFault)
        self._readers = [
            StreamReader(each, fd, taken[index : index + 1], refused[index * faults : (index + 1) * faults])
            for index, (each, fd) in enumerate(zip(streams, fds, strict=True))
        ]
        for index in range(len(streams)):
            self._stale_since[index] = now_ns
        self.frames: Frames = [None] * len(streams)
        """The newest of each."""

    def look(self, now_ns: int) -> None:
        """Take what has come, and note which stream is stale since when."""
        for index, (stream, reader) in enumerate(zip(self._streams, self._readers, strict=True)):
            reader.look(now_ns)
            frame = reader.frame
            if not is_stale(stream, frame, now_ns):
                self._stale_since[index] = 0
            elif frame is not None and self._stale_since[index] == 0:
                self._stale_since[index] = frame.stamp_ns + stream.max_age_ns
        if self._readers:
            self.frames = [reader.frame for reader in self._readers]
