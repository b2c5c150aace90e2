"""A real gaitd over shared memory: sessions, faults, both transports at once, and nothing that is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import JointCommand, RobotState
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.lane_client import LaneClient

SHM = '[daemon]\ntransport = "shm"\n'


class LaneController(Controller):
    """The test's controller with a lane in place of the sockets; requests go over ZeroMQ as ever."""

    lane: LaneClient

    def hello(self, **changes: object) -> dict:  # type: ignore[type-arg]
        contract = super().hello(**changes)
        self.open_lane()
        return contract

    def open_lane(self) -> None:
        assert isinstance(self.where, Path)
        self.lane = LaneClient(self.where)
        assert self.lane.take() == "gaitd-shm 1"

    def send(self, state: RobotState) -> None:
        self.sent = state
        self.lane.send(encode_state(state))

    def receive(self, timeout_s: float) -> JointCommand | None:
        data = self.lane.receive(timeout_s)
        return None if data is None else decode_command(data, len(self.joints))

    def close(self) -> None:
        self.lane.close()
        super().close()


def lane_controller(gaitd: Gaitd, name: str = "lane") -> LaneController:
    controller = LaneController(gaitd.runtime_dir, ["hip", "thigh", "knee"], name)
    controller.hello()
    return controller


def damping(controller: Controller) -> JointCommand:
    """Go on until it damps."""

    def damped() -> JointCommand | None:
        answer = controller.step()
        return answer if answer is not None and answer.mode is Mode.DAMPING else None

    return wait_until(damped, what="damping")


def _wait_for_count(gaitd: Gaitd, name: str, count: int) -> None:
    wait_until(lambda: gaitd.status()["counters"][name] == count, what=f"{name} {count}")


@pytest.fixture(scope="module")
def gaitd(small_bundle_path: Path) -> Iterator[Gaitd]:
    with Gaitd(small_bundle_path, config=PATIENT + SHM) as daemon:
        yield daemon.wait_ready()


@pytest.fixture
def walker(gaitd: Gaitd) -> Iterator[LaneController]:
    gaitd.wait_worker()
    controller = lane_controller(gaitd)
    controller.activate()
    assert any(controller.walk(3))
    yield controller
    controller.control.ask("release", session=controller.session)
    controller.control.ask("release", session=0)
    controller.close()


def test_hello_says_what_is_served(gaitd: Gaitd, walker: LaneController, small_bundle_path: Path) -> None:
    zmq = {"slot": 0, "transport": "zmq", "state": "state", "command": "command"}
    shm = {"slot": 0, "transport": "shm", "state": "shm", "command": "shm"}
    assert walker.contract["endpoints"] == [zmq, shm]
    with Gaitd(small_bundle_path) as without:
        assert without.wait_ready().controller().contract["endpoints"] == [zmq]
        assert not (without.runtime_dir / "shm.sock").exists()


def test_no_state_is_lost_the_first_of_a_session_neither(gaitd: Gaitd, walker: LaneController) -> None:
    for _ in range(3):
        walker.control.demand("release", session=walker.session)
        before = gaitd.status()["counters"]
        walker.activate()
        answers = [answer for answer in walker.walk(10) if answer is not None]
        assert {answer.mode for answer in answers} == {Mode.ACTIVE}
        _wait_for_count(gaitd, "received", before["received"] + 10)
        assert gaitd.status()["counters"]["missed"] == before["missed"]


