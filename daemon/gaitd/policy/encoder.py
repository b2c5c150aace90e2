"""Encoders: which frames one encodes, and the frame that comes of each. Pure: the model is an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.schema_stream import Encoder, Feed, Stream
from gaitd.policy.stream import StreamFrame, check_feed, encode_frame

SOONEST = 0.75
"""Of the time between two frames at the stream's rate: a camera of just that rate, whose frames come a little
early now and then, has each of them encoded, one of twice the rate every second."""


class EncoderStep:
    """One encoder: a frame in, the frame of its stream out."""

    def __init__(self, stream: Stream, encode: Callable[[Float32Array], Float32Array]) -> None:
        """``stream``: the one that it makes. ``encode``: the model, on a frame's values (size,)."""
        self._stream = stream
        self._encode = encode
        self._soonest_ns = round(SOONEST / stream.rate_hz * 1e9)
        self._last_ns: int | None = None

    def step(self, frame: StreamFrame | None) -> bytes | None:
        """The stream's next frame, with the capture stamp of what it was made of; None: there is none.

        The stamp goes along: age and staleness of what the policy sees count from the camera, not from here.
        """
        if frame is None or (self._last_ns is not None and frame.stamp_ns - self._last_ns < self._soonest_ns):
            return None
        self._last_ns = frame.stamp_ns
        values = self._encode(frame.values).reshape(self._stream.shape)
        return encode_frame(self._stream, values, frame.stamp_ns)


def encoded(streams: Sequence[Stream]) -> list[tuple[Stream, Encoder]]:
    """Those that encoders make, each with its encoder."""
    return [(each, each.encoder) for each in streams if each.encoder is not None]


def feeds_of(streams: Sequence[Stream]) -> list[Feed]:
    """What other processes publish for these streams: they themselves, or what their encoders take."""
    return [each if each.encoder is None else each.encoder.takes for each in streams]


def check_encoders(manifest: Manifest) -> None:
    """Raise InputError where an encoder contradicts itself, or others."""
    encoders = encoded(manifest.streams)
    made = [stream.name for stream, _ in encoders]
    models = [each.name for each in manifest.models] or ["model"]
    models += [encoder.model for _, encoder in encoders]
    for stream, encoder in encoders:
        takes, where = encoder.takes, f"streams ({stream.name})"
        check_feed(takes, f"{where}.encoder.takes")
        if stream.dtype != "float32":
            raise InputError(f"{where}.dtype: an encoder gives float32, not {stream.dtype}")
        if stream.rate_hz > takes.rate_hz:
            raise InputError(
                f"{where}.rate_hz: an encoder takes each frame once: expected at most the rate of "
                f"encoder.takes, {takes.rate_hz:g}, got {stream.rate_hz:g}"
            )
        if models.count(encoder.model) > 1:
            raise InputError(f"{where}.encoder.model: another model is named {encoder.model!r}, too")
        if takes.name in made:
            raise InputError(
                f"{where}.encoder.takes: {takes.name!r} is made by an encoder: export both as one model"
            )
        for other in feeds_of(manifest.streams):
            if other.name == takes.name and other.kind != takes.kind:
                raise InputError(
                    f"{where}.encoder.takes: {takes.name!r} is {takes.kind} here and {other.kind} elsewhere"
                )
