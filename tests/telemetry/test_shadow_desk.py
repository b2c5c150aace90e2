"""The desk gives a shadow the memory, read-only, and takes what it tells; no peer costs it anything."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from gaitd.ctl.shadow.link import ShadowLink
from gaitd.errors import GateError, UnreachableError
from gaitd.shared import shadow
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.memory import create_memory, read_all, read_only
from gaitd.shared.shadow import Ask, Follow, Memory, News, Refused, ShadowReport, Stop, Told, Verdict
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Metrics, Recorder
from gaitd.telemetry.channels import recorded_dtype
from gaitd.telemetry.recording import (
    Recording,
    RecordingInfo,
    ShadowSample,
    read_recording,
    write_recording,
)
from gaitd.telemetry.shadow_desk import MAX_CONNECTIONS, ShadowDesk
from gaitd.telemetry.shadow_metrics import ShadowCollector
from support.daemon import samples
from support.shadows import REPORT

MANIFEST = b"name: small\n"
OPEN = Path("/proc/self/fd")


class Office:
    """A desk, and what has to be looked at before it answers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.guard = GuardMemory.create(2)
        worker = WorkerMemory.create(2)
        launch = TelemetryLaunch(
            guard_memory_fd=read_only(self.guard.fd),
            worker_memory_fds=[read_only(worker.fd)],
            telemetry_memory_fd=-1,
            manifest_fd=read_only(create_memory("manifest", len(MANIFEST), MANIFEST)),
            metrics=Metrics(),
            recorder=Recorder(),
            period_s=0.012,
            deadline_s=0.06,
            state_max_age_s=0.024,
            policy={"id": "def", "name": "small", "version": "1.0.0"},
            backends=["onnx"],
            bundle="small.gaitd",
            joints=["hip", "knee"],
            runtime_dir=os.fsencode(directory),
            hot_cpus=[4, 5],
        )
        self.told: deque[ShadowSample] = deque()
        self.desk = ShadowDesk(launch, self.told)

    def link(self) -> Linked:
        return Linked(self)

    def peer(self) -> socket.socket:
        """A bare connection."""
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(str(self.directory / shadow.SOCKET))
        peer.settimeout(2)
        return peer


class Linked(ShadowLink):
    """The desk looks once more as soon as something was sent."""

    def __init__(self, office: Office) -> None:
        super().__init__(office.directory)
        real, desk = self._socket, office.desk

        class Sent(socket.socket):
            def send(self, *arguments: object) -> int:  # type: ignore[override]
                sent = super().send(*arguments)  # type: ignore[arg-type]
                desk.look()
                return sent

        self._socket = Sent(fileno=real.detach())
        self._socket.settimeout(2)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.desk.close()


def test_a_shadow_gets_the_memory_read_only(office: Office) -> None:
    with office.link() as link:
        memory, (guard, manifest, worker) = link.follow("small")
        assert (memory.joints, memory.hot_cpus, memory.policy["id"]) == (["hip", "knee"], [4, 5], "def")
        assert read_all(manifest) == MANIFEST
        assert GuardMemory(guard, writable=False).lease == office.guard.lease
        assert not WorkerMemory(worker, writable=False).words["steps"]
        for fd, kind in ((guard, GuardMemory), (worker, WorkerMemory)):
            assert not os.get_inheritable(fd)
            with pytest.raises(PermissionError):
                kind(fd, writable=True)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(guard, b"1", 0)


def test_what_it_tells_is_in_metrics_and_for_the_recorder(office: Office) -> None:
    with office.link() as link:
        link.follow("small")
        link.tell(REPORT)
        found = metrics(office)
        with office.link() as other:
            assert other.ask() == News(runs=True, report=REPORT)
    assert found["gaitd_shadow_runs"] == 1
    assert found["gaitd_shadow_steps_total"] == 300
    assert found["gaitd_shadow_steps_missed_total"] == 4
    assert found['gaitd_shadow_target_difference_radians{joint="knee",quantile="0.99"}'] == 0.7
    assert found['gaitd_shadow_step_seconds{quantile="0.5"}'] == 0.001
    assert found['gaitd_shadow_joints_clamped_total{limit="slew"}'] == 11
    assert found["gaitd_shadow_refused_total"] == 10
    assert found['gaitd_shadow_verdict{verdict="different"}'] == 1
    assert found['gaitd_shadow_verdict{verdict="equivalent"}'] == 0
    assert [told.text for told in office.told] == ["different: joint knee"]
    office.desk.look()
    assert metrics(office)["gaitd_shadow_runs"] == 0
    assert metrics(office)["gaitd_shadow_steps_total"] == 300, "of the one that has ended"


