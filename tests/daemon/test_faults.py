"""Everything that can fail around a running session ends in DAMPING with its own reason, and is survived."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from gaitd.errors import ReplacedError
from gaitd.wire.codec import decode_command
from gaitd.wire.generated import Mode, Reason
from gaitd.wire.messages import JointCommand, RobotState
from support.bundles import small_manifest, write_small_bundle
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until

MS = 1_000_000
DEADLINE_NS = 20 * 12 * MS


@pytest.fixture(scope="module")
def strict_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a limit that damps."""
    manifest = small_manifest()
    manifest["limits"]["position"]["response"] = "damp"
    return write_small_bundle(tmp_path_factory.mktemp("faults") / "small.gaitd", manifest)


FAULTY = PATIENT.replace("first_command_s = 5", "first_command_s = 1")


@pytest.fixture(scope="module")
def daemon(strict_bundle: Path) -> Iterator[Gaitd]:
    """A gaitd whose backend misbehaves on demand."""
    with Gaitd(strict_bundle, config=FAULTY, fault=True) as gaitd:
        yield gaitd.wait_ready()


@pytest.fixture
def fresh(strict_bundle: Path) -> Iterator[Gaitd]:
    """The same for one test that costs the worker: only the first death is followed by a start at once."""
    with Gaitd(strict_bundle, config=FAULTY, fault=True) as gaitd:
        yield gaitd.wait_ready()


@pytest.fixture
def walker(daemon: Gaitd) -> Iterator[Controller]:
    controller = daemon.controller(name="walker")
    start_walking(controller)
    yield controller
    daemon.set_fault("")
    controller.control.ask("release", session=controller.session)
    controller.close()


def start_walking(controller: Controller) -> None:
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the first command")


def walk_until_damping(
    walker: Controller, change: Callable[[RobotState], RobotState] = lambda state: state
) -> JointCommand:
    """Go on sending states, changed so, until the session is over."""
    until_s = time.monotonic() + 10.0
    while time.monotonic() < until_s:
        state = change(walker.next_state())
        walker.send(state)
        period_end_s = time.monotonic() + walker.period_s
        while (left_s := period_end_s - time.monotonic()) > 0:
            command = walker.receive(left_s)
            if command is not None and command.mode is Mode.DAMPING:
                return command
    raise AssertionError("no damping within 10 s")


def assert_damps(command: JointCommand, walker: Controller, reason: Reason) -> None:
    """What the motors are told: nothing but the robot's own damping."""
    assert (command.mode, command.reason, command.session) == (Mode.DAMPING, reason, walker.session)
    zeros = np.zeros(3, np.float32)
    for values in (command.stiffness, command.joint_position, command.joint_velocity, command.torque):
        np.testing.assert_array_equal(values, zeros)
    np.testing.assert_allclose(command.damping, [2.5, 2.6, 2.7], rtol=1e-6)


def assert_latched(walker: Controller, daemon: Gaitd, reason: Reason) -> None:
    """Good states change nothing any more; only an activate does."""
    for _ in range(10):
        answer = walker.step()
        assert answer is None or answer.mode is Mode.DAMPING
    status = daemon.status()
    assert (status["mode"], status["reason"]) == ("damping", reason.name.lower())
    assert status["session"] == walker.session
    assert status["detail"]


def assert_walks_again(walker: Controller, daemon: Gaitd) -> None:
    """After an explicit activate, under a new number."""
    daemon.wait_worker()
    old = walker.session
    walker.control.demand(
        "hello", controller="walker", joints=walker.joints, fields=list(walker.contract["fields"])
    )
    start_walking(walker)
    assert walker.session > old
    assert daemon.status()["mode"] == "active"


# States


def test_states_that_stop(daemon: Gaitd, walker: Controller) -> None:
    assert_damps(walker.wait_for(Mode.DAMPING), walker, Reason.STATE_LOST)
    assert_latched(walker, daemon, Reason.STATE_LOST)
    assert_walks_again(walker, daemon)