def test_a_backlog_goes_into_the_history_and_the_newest_is_answered(
    gaitd: Gaitd, walker: LaneController
) -> None:
    before, worker = gaitd.status()["counters"], gaitd.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    for _ in range(3):
        time.sleep(walker.period_s)
        walker.send(walker.next_state())
    os.kill(worker, signal.SIGCONT)
    _wait_for_count(gaitd, "received", before["received"] + 3)
    time.sleep(walker.period_s)  # the next one must not be early
    assert any(walker.walk(3))
    after = gaitd.status()["counters"]
    assert after["superseded"] == before["superseded"] + 2
    assert after["missed"] == before["missed"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: replace(state, joint_position=np.full(3, np.nan, np.float32)), Reason.STATE_INVALID),
        (lambda state: replace(state, session=state.session + 1), Reason.STATE_LOST),
    ],
    ids=["nan", "foreign session"],
)
def test_forged_states_end_in_damping(walker: LaneController, change: object, reason: Reason) -> None:
    until_s = time.monotonic() + 20.0
    while time.monotonic() < until_s:
        walker.send(change(walker.next_state()))  # type: ignore[operator]
        command = walker.receive(walker.period_s)
        if command is not None and command.mode is Mode.DAMPING:
            break
    assert (command.mode, command.reason) == (Mode.DAMPING, reason)  # type: ignore[union-attr]
    assert not command.stiffness.any()  # type: ignore[union-attr]


def test_states_that_stop_end_in_damping(walker: LaneController) -> None:
    assert walker.wait_for(Mode.DAMPING, 20.0).reason is Reason.STATE_LOST


def test_scrambled_states_end_in_damping_and_the_worker_lives(gaitd: Gaitd, walker: LaneController) -> None:
    pid = gaitd.worker_pid()
    rng = np.random.default_rng(1)
    until_s = time.monotonic() + 20.0
    command = None
    size = os.fstat(walker.lane.state_fd).st_size
    while (command is None or command.mode is not Mode.DAMPING) and time.monotonic() < until_s:
        os.pwrite(walker.lane.state_fd, rng.bytes(size - 64), 64)
        os.eventfd_write(walker.lane.worker_fd, 1)
        command = walker.receive(walker.period_s)
    assert command is not None
    # Or a state before that was refused, on a busy machine: too close behind another one.
    assert command.reason in (Reason.STATE_LOST, Reason.STATE_INVALID)
    assert gaitd.worker_pid() == pid
    walker.lane.close()
    walker.open_lane()  # a fresh one
    walker.control.demand("hello", controller="lane", joints=walker.joints, fields=walker.contract["fields"])
    walker.activate()
    assert any(walker.walk(5))


def test_a_killed_worker_is_damping_and_its_successor_has_the_same_rings(
    gaitd: Gaitd, walker: LaneController
) -> None:
    pid = gaitd.worker_pid()
    os.kill(pid, signal.SIGKILL)
    assert damping(walker).reason is Reason.WORKER_DIED
    gaitd.wait_worker(other_than=pid)
    walker.control.demand("hello", controller="lane", joints=walker.joints, fields=walker.contract["fields"])
    walker.activate()
    assert any(walker.walk(5))


def test_both_transports_at_once(gaitd: Gaitd, walker: LaneController) -> None:
    socket_controller = gaitd.controller(name="socket")
    socket_controller.settle()
    assert any(walker.walk(5))
    walker.control.demand("release", session=walker.session)
    socket_controller.activate()
    assert any(socket_controller.walk(5))
    walker.lane.commands.skip()
    wait_until(socket_controller.step, what="an answer")
    seen = decode_command(walker.lane.commands.take() or b"", 3)
    assert seen.session == socket_controller.session  # who has a lane hears them as a subscriber does
    socket_controller.control.demand("release", session=socket_controller.session)


def test_a_gaitd_that_is_killed_leaves_no_memory_and_the_next_one_takes_its_place(
    small_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = sorted(Path("/dev/shm").iterdir())
    with Gaitd(small_bundle_path, config=PATIENT + SHM) as killed:
        killed.wait_ready()
        controller = lane_controller(killed)
        killed.process.send_signal(signal.SIGKILL)
        assert controller.lane.socket.recv(1) == b""  # it hears of it
        assert sorted(Path("/dev/shm").iterdir()) == before
        assert (killed.runtime_dir / "shm.sock").exists()
        with Gaitd(small_bundle_path, config=PATIENT + SHM, runtime_dir=killed.runtime_dir) as fresh:
            fresh.wait_ready()
            controller.lane.close()
            successor = lane_controller(fresh)
            successor.activate()
            assert any(successor.walk(5))
            successor.close()
        controller._connection.close()
    assert not (killed.runtime_dir / "shm.sock").exists()
