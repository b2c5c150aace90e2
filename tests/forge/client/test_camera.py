"""A camera as a stream's producer: raw frames from a file or FIFO, and a video device that is a fake."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.bundle import open_bundle
from gaitd.errors import InputError, ResourceError
from gaitd.guardian.streams import StreamDesk
from gaitd.policy.schema_stream import Feed
from gaitd.shared.streams import StreamReader
from gaitforge.cli import main
from gaitforge.client import v4l2
from gaitforge.client.camera import (
    check_pixels,
    publish_camera,
    read_image,
    recorded_frames,
    resample,
)
from gaitforge.client.v4l2 import Camera
from support.daemon import wait_until
from support.encoders import encoder_bundle

IMAGE = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 300


def test_pixels_become_brightness_or_depth() -> None:
    assert (read_image(IMAGE.tobytes(), "z16", 16, 12) == IMAGE).all()
    grey = (IMAGE % 256).astype(np.uint8)
    assert (read_image(grey.tobytes(), "grey", 16, 12) == grey).all()
    colour = np.dstack((grey, np.full_like(grey, 128)))
    assert (read_image(colour.tobytes(), "yuyv", 16, 12) == grey).all()


def test_a_smaller_image_has_the_pixels_in_the_middle() -> None:
    assert resample(IMAGE, 3, 4).tolist() == IMAGE[2::4, 2::4].tolist()
    assert (resample(IMAGE, 12, 16) == IMAGE).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_a_stream_that_cannot_hold_the_pixels_is_refused(dtype: Any) -> None:
    feed = Feed(name="depth", shape=[3, 4], dtype=dtype, min=0, max=1, rate_hz=10)
    with pytest.raises(InputError, match=f"z16 pixels are uint16, which {dtype} cannot hold"):
        check_pixels(feed, "z16")


def test_a_stream_that_is_no_image_is_refused(tmp_path: Path) -> None:
    feed = Feed(name="depth", shape=[3], min=0, max=1, rate_hz=10)
    with pytest.raises(InputError, match="stream depth: expected rows x columns, got float32 3"):
        publish_camera([], feed, tmp_path, "grey", (4, 3), print)


def test_a_file_ends_between_two_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames.raw"
    path.write_bytes(b"123456789")
    assert [data for data, _ in recorded_frames(path, 3, 1e3)] == [b"123", b"456", b"789"]
    with pytest.raises(InputError, match="ends within a frame: 1 of 4 bytes"):
        list(recorded_frames(path, 4, 1e3))
    with pytest.raises(InputError, match="No such file"):
        list(recorded_frames(tmp_path / "none", 4, 1e3))


def test_frames_from_a_fifo_come_as_the_stream_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, fifo = encoder_bundle(tmp_path / "policy.gaitd"), tmp_path / "frames"
    os.mkfifo(fifo)
    camera = ["camera", "--bundle", str(bundle), "--frames", str(fifo), "--pixels", "grey"]
    assert main([*camera, "--stream", "height"]) == 2
    assert "--stream height: the policy has no such stream; it has camera" in capsys.readouterr().err
    (stream,) = open_bundle(bundle).manifest.streams
    assert stream.encoder is not None
    desk, result = StreamDesk(tmp_path, [stream]), list[int]()
    rest = ["--stream", "camera", "--size", "16x12", "--runtime-dir", str(tmp_path)]
    words = memoryview(bytearray(64)).cast("Q")
    reader = StreamReader(stream.encoder.takes, desk.frames_fd(stream.encoder.takes), words[:1], words[1:])
    thread = threading.Thread(target=lambda: result.append(main([*camera, *rest])))
    thread.start()
    with fifo.open("wb", buffering=0) as file:

        def arrives() -> bool:
            file.write(bytes([0, 1]) * 96)
            desk.serve()
            return reader.look(time.monotonic_ns())

        wait_until(arrives, 30.0, "a frame")
    thread.join()
    assert reader.frame is not None
    assert reader.frame.values.tolist() == [1.0] * 48
    assert time.monotonic_ns() - reader.frame.stamp_ns < 60e9
    desk.close()
    assert result == [0]
    assert "stream camera: gaitd takes it" in capsys.readouterr().out


# ---- the kernel's interface ----


@pytest.mark.skipif(
    shutil.which("cc") is None or not Path("/usr/include/linux/videodev2.h").exists(),
    reason="needs a C compiler and linux/videodev2.h",
)
def test_structures_and_numbers_are_the_kernels(tmp_path: Path) -> None:
    structs = {
        "v4l2_capability": v4l2.Capability,
        "v4l2_format": v4l2.Format,
        "v4l2_requestbuffers": v4l2.RequestBuffers,
        "v4l2_buffer": v4l2.Buffer,
    }
    places = {
        "v4l2_format, fmt.pix.bytesperline": v4l2.Format.bytesperline,
        "v4l2_buffer, timestamp": v4l2.Buffer.seconds,
        "v4l2_buffer, sequence": v4l2.Buffer.sequence,
        "v4l2_buffer, m.offset": v4l2.Buffer.offset,
        "v4l2_buffer, length": v4l2.Buffer.length,
    }
    terms = [f"sizeof(struct {name})" for name in structs]
    terms += [f"offsetof(struct {place})" for place in places]
    terms += [*v4l2.REQUESTS, "V4L2_PIX_FMT_YUYV", "V4L2_PIX_FMT_GREY", "V4L2_PIX_FMT_Z16"]
    source = tmp_path / "terms.c"
    prints = "\n".join(f'printf("%lu\\n", (unsigned long)({term}));' for term in terms)
    head = "#include <stddef.h>\n#include <stdio.h>\n#include <linux/videodev2.h>\n"
    source.write_text(f"{head}int main(void) {{ {prints} }}")
    subprocess.run(["cc", "-o", tmp_path / "terms", source], check=True)
    said = subprocess.run([tmp_path / "terms"], check=True, capture_output=True, text=True).stdout
    expected = [ctypes.sizeof(each) for each in structs.values()]
    expected += [place.offset for place in places.values()]
    expected += v4l2.REQUESTS.values()
    expected += [int.from_bytes(name, "little") for name in (b"YUYV", b"GREY", b"Z16 ")]
    assert [int(line) for line in said.split()] == expected


class FakeVideoDevice:
    """A fake of the kernel's driver: a file with the buffers one behind the other, and its ioctl."""

    line, length = 48, 4096

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = bytearray(v4l2.BUFFERS * self.length)
        path.write_bytes(self.content)
        self.queued: list[int] = []
        self.width = 16
        self.frames: list[tuple[bytes, int]] = []
        """What the camera sees next, with the flags of its buffer."""

    def ioctl(self, fd: int, number: int, argument: Any) -> int:
        (name,) = (name for name, each in v4l2.REQUESTS.items() if each == number)
        if name == "VIDIOC_QUERYCAP":
            argument.card, argument.capabilities = b"fake", 0x85000001
            argument.device_caps = 0x04200001
        elif name == "VIDIOC_S_FMT":
            argument.width, argument.bytesperline = self.width, self.line
        elif name == "VIDIOC_QUERYBUF":
            argument.length, argument.offset = self.length, argument.index * self.length
        elif name == "VIDIOC_QBUF":
            self.queued.append(argument.index)
        elif name == "VIDIOC_DQBUF":
            if not self.frames:
                raise OSError(errno.ENODEV, "No such device")
            data, flags = self.frames.pop(0)
            argument.index = self.queued.pop(0)
            os.pwrite(fd, data, argument.index * self.length)
            argument.bytesused, argument.flags = len(data), flags
            argument.seconds, argument.microseconds = 7, 5
        return 0


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeVideoDevice:
    device = FakeVideoDevice(tmp_path / "video0")
    monkeypatch.setattr(fcntl, "ioctl", device.ioctl)
    return device


