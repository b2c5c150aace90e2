"""What is known of a policy's streams, and what its terms see of them. Time is an argument.

A frame is the capture stamp [ns, CLOCK_MONOTONIC] as u64, then the values; both little-endian.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.schema_stream import Feed, Stream
from gaitd.policy.sources import layout_of, source_name
from gaitd.wire.causes import Cause
from gaitd.wire.generated import FUTURE_TOLERANCE_NS, CauseKind

MAX_STREAMS = 8
MAX_STREAM_VALUES = 4096
"""In a frame: the worker copies it and computes its checksum in the hot path, in some 20 us."""
MAX_ENCODER_VALUES = 640 * 480
"""In a frame that only an encoder takes."""
MAX_AGE_S = 60.0
FRAMES_IN_MAX_AGE = 1.5
"""A stream whose every frame comes in time must not be stale between two."""
STAMP = struct.Struct("<Q")
_LITTLE_ENDIAN = {"float32": "<f4", "int16": "<i2", "uint16": "<u2", "uint8": "u1"}
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class FrameFault(enum.IntEnum):
    """Why a frame was not taken."""

    DAMAGED = 0
    SIZE = 1
    FUTURE = 2
    NOT_NEWER = 3
    NOT_FINITE = 4


class StreamFrame(NamedTuple):
    """A frame that was taken."""

    values: Float32Array
    """(size,) inside the stream's range."""
    stamp_ns: int
    """When it was captured."""


Frames = Sequence[StreamFrame | None]
"""The newest frame of each of a manifest's streams, in their order; None: none has come yet."""


def frame_bytes(stream: Feed) -> int:
    """Length of a frame of it."""
    return STAMP.size + stream.size * _dtype(stream).itemsize


def encode_frame(stream: Feed, values: object, stamp_ns: int) -> bytes:
    """A frame's bytes. Raises ValueError for values of another shape or kind."""
    array = np.asarray(values)
    if array.shape != tuple(stream.shape) or not np.can_cast(array.dtype, _dtype(stream), "same_kind"):
        raise ValueError(f"expected {stream.kind}, got {array.dtype} {'x'.join(map(str, array.shape))}")
    return STAMP.pack(stamp_ns) + array.astype(_dtype(stream)).tobytes()


def is_stale(stream: Stream, frame: StreamFrame | None, at_ns: int) -> bool:
    """Whether its newest frame is too old, or none has come."""
    return frame is None or at_ns - frame.stamp_ns > stream.max_age_ns


class StreamReceiver:
    """Takes one stream's frames: only such as are whole, newer, from the past and finite."""

    def __init__(self, stream: Feed) -> None:
        self.stream = stream
        self.frame: StreamFrame | None = None
        """The newest one."""
        self._length = frame_bytes(stream)
        self._dtype = _dtype(stream)

    def take(self, data: bytes, now_ns: int) -> FrameFault | None:
        """Take a frame, or say why not."""
        if len(data) != self._length:
            return FrameFault.SIZE
        (stamp_ns,) = STAMP.unpack_from(data)
        if stamp_ns > now_ns + FUTURE_TOLERANCE_NS:
            return FrameFault.FUTURE
        if self.frame is not None and stamp_ns <= self.frame.stamp_ns:
            return FrameFault.NOT_NEWER
        values = np.frombuffer(data, self._dtype, offset=STAMP.size).astype(np.float32)
        if not np.isfinite(values).all():
            return FrameFault.NOT_FINITE
        np.clip(values, self.stream.min, self.stream.max, out=values)
        self.frame = StreamFrame(values, stamp_ns)
        return None


