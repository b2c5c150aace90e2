"""A stream's producer in Python: what a camera's or a simulator's process publishes frames with."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gaitd.errors import InputError, printable
from gaitd.policy.schema_stream import Feed
from gaitd.policy.stream import encode_frame
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingWriter
from gaitd.shared.streams import STREAM_CHANNEL, STREAM_GREETING, stream_request, stream_shape

ANSWER_S = 2.0
"""gaitd answers within a control period."""


class StreamProducer:
    """Has one stream for itself until it is closed, or its process ends."""

    def __init__(self, runtime_dir: Path, stream: Feed) -> None:
        """``stream``: as the policy's manifest has it, or what its encoder takes.

        Raises InputError with gaitd's reason.
        """
        path = runtime_dir / f"{STREAM_CHANNEL}.sock"
        self._stream = stream
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(path))
            self._socket.send(stream_request(stream))
            said, fds, _, _ = socket.recv_fds(self._socket, 1024, 1)
        except OSError as error:
            self._socket.close()
            raise InputError(
                f"{path}: {error.strerror or 'no answer'}; does a gaitd run there whose policy has streams?"
            ) from None
        if said != STREAM_GREETING.encode() or len(fds) != 1:
            self._socket.close()
            raise InputError(f"{path}: {printable(said.decode(errors='replace')) or 'gaitd hung up'}")
        self._socket.setblocking(False)
        shape = stream_shape(stream)
        self.memory = map_memory(fds[0], writable=True)
        self.fd = fds[0]
        self._ring = RingWriter(self.memory, shape)

    def publish(self, values: object, stamp_ns: int | None = None) -> None:
        """Publish a frame, an array of the stream's shape. Never waits.

        ``stamp_ns``: when it was captured, CLOCK_MONOTONIC; None: now. Raises ValueError for another shape or
        kind of values.
        """
        stamp_ns = time.monotonic_ns() if stamp_ns is None else stamp_ns
        self._ring.append(encode_frame(self._stream, np.asarray(values), stamp_ns))

    @property
    def is_wanted(self) -> bool:
        """Whether gaitd is still there."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Give the stream back."""
        self._socket.close()


class LastingProducer:
    """A producer for whatever gaitd is there: it connects, and again to one that comes."""

    def __init__(
        self, runtime_dir: Path, stream: Feed, what: str, say: Callable[[str], None], retry_s: float
    ) -> None:
        """``say``: hears when gaitd takes the stream, and why it does not, with ``what`` it is.

        ``retry_s``: between two tries.
        """
        self._runtime_dir, self._stream, self._what, self._say = runtime_dir, stream, what, say
        self._retry_s = retry_s
        self._producer: StreamProducer | None = None
        self._try_at_s = 0.0
        self._said = ""

    @property
    def connected(self) -> StreamProducer | None:
        """To publish with; None: gaitd does not take the stream now."""
        if self._producer is not None and not self._producer.is_wanted:
            self.close()
        if self._producer is None and time.monotonic() >= self._try_at_s:
            self._connect()
        return self._producer

    def close(self) -> None:
        """Give the stream back."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def _connect(self) -> None:
        try:
            self._producer = StreamProducer(self._runtime_dir, self._stream)
            said = f"{self._what}: gaitd takes it"
        except InputError as error:
            said = f"{self._what}: {error}"
        self._try_at_s = time.monotonic() + self._retry_s
        if said != self._said:
            self._said = said
            self._say(said)
