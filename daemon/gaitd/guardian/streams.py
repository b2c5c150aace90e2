"""The guardian's end of streams: who publishes which, and the socket at which they get their memory."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from gaitd.errors import error_of
from gaitd.policy.encoder import encoded, feeds_of
from gaitd.policy.schema_stream import Feed, Stream
from gaitd.shared.lanes import create_ring
from gaitd.shared.memory import map_memory, read_only
from gaitd.shared.message_ring import RingKind, ring_head
from gaitd.shared.streams import MAX_REQUEST_BYTES, STREAM_CHANNEL, STREAM_GREETING, stream_shape
from gaitd.system.handover import Handover, hand_over, heard, is_gone

MAX_WAITING = 8
"""Connections that have not asked for anything yet; with one more, the oldest of them ends."""


class StreamDesk:
    """A memory file for each stream, for one producer at a time. Never waits."""

    def __init__(self, directory: Path, streams: Sequence[Stream]) -> None:
        """Raises InputError, ResourceError."""
        made = {stream.name: stream for stream, _ in encoded(streams)}
        self._streams: dict[str, Feed] = {each.name: each for each in feeds_of(streams)} | made
        self._encoded = frozenset(made)
        self._fds = {}
        self._memory = {}
        for number, (name, stream) in enumerate(self._streams.items()):
            shape = stream_shape(stream)
            self._fds[name] = create_ring(
                RingKind.STREAM, number, shape, "streams", "run the policy on a kernel that has them"
            )
            self._memory[name] = map_memory(self._fds[name], writable=True)
        self._heads = {
            name: ring_head(RingKind.STREAM, number, stream_shape(stream))
            for number, (name, stream) in enumerate(self._streams.items())
        }
        self._producers: dict[str, socket.socket] = {}
        self._waiting: list[socket.socket] = []
        path = directory / f"{STREAM_CHANNEL}.sock"
        try:
            self._desk = Handover(path, MAX_WAITING)
        except OSError as error:
            raise error_of(error.errno, f"{path}: {error.strerror}; set daemon.runtime_dir") from None

    def launch(self, streams: Sequence[Stream]) -> list[int]:
        """Read-only descriptors of those streams, for a worker."""
        return [read_only(self._fds[each.name]) for each in streams]

    def frames_fd(self, feed: Feed) -> int:
        """A read-only descriptor of it, for an encoder."""
        return read_only(self._fds[feed.name])

    def stream_fd(self, stream: Stream) -> int:
        """The descriptor of a stream that an encoder makes, for that encoder."""
        return self._fds[stream.name]

    def is_produced(self, name: str) -> bool:
        """Whether somebody has asked for it and is there."""
        return name in self._producers

    def serve(self) -> None:
        """Let in one who has connected, answer who asked, and note who is gone."""
        for name, producer in list(self._producers.items()):
            if is_gone(producer):
                self._producers.pop(name).close()
        peer = self._desk.accept()
        if peer is not None:
            self._waiting.append(peer)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.pop(0).close()
        for peer in list(self._waiting):
            request = heard(peer, MAX_REQUEST_BYTES)
            if request is not None:
                self._waiting.remove(peer)
                self._answer(peer, request)

    def close(self) -> None:
        """The end: producers hear of it."""
        self._desk.close()
        for peer in (*self._producers.values(), *self._waiting):
            peer.close()
        self._producers, self._waiting = {}, []

    def _answer(self, peer: socket.socket, request: bytes) -> None:
        name, why = self._judge(request)
        if not why:
            memory, head = self._memory[name], self._heads[name]
            memory[: len(head)] = head  # whatever the one before left there
            if hand_over(peer, STREAM_GREETING.encode(), [self._fds[name]]):
                self._producers[name] = peer
                return
        elif request:
            hand_over(peer, why.encode(), [])
        peer.close()

    def _judge(self, request: bytes) -> tuple[str, str]:
        """The stream that is asked for, and why it is not given; empty: it is."""
        greeting, *rest = request.decode(errors="replace").split("\n")
        if greeting != STREAM_GREETING or len(rest) != 2:
            return "", f"expected `{STREAM_GREETING}`, the stream's name and its kind, one a line"
        name, kind = rest
        if name not in self._streams:
            return "", f"no policy here has a stream {name!r}; there are: {', '.join(self._streams)}"
        if name in self._encoded:
            return "", f"stream {name}: its encoder makes it, here; publish what that takes"
        expected = self._streams[name].kind
        if kind != expected:
            return "", f"stream {name}: the policy expects {expected}, not {kind!r}"
        if name in self._producers:
            return "", f"stream {name}: another producer has it; end that one"
        return name, ""