def metrics(office: Office) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(ShadowCollector(office.desk))
    return samples(generate_latest(registry).decode())


def test_there_is_one_at_a_time_and_anybody_ends_it(office: Office) -> None:
    with office.link() as first, office.link() as second:
        first.follow("small")
        with pytest.raises(GateError, match="small is followed as a shadow already"):
            second.follow("other")
        assert not first.ended(0)
        assert second.stop().runs
        assert first.ended(0)
        first.tell(REPORT)
        assert not second.stop().runs
        second.follow("other")


def test_only_the_shadow_tells(office: Office) -> None:
    with office.link() as link:
        link.tell(REPORT)
        assert link.ask() == News(runs=False, report=None)


def test_joints_of_another_policy_become_no_labels(office: Office) -> None:
    foreign = msgspec.structs.replace(REPORT, joints={"tail": REPORT.joints["hip"]})
    with office.link() as link:
        link.follow("small")
        link.tell(foreign)
        assert link.ask().report is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff" * 100,
        b'{"type": "Told", "report": {}}',
        b'{"type": "Follow", "policy": "\xff"}',
        b'{"type": "\xff"}',
        shadow.encode(Told(report=REPORT)).replace(b"300", b"-3"),
        shadow.encode(Told(report=REPORT)).replace(b'"hip"', b'"' + b"x" * 101 + b'"'),
        b'{"type": "Ask", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b" " * (shadow.MAX_MESSAGE_BYTES + 1),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_message_ends_its_connection(office: Office, data: bytes) -> None:
    with office.link() as link, office.peer() as peer:
        link.follow("small")
        link.tell(REPORT)
        peer.send(data)
        office.desk.look()
        answer = peer.recv(shadow.MAX_MESSAGE_BYTES)
        if answer:
            assert isinstance(shadow.decode_reply(answer), Refused)
            assert peer.recv(shadow.MAX_MESSAGE_BYTES) == b""
        assert link.ask() == News(runs=True, report=REPORT)


def test_a_crowd_and_one_who_does_not_read(office: Office) -> None:
    with office.link() as link:
        link.follow("small")
        crowd = []
        for _ in range(3 * MAX_CONNECTIONS):
            crowd.append(office.peer())
            office.desk.look()
        deaf = crowd[-1]
        deaf.setblocking(False)
        for _ in range(2000):
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                deaf.send(shadow.encode(Ask()))
            office.desk.look()
        link.tell(REPORT)
        assert link.ask() == News(runs=True, report=REPORT)
        for peer in crowd:
            peer.close()


def test_a_shadow_ends_itself_or_is_ended_by_one_who_was_there_before(office: Office) -> None:
    with office.peer() as guest, office.peer() as own:
        office.desk.look()
        office.desk.look()
        own.send(shadow.encode(Follow(policy="small")))
        office.desk.look()
        guest.send(shadow.encode(Stop()))
        office.desk.look()
        assert received(guest) == News(runs=True, report=None)
        assert isinstance(received(own), Memory)
        assert own.recv(1) == b""
    with office.peer() as own:
        for request in (Follow(policy="small"), Stop()):
            own.send(shadow.encode(request))
        office.desk.look()
        assert isinstance(received(own), Memory)
        assert received(own) == News(runs=True, report=None)
        assert own.recv(1) == b""


def received(peer: socket.socket) -> shadow.Reply:
    return shadow.decode_reply(peer.recv(shadow.MAX_MESSAGE_BYTES))


def test_one_that_never_compares_leaves_no_trace(office: Office, capfd: pytest.CaptureFixture[str]) -> None:
    """Its bundle was none, say: what the one before told is kept, and no line says that one began."""
    with office.link() as link:
        link.follow("small")
        assert "begins" not in capfd.readouterr().err
        link.tell(REPORT)
        assert "small begins as a shadow" in capfd.readouterr().err
    office.desk.look()
    assert "small ends as a shadow" in capfd.readouterr().err
    with office.link() as link:
        link.follow("typo")
        assert link.ask() == News(runs=True, report=None)
        assert metrics(office)["gaitd_shadow_runs"] == 0
    office.desk.look()
    with office.link() as link:
        assert link.ask() == News(runs=False, report=REPORT)
    assert metrics(office)["gaitd_shadow_steps_total"] == 300
    assert capfd.readouterr().err == ""