def test_no_state_at_all_after_activate(small_bundle_path: Path) -> None:
    config = "[guard]\nfirst_command_s = 0.3\n"
    with Gaitd(small_bundle_path, config=config) as daemon:
        daemon.wait_ready()
        controller = daemon.controller()
        before_ns = time.monotonic_ns()
        controller.activate()
        command = controller.wait_for(Mode.DAMPING)
        assert (command.reason, command.session) == (Reason.STATE_LOST, controller.session)
        assert command.publish_stamp_ns - before_ns >= 300 * MS


def _frozen() -> Callable[[RobotState], RobotState]:
    first: list[RobotState] = []

    def change(state: RobotState) -> RobotState:
        first.append(state)
        return replace(first[0], seq=state.seq, stamp_ns=state.stamp_ns)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_frozen(), Reason.STATE_STALE),
        (lambda state: replace(state, stamp_ns=state.stamp_ns + 1000 * MS), Reason.STATE_STALE),
        (
            lambda state: replace(state, joint_position=np.full(3, np.nan, np.float32)),
            Reason.STATE_INVALID,
        ),
        (lambda state: replace(state, orientation=np.zeros(4, np.float32)), Reason.STATE_INVALID),
        (lambda state: replace(state, joint_torque=np.zeros(4, np.float32)), Reason.STATE_INVALID),
        (lambda state: replace(state, session=state.session + 1), Reason.STATE_LOST),
        (lambda state: replace(state, seq=1), Reason.STATE_INVALID),
    ],
    ids=["frozen", "future", "nan", "no attitude", "malformed", "foreign session", "no new number"],
)
def test_states_that_stay_bad(
    daemon: Gaitd, walker: Controller, change: Callable[[RobotState], RobotState], reason: Reason
) -> None:
    assert_damps(walk_until_damping(walker, change), walker, reason)
    assert_latched(walker, daemon, reason)
    assert_walks_again(walker, daemon)


def test_states_that_are_always_late(daemon: Gaitd, walker: Controller) -> None:
    walker.control.demand("release", session=walker.session)
    walker.activate()
    late = walk_until_damping(walker, lambda state: replace(state, stamp_ns=state.stamp_ns - 500 * MS))
    assert_damps(late, walker, Reason.STATE_STALE)


# The backend


def test_a_nan_that_passes_is_rejected_and_survived(daemon: Gaitd, walker: Controller) -> None:
    before = daemon.metrics()['gaitd_actions_rejected_total{why="action_not_finite"}']
    daemon.set_fault("nan")
    assert walker.walk(4) is not None
    daemon.set_fault("")
    assert daemon.metrics()['gaitd_actions_rejected_total{why="action_not_finite"}'] > before
    answer = wait_until(walker.step, what="an answer after the NaN")
    assert answer.mode is Mode.ACTIVE
    assert np.isfinite(answer.joint_position).all()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("nan", Reason.ACTION_INVALID), ("short", Reason.ACTION_INVALID), ("huge", Reason.LIMIT)],
)
def test_a_backend_that_lies(daemon: Gaitd, walker: Controller, fault: str, reason: Reason) -> None:
    pid = daemon.worker_pid()
    daemon.set_fault(fault)
    assert_damps(walk_until_damping(walker), walker, reason)
    daemon.set_fault("")
    assert_latched(walker, daemon, reason)
    assert daemon.worker_pid() == pid  # the process is well; its answers were not
    assert_walks_again(walker, daemon)