class StreamSources:
    """Writes what a manifest's terms see of its streams into the vector of sources."""

    def __init__(self, manifest: Manifest) -> None:
        """Raises InputError where a stream contradicts itself."""
        check_streams(manifest)
        layout = layout_of(manifest)
        self.streams = manifest.streams
        self._places = [
            (
                each,
                layout[source_name("stream", each.name)],
                layout[source_name("stream_age", each.name)].start,
                layout[source_name("stream_valid", each.name)].start,
            )
            for each in manifest.streams
        ]
        self._caps = {
            each.name: np.array(each.slow_max, np.float32)
            for each in manifest.streams
            if each.slow_max is not None
        }

    def write(self, sources: Float32Array, frames: Frames, at_ns: int) -> None:
        """What is seen of them then. Before its first frame a stream is 0, and as old as it may be."""
        for (stream, values, age, valid), frame in zip(self._places, frames, strict=True):
            stale = is_stale(stream, frame, at_ns)
            sources[values] = 0.0 if frame is None or (stale and stream.beyond == "zeros") else frame.values
            age_ns = stream.max_age_ns if frame is None else at_ns - frame.stamp_ns
            sources[age] = min(max(age_ns, 0), stream.max_age_ns) / 1e9
            sources[valid] = not stale

    def cap(self, command: Float32Array, frames: Frames, at_ns: int) -> Float32Array:
        """The velocity command (3,), slower while a stream that asks for it is stale."""
        for stream, frame in zip(self.streams, frames, strict=True):
            if stream.beyond == "slow" and is_stale(stream, frame, at_ns):
                most = self._caps[stream.name]
                command = np.minimum(np.maximum(command, -most), most)
        return command

    def cause(self, frames: Frames, at_ns: int) -> Cause | None:
        """Why no state may be answered at that time: a stream without which the policy must not walk."""
        for stream, frame in zip(self.streams, frames, strict=True):
            if stream.beyond == "damp" and is_stale(stream, frame, at_ns):
                age_ms = None if frame is None else (at_ns - frame.stamp_ns) / 1e6
                bound_ms = None if frame is None else stream.max_age_s * 1e3
                return Cause(CauseKind.STREAM_STALE, number=age_ms, bound=bound_ms)
        return None


def check_streams(manifest: Manifest) -> None:
    """Raise InputError where two streams have one name, or one contradicts itself."""
    names = [each.name for each in manifest.streams]
    shown = {(term.term, term.name) for term in manifest.observation.terms}
    if names and manifest.observation.raw_size is not None:
        raise InputError("streams: the controller makes this policy's observation, its streams too")
    for index, each in enumerate(manifest.streams):
        where = f"streams[{index}] ({each.name})"
        if names.count(each.name) > 1:
            raise InputError(f"streams: {each.name!r} is there twice")
        check_feed(each, where)
        if not FRAMES_IN_MAX_AGE / each.rate_hz <= each.max_age_s <= MAX_AGE_S:
            raise InputError(
                f"{where}.max_age_s: expected {FRAMES_IN_MAX_AGE / each.rate_hz:g} ({FRAMES_IN_MAX_AGE:g} "
                f"times the time between two frames) to {MAX_AGE_S:g}, got {each.max_age_s}"
            )
        if (each.slow_max is None) != (each.beyond != "slow"):
            raise InputError(f"{where}.slow_max: `beyond: slow` needs it, and no other has it")
        if each.slow_max is not None and not all(0 <= most < math.inf for most in each.slow_max):
            raise InputError(f"{where}.slow_max: expected at least 0, got {list(each.slow_max)}")
        if each.beyond == "zeros" and ("stream_valid", each.name) not in shown:
            raise InputError(
                f"{where}.beyond: zeros without a term that says so are a wrong value; add "
                f"{{term: stream_valid, name: {each.name}}}, or choose hold, slow or damp"
            )


def check_feed(feed: Feed, where: str) -> None:
    """Raise InputError where range or rate is none."""
    if not (-_FLOAT32_MAX <= feed.min <= 0.0 <= feed.max <= _FLOAT32_MAX and feed.min < feed.max):
        raise InputError(f"{where}: expected finite min < max with 0 inside, got {feed.min}, {feed.max}")
    if not 0 < feed.rate_hz < math.inf:
        raise InputError(f"{where}.rate_hz: expected above 0, got {feed.rate_hz}")


def _dtype(stream: Feed) -> np.dtype[Any]:
    return np.dtype(_LITTLE_ENDIAN[stream.dtype])
