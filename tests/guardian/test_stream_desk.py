"""Who gets which stream's memory, what a worker takes from it, and what is left when somebody goes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gaitd.errors import InputError, ResourceError
from gaitd.guardian.stream_watch import describe_streams
from gaitd.guardian.streams import MAX_WAITING, StreamDesk
from gaitd.policy.stream import encode_frame
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingWriter
from gaitd.shared.streams import STREAM_GREETING, stream_request, stream_shape
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.worker.streams import Streams
from support.streams import MAX_AGE_S, height_stream

HEIGHT = height_stream()
DEPTH = height_stream(name="depth", dtype="uint8", max=255.0)
T = 12_000_000
MAX_AGE_NS = round(MAX_AGE_S * 1e9)


class Asker:
    """A producer that is served at once."""

    def __init__(self, desk: StreamDesk, path: Path, request: bytes | None) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(path))
        if request is not None:
            self.socket.send(request)
        desk.serve()
        self.socket.settimeout(1.0)
        self.said, self.fds = "", list[int]()
        if request is not None:
            data, self.fds, _, _ = socket.recv_fds(self.socket, 1024, 4)
            self.said = data.decode()


class Bench:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "stream.sock"
        self.desk = StreamDesk(directory, [HEIGHT, DEPTH])
        fd = WorkerMemory.create(3).fd
        self.words = WorkerMemory(fd, writable=True).words
        self.fds = self.desk.launch([HEIGHT, DEPTH])
        self.worker = Streams([HEIGHT, DEPTH], self.fds, self.words, 1)

    def ask(self, request: bytes | None) -> Asker:
        return Asker(self.desk, self.path, request)

    def stale_since(self) -> int:
        return int(self.words.row("stream_stale_since_ns")[0])


def writer(asker: Asker) -> RingWriter:
    return RingWriter(map_memory(asker.fds[0], writable=True), stream_shape(HEIGHT))


def frame(value: float, stamp_ns: int) -> bytes:
    return encode_frame(HEIGHT, np.full((2, 3), value, np.float32), stamp_ns)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="gaitd-") as directory:
        made = Bench(Path(directory))
        yield made
        made.desk.close()


def test_the_worker_takes_the_newest_frame(bench: Bench) -> None:
    asker = bench.ask(stream_request(HEIGHT))
    assert (asker.said, len(asker.fds)) == (STREAM_GREETING, 1)
    assert bench.worker.frames == [None, None]
    ring = writer(asker)
    for number in range(1, 4):
        ring.append(frame(0.1 * number, number))
    bench.worker.look(10)
    height, depth = bench.worker.frames
    assert height is not None
    assert (height.values[0], height.stamp_ns, depth) == (pytest.approx(0.3), 3, None)
    assert bench.words.row("stream_frames").tolist()[:2] == [1, 0]


def test_staleness_is_declared_by_the_first_look_beyond_the_age(bench: Bench) -> None:
    """A worker looks at least once in a control period: so within max_age_s and a period."""
    assert bench.stale_since() == 1, "none has come yet"
    ring, now = writer(bench.ask(stream_request(HEIGHT))), 10**12
    for _ in range(20):
        now += T
        ring.append(frame(0.5, now))
        bench.worker.look(now)
        assert bench.stale_since() == 0
    captured = now
    while now <= captured + MAX_AGE_NS:
        assert bench.stale_since() == 0
        now += T
        bench.worker.look(now)
    assert now <= captured + MAX_AGE_NS + T
    assert bench.stale_since() == captured + MAX_AGE_NS
    described = describe_streams([HEIGHT], bench.words, bench.desk.is_produced, now)[0]
    assert (described["stale"], described["producer"], described["frames"]) == (True, True, 20)
    assert described["stale_for_s"] == pytest.approx((now - captured - MAX_AGE_NS) / 1e9)
    for _ in range(5):
        bench.worker.look(now)
    assert bench.stale_since() == captured + MAX_AGE_NS, "since then, not since the last look"
    ring.append(frame(0.5, now))
    bench.worker.look(now)
    assert bench.stale_since() == 0


def test_a_stream_has_one_producer_until_it_is_gone_and_then_another_goes_on(bench: Bench) -> None:
    first = bench.ask(stream_request(HEIGHT))
    writer(first).append(frame(0.1, 1))
    second = bench.ask(stream_request(HEIGHT))
    assert (second.said, second.fds) == ("stream height: another producer has it; end that one", [])
    assert bench.ask(stream_request(DEPTH)).said == STREAM_GREETING
    memory = map_memory(first.fds[0], writable=True)
    memory[:128] = os.urandom(128)  # the last thing that it does
    first.socket.close()
    bench.desk.serve()
    assert not bench.desk.is_produced("height")
    third = bench.ask(stream_request(HEIGHT))
    ring = writer(third)
    for stamp_ns in (2, 3):
        ring.append(frame(0.2, stamp_ns))
        bench.worker.look(10)
    height = bench.worker.frames[0]
    assert height is not None
    assert height.stamp_ns == 3


@pytest.mark.parametrize(
    ("request_bytes", "why"),
    [
        (b"give me a stream", "expected `gaitd-stream 1`, the stream's name and its kind, one a line"),
        (b"\xff\n\x00\n", "expected `gaitd-stream 1`"),
        (b"gaitd-stream 1\nheight", "expected `gaitd-stream 1`"),
        (b"gaitd-stream 1\nlidar\nfloat32 2x3", "no policy here has a stream 'lidar'; there are: height"),
        (b"gaitd-stream 1\nheight\nfloat32 6", "stream height: the policy expects float32 2x3, not 'fl"),
        (b"gaitd-stream 1\nheight\n" + b"x" * 9000, "stream height: the policy expects float32 2x3"),
    ],
)  # fmt: skip
def test_who_asks_for_something_else_hears_why(bench: Bench, request_bytes: bytes, why: str) -> None:
    asker = bench.ask(request_bytes)
    assert asker.said.startswith(why)
    assert asker.fds == []
    assert not bench.desk.is_produced("height")


def test_connections_that_say_nothing_are_bounded_and_hold_up_nobody(bench: Bench) -> None:
    mute = [bench.ask(None) for _ in range(3 * MAX_WAITING)]
    assert bench.ask(stream_request(HEIGHT)).said == STREAM_GREETING
    closed = 0
    for asker in mute:
        asker.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            closed += asker.socket.recv(1) == b""
    assert closed >= 2 * MAX_WAITING


def test_no_producer_can_shrink_or_seal_the_memory_and_no_worker_can_write_it(bench: Bench) -> None:
    fd = bench.ask(stream_request(HEIGHT)).fds[0]
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 64)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    with pytest.raises(PermissionError):
        map_memory(bench.fds[0], writable=True)


def test_the_socket_is_for_the_group_and_replaces_that_of_a_killed_gaitd(bench: Bench) -> None:
    assert stat.S_IMODE(bench.path.stat().st_mode) == 0o660
    again = StreamDesk(bench.path.parent, [HEIGHT])
    again.close()
    assert not bench.path.exists()


def test_a_directory_without_room_for_the_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent/stream\.sock: No such file.*daemon\.runtime_dir"):
        StreamDesk(tmp_path / "absent", [HEIGHT])


def test_without_seals_there_are_no_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(name: str, flags: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused)
    with pytest.raises(ResourceError, match=r"streams: this kernel.*memfd_create"):
        StreamDesk(tmp_path, [HEIGHT])