def test_a_slow_backend_is_late_and_walks_on(daemon: Gaitd, walker: Controller) -> None:
    before = daemon.metrics()
    daemon.set_fault("slow")
    for _ in range(30):
        command = walker.step()
        assert command is None or command.mode is Mode.ACTIVE
    daemon.set_fault("")
    after = daemon.metrics()
    assert after["gaitd_late_steps_total"] > before["gaitd_late_steps_total"] + 5
    assert after["gaitd_states_superseded_total"] > before["gaitd_states_superseded_total"] + 5
    assert daemon.status()["mode"] == "active"


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("hanging", Reason.DEADLINE, "inference has been running for"),
        ("failing", Reason.BACKEND_ERROR, "the inference runtime reported an error"),
        ("crashing", Reason.WORKER_DIED, "exit code 1"),
    ],
)
def test_a_backend_that_fails_gets_a_fresh_worker(
    fresh: Gaitd, fault: str, reason: Reason, words: str
) -> None:
    walker = fresh.controller()
    start_walking(walker)
    pid = fresh.worker_pid()
    fresh.set_fault(fault)
    command = walk_until_damping(walker)
    fresh.set_fault("")
    assert_damps(command, walker, reason)
    wait_until(lambda: words in fresh.status()["detail"], what=f"{words!r} in the status")
    assert fresh.wait_worker(other_than=pid) != pid
    assert_latched(walker, fresh, reason)
    assert_walks_again(walker, fresh)


# The processes


def test_a_killed_worker_is_damping_at_once_and_comes_back(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path) as daemon:  # as configured by default
        daemon.wait_ready()
        walker = daemon.controller()
        start_walking(walker)
        worker = daemon.worker_pid()
        killed_ns = time.monotonic_ns()
        os.kill(worker, signal.SIGKILL)
        command = walk_until_damping(walker)
        assert_damps(command, walker, Reason.WORKER_DIED)
        assert command.publish_stamp_ns - killed_ns < 100 * MS
        # How it died is known a little after that it did.
        wait_until(lambda: "SIGKILL" in daemon.status()["detail"], what="how the worker died")
        assert daemon.wait_worker(other_than=worker) != worker
        assert_latched(walker, daemon, Reason.WORKER_DIED)
        start_walking(walker)
        assert daemon.metrics()["gaitd_worker_starts_total"] == 2
        assert daemon.metrics()['gaitd_damping_total{reason="worker_died"}'] == 1


def test_code_that_was_replaced_under_it_ends_gaitd_with_a_clear_line(small_bundle_path: Path) -> None:
    """systemd starts the new one; no worker would fit this one any more."""
    with Gaitd(small_bundle_path, config=PATIENT, fault=True) as daemon:
        daemon.wait_ready()
        walker = daemon.controller()
        start_walking(walker)
        daemon.set_fault("replaced")
        os.kill(daemon.worker_pid(), signal.SIGKILL)
        assert_damps(walk_until_damping(walker), walker, Reason.WORKER_DIED)
        assert daemon.process.wait(30) == ReplacedError.exit_code
        assert "gaitd: error: file descriptor" in daemon.log
        assert "which was replaced while it ran; restart gaitd" in daemon.log
        assert "Traceback" not in daemon.log


def test_a_controller_that_is_too_fast_is_seen_and_bounded_and_walks_on(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path, config=PATIENT) as daemon:
        daemon.wait_ready()
        walker = daemon.controller()
        period_s = walker.period_s
        walker.contract["period_ns"] = round(period_s * 0.65e9)
        start_walking(walker)
        before, began_s = daemon.status()["counters"]["steps"], time.monotonic()

        def too_fast() -> bool:
            walker.walk(30)
            return 0 < daemon.status()["state_interval_s"] < 0.8 * period_s

        wait_until(too_fast, 30.0, "a rate that is seen to be too high")
        steps, lasted_s = daemon.status()["counters"]["steps"] - before, time.monotonic() - began_s
        assert steps <= 1.1 * lasted_s / period_s + 5
        assert daemon.status()["mode"] == "active"
        assert "the controller does not keep the policy's control period" in daemon.log
        metrics = daemon.metrics()
        assert metrics["gaitd_state_interval_seconds"] < 0.9 * metrics["gaitd_control_period_seconds"]
        assert metrics['gaitd_states_refused_total{why="early"}'] > 0


