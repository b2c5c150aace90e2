"""A camera's frames as a stream: from a video device, or from a file or FIFO of raw frames in its place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.schema_stream import Feed
from gaitforge.client.stream import LastingProducer

Pixels: TypeAlias = Literal["grey", "z16", "yuyv"]
FOURCC: dict[Pixels, str] = {"grey": "GREY", "z16": "Z16 ", "yuyv": "YUYV"}
"""As the kernel names them: 8-bit brightness, 16-bit depth, and colour, of which the brightness is taken."""
RETRY_S = 0.5
"""After gaitd was not there."""

Image: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Frames: TypeAlias = Iterable[tuple[bytes, int]]
"""Bytes of each, and when it was captured [ns, CLOCK_MONOTONIC]."""


def frame_size(pixels: Pixels, width: int, height: int) -> int:
    """Bytes of a frame."""
    return width * height * (1 if pixels == "grey" else 2)


def read_image(data: bytes, pixels: Pixels, width: int, height: int) -> Image:
    """(height, width) brightness, or depth in the camera's unit."""
    if pixels == "z16":
        return np.frombuffer(data, "<u2").reshape(height, width)
    if pixels == "yuyv":
        return np.frombuffer(data, np.uint8).reshape(height, 2 * width)[:, ::2]
    return np.frombuffer(data, np.uint8).reshape(height, width)


def resample(image: Image, rows: int, columns: int) -> Image:
    """(rows, columns): of each of so many equal fields the pixel in its middle.

    No mean: a depth of 0 says that there is none, and a mean of it and a wall is a thing that is not there.
    """
    height, width = image.shape
    sizes = ((height, rows), (width, columns))
    places = [((2 * np.arange(count) + 1) * size) // (2 * count) for size, count in sizes]
    taken: Image = image[np.ix_(*places)]
    return taken


def recorded_frames(path: Path, size: int, rate_hz: float) -> Iterator[tuple[bytes, int]]:
    """Raw frames, one behind the other; of a file so many a second, of a FIFO as they come. Ends with it.

    Raises InputError when it cannot be read, or ends within a frame.
    """
    paced, next_s = path.is_file(), time.monotonic()
    try:
        with path.open("rb") as file:
            while data := file.read(size):
                if len(data) != size:
                    raise InputError(f"{path}: ends within a frame: {len(data)} of {size} bytes")
                yield data, time.monotonic_ns()
                if paced:
                    next_s += 1.0 / rate_hz
                    time.sleep(max(0.0, next_s - time.monotonic()))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def publish_camera(
    frames: Frames,
    feed: Feed,
    runtime_dir: Path,
    pixels: Pixels,
    size: tuple[int, int],
    say: Callable[[str], None],
) -> None:
    """Publish frames of that (width, height) to the gaitd there until they end, and again to one that comes.

    ``say`` hears when gaitd takes the stream, and why it does not. Raises InputError for a stream that is no
    image.
    """
    if len(feed.shape) < 2 or any(side != 1 for side in feed.shape[:-2]):
        raise InputError(f"stream {feed.name}: expected rows x columns, got {feed.kind}")
    rows, columns = feed.shape[-2:]
    lasting = LastingProducer(runtime_dir, feed, f"stream {feed.name}", say, RETRY_S)
    with contextlib.closing(lasting):
        for data, stamp_ns in frames:
            if (producer := lasting.connected) is not None:
                image = resample(read_image(data, pixels, *size), rows, columns)
                producer.publish(image.reshape(feed.shape), stamp_ns)


def check_pixels(feed: Feed, pixels: Pixels) -> None:
    """Raise InputError where the stream's values cannot hold the camera's."""
    image = np.dtype(np.uint16 if pixels == "z16" else np.uint8)
    if not np.can_cast(image, feed.dtype, "safe"):
        raise InputError(f"stream {feed.name}: {pixels} pixels are {image}, which {feed.dtype} cannot hold")