class Crowd:
    """Peers that say and do anything, in any order."""

    def __init__(self, office: Office, seed: int) -> None:
        self._office, self._random = office, random.Random(seed)
        self._peers: list[socket.socket] = []
        self._actions = [self._send] * 6 + [self._come, self._go, self._half_close, self._give, self._read]

    def act(self) -> None:
        """One of them does something, or telemetry looks."""
        if not self._peers:
            self._come()
        self._random.choice([*self._actions, self._office.desk.look])()

    def leave(self) -> None:
        while self._peers:
            self._go()

    def _one(self) -> socket.socket:
        return self._random.choice(self._peers)

    def _message(self) -> bytes:
        messages = [shadow.encode(each) for each in (Follow(policy="x\0\n\u00e9"), Ask(), Stop())]
        messages += 3 * [shadow.encode(Told(report=self._report()))] + [b"", b"{}"]
        message = bytearray(self._random.choice(messages))
        if message and self._random.random() < 0.2:
            message[self._random.randrange(len(message))] = self._random.randrange(256)
        return bytes(message)

    def _report(self) -> ShadowReport:
        verdict = self._random.choice(get_args(Verdict))
        text = "".join(chr(self._random.choice([0, 10, 34, 0x7F, 0xE9, 0x1F600])) for _ in range(9))
        changes: dict[str, Any] = {"verdict": verdict, "why": text, "policy": text, "refused": {text: 1}}
        return msgspec.structs.replace(REPORT, **changes)

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            self._one().send(self._message())

    def _come(self) -> None:
        self._peers.append(self._office.peer())
        self._peers[-1].setblocking(False)
        self._office.desk.look()  # it takes one at a time

    def _go(self) -> None:
        self._peers.pop(self._random.randrange(len(self._peers))).close()

    def _half_close(self) -> None:
        with contextlib.suppress(OSError):
            self._one().shutdown(self._random.choice([socket.SHUT_RD, socket.SHUT_WR]))

    def _give(self) -> None:
        with contextlib.suppress(OSError):
            socket.send_fds(self._one(), [self._message()], [0, 1, 2])

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            _, fds, *_ = socket.recv_fds(self._one(), shadow.MAX_MESSAGE_BYTES, 16)
            for fd in fds:
                os.close(fd)


def recording_of(office: Office) -> Recording:
    """What a recorder would write of what was told."""
    info = RecordingInfo(
        policy_id="def",
        policy="small 1.0.0",
        bundle="small.gaitd",
        period_s=0.012,
        joints=["hip", "knee"],
        cause="request",
        clock_offset_ns=0,
    )
    return Recording(info=info, records=np.zeros(0, recorded_dtype(2, 0)), shadow=list(office.told))


@pytest.mark.parametrize("seed", range(10))
def test_whatever_peers_do_in_any_order_telemetry_goes_on(office: Office, seed: int, tmp_path: Path) -> None:
    gc.collect()  # desks of other tests
    before = len(list(OPEN.iterdir()))
    crowd = Crowd(office, seed)
    for number in range(200):
        crowd.act()
        if number % 10 == 0:
            metrics(office)
    crowd.leave()
    office.desk.look()
    assert len(list(OPEN.iterdir())) == before, "of nobody who is gone"
    with office.link() as link:
        link.follow("small")
        link.tell(REPORT)
        assert link.ask() == News(runs=True, report=REPORT)
    with (tmp_path / "walk.mcap").open("wb") as stream:
        write_recording(stream, recording_of(office))
    assert len(read_recording(tmp_path / "walk.mcap").shadow) == len(office.told)


def test_another_telemetry_process_takes_the_desk(office: Office, tmp_path: Path) -> None:
    with office.link() as before:
        before.follow("small")
        office.desk.close()
        assert before.ended(0)
    after = Office(tmp_path)
    with after.link() as link:
        link.follow("small")
    after.desk.close()


def test_without_a_directory_there_is_no_desk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    office = Office(tmp_path / "gone")
    office.desk.look()
    assert "gaitctl shadow will not find gaitd" in capfd.readouterr().err
    with pytest.raises(UnreachableError):
        ShadowLink(tmp_path / "gone")
