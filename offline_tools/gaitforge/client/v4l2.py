"""A camera by the kernel's own interface (linux/videodev2.h, 64 bit): memory-mapped buffers, no library.

Its buffers carry when they were captured, in CLOCK_MONOTONIC, which is what a stream's frame needs.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from gaitd.errors import InputError, ResourceError

BUFFERS = 4
"""The driver fills one while another is read."""
SILENT_S = 2.0
"""A camera without a frame for so long is given up."""
_CAPTURE, _MMAP, _ANY_FIELD = 1, 1, 0
_CAN_CAPTURE, _CAN_STREAM = 0x1, 0x04000000
_OF_DEVICE = 0x80000000
_BROKEN, _CLOCK_MASK, _MONOTONIC = 0x40, 0xE000, 0x2000
_u8, _u32 = ctypes.c_uint8, ctypes.c_uint32


class Capability(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", _u32),
        ("capabilities", _u32),
        ("device_caps", _u32),
        ("reserved", _u32 * 3),
    )


class Format(ctypes.Structure):
    """struct v4l2_format with the pix of its union; the union begins at 8, since it may hold pointers."""

    _fields_ = (
        ("type", _u32),
        ("pad", _u32),
        ("width", _u32),
        ("height", _u32),
        ("pixelformat", _u32),
        ("field", _u32),
        ("bytesperline", _u32),
        ("sizeimage", _u32),
        ("rest", _u8 * 176),
    )


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers."""

    _fields_ = (("count", _u32), ("type", _u32), ("memory", _u32), ("capabilities", _u32), ("rest", _u8 * 4))


class Buffer(ctypes.Structure):
    """struct v4l2_buffer with the offset of its union."""

    _fields_ = (
        ("index", _u32),
        ("type", _u32),
        ("bytesused", _u32),
        ("flags", _u32),
        ("field", _u32),
        ("seconds", ctypes.c_int64),
        ("microseconds", ctypes.c_int64),
        ("timecode", _u32 * 4),
        ("sequence", _u32),
        ("memory", _u32),
        ("offset", ctypes.c_uint64),
        ("length", _u32),
        ("reserved2", _u32),
        ("request_fd", ctypes.c_int32),
    )


def _number(direction: int, number: int, size: int) -> int:
    """_IOC of asm-generic/ioctl.h; direction: 1 to the kernel, 2 from it."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


REQUESTS = {
    "VIDIOC_QUERYCAP": _number(2, 0, ctypes.sizeof(Capability)),
    "VIDIOC_S_FMT": _number(3, 5, ctypes.sizeof(Format)),
    "VIDIOC_REQBUFS": _number(3, 8, ctypes.sizeof(RequestBuffers)),
    "VIDIOC_QUERYBUF": _number(3, 9, ctypes.sizeof(Buffer)),
    "VIDIOC_QBUF": _number(3, 15, ctypes.sizeof(Buffer)),
    "VIDIOC_DQBUF": _number(3, 17, ctypes.sizeof(Buffer)),
    "VIDIOC_STREAMON": _number(1, 18, 4),
}


class Camera:
    """One video device, streaming. Closed with its ``with``."""

    def __init__(self, device: Path, width: int, height: int, fourcc: str) -> None:
        """``fourcc``: of the pixels, as ``v4l2-ctl --list-formats`` has it.

        Raises InputError for a device that is none, or does not have that size in those pixels.
        """
        self._path = device
        try:
            self._fd = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(
                f"{device}: {error.strerror}; is a camera there, and this user in group video?"
            ) from None
        self._maps: list[mmap.mmap] = []
        try:
            self._set_up(width, height, fourcc)
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[tuple[bytes, int]]:
        """Each frame's bytes as the pixels are, without padding, and when it was captured, for ever.

        Broken ones are passed over. Raises ResourceError when the camera is gone or silent.
        """
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while True:
            if not poll.poll(SILENT_S * 1e3):
                raise ResourceError(f"{self._path}: no frame for {SILENT_S:g} s")
            buffer = self._buffer(0)
            self._ask("VIDIOC_DQBUF", buffer)
            flags, size = buffer.flags, buffer.bytesused
            if not flags & _BROKEN and size >= self._height * self._line:
                yield self._pixels(buffer.index), self._stamp_ns(buffer)
            self._ask("VIDIOC_QBUF", self._buffer(buffer.index))

    def close(self) -> None:
        """The kernel ends the stream with the descriptor."""
        for each in self._maps:
            each.close()
        self._maps = []
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _set_up(self, width: int, height: int, fourcc: str) -> None:
        found = Capability()
        self._ask("VIDIOC_QUERYCAP", found)
        can = found.device_caps if found.capabilities & _OF_DEVICE else found.capabilities
        if not (can & _CAN_CAPTURE and can & _CAN_STREAM):
            raise InputError(f"{self._path}: {found.card.decode(errors='replace')} captures no video")
        pixels = int.from_bytes(fourcc.encode(), "little")
        wanted = Format(type=_CAPTURE, width=width, height=height, pixelformat=pixels, field=_ANY_FIELD)
        self._ask("VIDIOC_S_FMT", wanted)
        got = wanted.pixelformat.to_bytes(4, "little").decode(errors="replace")
        if (wanted.width, wanted.height, got) != (width, height, fourcc):
            raise InputError(
                f"{self._path}: expected {width}x{height} {fourcc!r}, the camera has "
                f"{wanted.width}x{wanted.height} {got!r}; see v4l2-ctl --list-formats-ext"
            )
        self._height, self._line = height, wanted.bytesperline
        self._used = width * (1 if fourcc == "GREY" else 2)
        request = RequestBuffers(count=BUFFERS, type=_CAPTURE, memory=_MMAP)
        self._ask("VIDIOC_REQBUFS", request)
        for index in range(request.count):
            buffer = self._buffer(index)
            self._ask("VIDIOC_QUERYBUF", buffer)
            self._maps.append(mmap.mmap(self._fd, buffer.length, offset=buffer.offset))
            self._ask("VIDIOC_QBUF", buffer)
        self._ask("VIDIOC_STREAMON", ctypes.c_int(_CAPTURE))

    def _buffer(self, index: int) -> Buffer:
        return Buffer(index=index, type=_CAPTURE, memory=_MMAP)

    def _pixels(self, index: int) -> bytes:
        whole, line, used = self._maps[index], self._line, self._used
        if line == used:
            return whole[: self._height * line]
        return b"".join(whole[row * line : row * line + used] for row in range(self._height))

    @staticmethod
    def _stamp_ns(buffer: Buffer) -> int:
        """As the driver has it; of one that uses another clock, now: then its age is a little too small."""
        if buffer.flags & _CLOCK_MASK != _MONOTONIC:
            return time.monotonic_ns()
        return int(buffer.seconds) * 1_000_000_000 + int(buffer.microseconds) * 1000

    def _ask(self, request: str, argument: ctypes.Structure | ctypes.c_int) -> None:
        try:
            fcntl.ioctl(self._fd, REQUESTS[request], argument)
        except OSError as error:
            raise ResourceError(f"{self._path}: {request}: {error.strerror}") from None