def test_a_camera_gives_its_pixels_with_the_driver_s_stamp(fake: FakeVideoDevice) -> None:
    rows = [bytes([row]) * 32 + bytes(16) for row in range(12)]
    broken, good = (b"".join(rows), 0x2040), (b"".join(rows), 0x2000)
    fake.frames = [broken, good, (b"short", 0x2000), *[good] * 9]
    with Camera(fake.path, 16, 12, "YUYV") as camera:
        given = camera.frames()
        for _ in range(10):
            data, stamp_ns = next(given)
            assert data == b"".join(row[:32] for row in rows)
            assert stamp_ns == 7_000_005_000
        with pytest.raises(ResourceError, match="video0: VIDIOC_DQBUF: No such device"):
            next(given)


def test_a_camera_of_another_size_is_refused(fake: FakeVideoDevice) -> None:
    fake.width = 32
    with pytest.raises(InputError, match=r"video0: expected 16x12 'GREY', the camera has 32x12 'GREY'"):
        Camera(fake.path, 16, 12, "GREY")


def test_what_is_no_camera_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory; is a camera there"):
        Camera(tmp_path / "none", 16, 12, "GREY")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="file: VIDIOC_QUERYCAP: Inappropriate ioctl"):
        Camera(tmp_path / "file", 16, 12, "GREY")