def test_a_worker_that_dies_without_a_session_is_no_damping(fresh: Gaitd) -> None:
    pid = fresh.wait_worker()
    controller = fresh.controller()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not fresh.status()["worker"]["ready"], what="the worker's death")
    assert fresh.status()["mode"] == "idle"
    reply = controller.control.ask("activate")
    assert (reply.ok, reply.body["reason"]) == (False, Reason.BACKEND_ERROR)
    assert "not ready" in reply.body["error"]
    fresh.wait_worker(other_than=pid)
    start_walking(controller)
    controller.control.demand("release", session=controller.session)


def test_a_stopped_worker_is_a_deadline_and_is_replaced(fresh: Gaitd) -> None:
    walker = fresh.controller()
    start_walking(walker)
    pid = fresh.worker_pid()
    stopped_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGSTOP)
    command = walk_until_damping(walker)
    assert_damps(command, walker, Reason.DEADLINE)
    assert command.publish_stamp_ns - stopped_ns > DEADLINE_NS // 2
    assert "the worker has not moved" in fresh.status()["detail"]
    assert fresh.wait_worker(other_than=pid) != pid
    assert_walks_again(walker, fresh)


def test_a_worker_stopped_without_a_session_is_replaced(fresh: Gaitd) -> None:
    pid = fresh.wait_worker()
    os.kill(pid, signal.SIGSTOP)
    assert fresh.wait_worker(other_than=pid) != pid
    assert fresh.status()["mode"] == "idle"


def test_a_frozen_guardian_withholds_the_commands(small_bundle_path: Path) -> None:
    with Gaitd(small_bundle_path, config=PATIENT) as daemon:
        daemon.wait_ready()
        walker = daemon.controller()
        start_walking(walker)
        stopped_ns = time.monotonic_ns()
        daemon.process.send_signal(signal.SIGSTOP)
        last_ns = stopped_ns
        while time.monotonic_ns() < stopped_ns + 3 * DEADLINE_NS:
            command = walker.step()
            if command is not None:
                assert command.mode is Mode.ACTIVE  # there is nobody to say anything else
                last_ns = command.publish_stamp_ns
        assert last_ns < stopped_ns + DEADLINE_NS + 20 * MS
        daemon.process.send_signal(signal.SIGCONT)
        command = walk_until_damping(walker)
        assert_damps(command, walker, Reason.DEADLINE)
        assert daemon.metrics()["gaitd_commands_withheld_total"] > 10
        daemon.wait_worker()
        start_walking(walker)


def test_no_active_command_after_damping(daemon: Gaitd, walker: Controller) -> None:
    """An operator's damping in full stride: nothing that was under way comes out behind the reply."""
    every = walker.socket(zmq.SUB)  # without CONFLATE: every command is looked at
    every.set(zmq.SUBSCRIBE, b"")
    walker.route.connect(every, "command", "guard")
    commands: list[JointCommand] = []

    def step() -> list[JointCommand]:
        walker.step()
        while every.poll(0):
            commands.append(decode_command(every.recv(), 3))
        return commands

    wait_until(step, what="commands on the second socket")
    walker.send(walker.next_state())
    walker.control.demand("damp", session=walker.session, reason=int(Reason.OPERATOR), detail="enough")
    damped_ns = time.monotonic_ns()
    for _ in range(20):
        step()
    damping = [command for command in commands if command.mode is Mode.DAMPING]
    assert len(damping) >= 10  # a stream, not one message
    assert {command.reason for command in damping} == {Reason.OPERATOR}
    active = [command for command in commands if command.mode is Mode.ACTIVE]
    assert active
    assert all(command.publish_stamp_ns < damped_ns for command in active)


def test_a_controller_that_goes_away_is_state_lost_and_another_may_walk(daemon: Gaitd) -> None:
    first = daemon.controller(name="first")
    start_walking(first)
    first.close()
    wait_until(lambda: daemon.status()["mode"] == "damping", what="damping")
    assert daemon.status()["reason"] == "state_lost"
    second = daemon.controller(name="second")
    start_walking(second)
    second.control.demand("release", session=second.session)
