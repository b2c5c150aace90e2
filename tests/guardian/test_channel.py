"""The control channel under pressure, and the proof that it can be heard: real sockets, no other process."""

from __future__ import annotations

import fcntl
import socket
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from gaitd.guardian.channel import ControlChannel
from gaitd.system.access import AccessControl
from gaitd.system.config import Config, Daemon
from gaitd.wire.control import Reply, Request, encode_request
from gaitforge.faults.hogs import has_hung_up, shake_hands
from gaitforge.faults.peers import path_of
from support.daemon import wait_until

MS = 1_000_000
PERIOD_NS = 10 * MS
PATIENT_NS = 1000 * MS


class Bench:
    """A control channel that is served by hand; what it was asked, in the order of the answers."""

    def __init__(self, directory: Path, budget_ns: int = PATIENT_NS) -> None:
        self.directory = directory
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        access = AccessControl(self.context, Config(daemon=Daemon(runtime_dir=str(directory))))
        self.channel = ControlChannel(self.context, access, PERIOD_NS, budget_ns)
        self.answered: list[str] = []
        self.refused = 0

    def serve(self) -> None:
        self.channel.look_at_peers()
        _, refused = self.channel.serve(self._answer)
        self.refused += refused

    def serve_until(self, condition: Callable[[], object], what: str) -> None:
        until_s = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < until_s, what
            self.serve()
            time.sleep(0.001)

    def silence_ns(self) -> int:
        self.serve()
        return self.channel.probe.silence_ns(time.monotonic_ns())

    def _answer(self, peer: bytes, request: Request) -> Reply:
        self.answered.append(request.name)
        return Reply(request.request_id, request.body != {"refuse": True}, {})


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gaitd-") as path:
        yield Path(path)


@pytest.fixture
def bench(directory: Path) -> Iterator[Bench]:
    made = Bench(directory)
    yield made
    made.context.destroy(linger=0)


def at_once(directory: Path, *requests: Request) -> socket.socket:
    """Send requests so that they arrive together."""
    raw = shake_hands(directory, "control")
    raw.sendall(b"".join(_frame(encode_request(request)) for request in requests))
    return raw


def is_read(raw: socket.socket) -> bool:
    """Whether the other side's thread has taken all that was sent."""
    return fcntl.ioctl(raw, termios.TIOCOUTQ, bytes(4)) == bytes(4)


def _frame(data: bytes, *, more: bool = False) -> bytes:
    return bytes([more, len(data)]) + data


def damp(*, refused: bool = False) -> Request:
    return Request(2**64 - 1, "damp", {"refuse": True} if refused else {})


STATUS = Request(1, "status", {})


def test_damping_is_answered_before_what_was_asked_before_it(bench: Bench) -> None:
    with at_once(bench.directory, STATUS, STATUS, damp(refused=True)):
        bench.serve_until(lambda: len(bench.answered) == 3, "three answers")
    assert bench.answered == ["damp", "status", "status"]


def test_what_was_asked_before_damping_does_not_end_it(bench: Bench) -> None:
    activate = Request(1, "activate", {})
    with at_once(bench.directory, activate, damp()):
        bench.serve_until(lambda: bench.answered, "an answer")
        with at_once(bench.directory, STATUS):
            bench.serve_until(lambda: "status" in bench.answered, "the next answer")
    assert bench.answered == ["damp", "status"]
    assert bench.refused == 1


def test_each_peer_has_its_turn(directory: Path) -> None:
    bench = Bench(directory, budget_ns=2 * MS)
    many = [Request(number, "hello", {}) for number in range(4)]
    with at_once(directory, *many) as one, at_once(directory, STATUS) as other:
        wait_until(lambda: all(is_read(raw) for raw in (one, other)))
        bench.serve_until(lambda: len(bench.answered) == 5, "five answers")
    assert "status" in bench.answered[:3]
    bench.context.destroy(linger=0)


def test_frames_without_end_take_no_more_than_their_time(directory: Path) -> None:
    bench = Bench(directory, budget_ns=2 * MS)
    frames = 5_000
    raw = shake_hands(directory, "control")
    raw.settimeout(20.0)
    with raw, at_once(directory, STATUS):
        raw.sendall(_frame(b"", more=True) * frames + _frame(encode_request(STATUS)))
        longest_ns = 0
        until_s = time.monotonic() + 20.0
        while bench.refused == 0:
            assert time.monotonic() < until_s, "the message is refused in the end"
            begin_ns = time.thread_time_ns()
            bench.serve()
            longest_ns = max(longest_ns, time.thread_time_ns() - begin_ns)
    assert bench.answered == ["status"]
    assert longest_ns < 20 * MS
    bench.context.destroy(linger=0)


def test_a_request_that_is_too_long_ends_its_connection(bench: Bench) -> None:
    with shake_hands(bench.directory, "control") as raw:
        raw.sendall(b"\x02" + (9000).to_bytes(8, "big") + bytes(9000))
        bench.serve_until(lambda: has_hung_up(raw), "the end of the connection")
    assert bench.answered == []


def test_a_channel_that_works_hears_itself(bench: Bench) -> None:
    rounds = 0
    until_s = time.monotonic() + 20.0
    while rounds < 20:
        assert time.monotonic() < until_s, "it does not hear itself"
        rounds += bench.silence_ns() == 0
        time.sleep(0.001)


def test_a_channel_that_is_not_served_is_not_heard(bench: Bench) -> None:
    bench.serve_until(lambda: bench.silence_ns() == 0, "it hears itself")
    asked_ns = time.monotonic_ns()
    wait_s = 20.0
    while bench.channel.probe.silence_ns(time.monotonic_ns()) < 5 * PERIOD_NS:
        assert time.monotonic_ns() - asked_ns < wait_s * 1e9
        time.sleep(0.001)
    bench.serve_until(lambda: bench.silence_ns() == 0, "it hears itself again")


@pytest.mark.parametrize("endpoint", ["control", "guard"])
def test_a_socket_whose_file_is_gone_or_anothers_is_not_heard(bench: Bench, endpoint: str) -> None:
    bench.serve_until(lambda: bench.silence_ns() == 0, "it hears itself")
    path = Path(path_of(bench.directory, endpoint))
    path.unlink()
    bench.serve_until(lambda: bench.silence_ns() > 5 * PERIOD_NS, "that its file is gone")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        begin_ns = bench.silence_ns()
        bench.serve_until(lambda: bench.silence_ns() > begin_ns + PERIOD_NS, "that it is another one's")


def test_what_is_published_must_be_heard(bench: Bench) -> None:
    """The probe's own question comes back, but nothing arrives from the guard endpoint."""
    bench.serve_until(lambda: bench.silence_ns() == 0, "it hears itself")
    bench.channel.probe.note_published(time.monotonic_ns())
    bench.serve_until(lambda: bench.silence_ns() > 5 * PERIOD_NS, "the silence")
