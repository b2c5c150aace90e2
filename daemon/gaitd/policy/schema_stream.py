"""Streams of a manifest: what other processes than the controller publish, at a rate of their own."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from gaitd.policy.schema import Strict


class Feed(Strict, frozen=True, kw_only=True):
    """Values that a process beside the controller publishes; the newest frame is taken, never waited for."""

    name: str
    """As its producer asks for it."""
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=1)]], msgspec.Meta(min_length=1, max_length=4)]
    """Of a frame; its values are in C order."""
    dtype: Literal["float32", "int16", "uint16", "uint8"] = "float32"
    """Of its values, little-endian; they are taken as float32."""
    unit: str = "1"
    """For people."""
    min: float
    """Smallest; what lies outside is clipped. 0 must be inside: so a stream reads before its first frame."""
    max: float
    """Largest."""
    rate_hz: float
    """How often its producer publishes; an encoder, at most."""

    @property
    def size(self) -> int:
        """Number of values of a frame."""
        return math.prod(self.shape)

    @property
    def kind(self) -> str:
        """What a producer must state that it sends, as ``float32 11x17``."""
        return f"{self.dtype} {'x'.join(map(str, self.shape))}"


class Encoder(Strict, frozen=True, kw_only=True):
    """A model that makes a stream from another one, on the CPU, in a process of its own."""

    model: str
    """Its file is MODEL.onnx."""
    takes: Feed
    """What it is run on: a frame's values as they come, inside `min` and `max`."""
    input: str
    """Name of the tensor that takes them, of any shape with so many values."""
    output: str
    """Name of the tensor that holds the stream's values."""


class Stream(Feed, frozen=True, kw_only=True):
    """What the policy sees of a process beside the controller: a height map, the features of a camera."""

    max_age_s: float
    """A frame captured longer ago is stale; at least one and a half times the time between two frames."""
    beyond: Literal["hold", "zeros", "slow", "damp"]
    """What happens with a stale one. hold: the last frame stays. zeros: the values are 0; a term stream_valid
    must say so. slow: as hold, and the velocity command is cut to `slow_max`. damp: states are
    refused, and so the joints go to damping."""
    slow_max: tuple[float, float, float] | None = None
    """Largest magnitudes of forward, left, turn left with `beyond: slow`, in the unit of the velocity
    command."""
    encoder: Encoder | None = None
    """gaitd makes this stream itself, from what another producer publishes; null: a producer does."""

    @property
    def max_age_ns(self) -> int:
        """``max_age_s`` in the unit of the clocks."""
        return round(self.max_age_s * 1e9)
