"""With a standby the robot walks on when the worker fails, once; without a ready one it damps as ever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gaitd.backends import open_backend
from gaitd.bundle.read import open_bundle
from gaitd.ctl.explain.account import Account
from gaitd.ctl.replay.compare import compare
from gaitd.ctl.replay.run import Replayer
from gaitd.telemetry.recording import read_recording
from gaitd.wire.generated import Mode
from gaitd.wire.messages import JointCommand
from support.bundles import COUNT_STEP, counting_bundle
from support.controller import Controller, standing_state
from support.daemon import PATIENT, Gaitd, wait_until, wait_walking

CONFIG = PATIENT + '\n[standby]\nmode = "on"\n'


@pytest.fixture(scope="module")
def gaitd(small_bundle_path: Path, recordings: Path) -> Iterator[Gaitd]:
    """One whose worker misbehaves on demand; its standby is honest."""
    config = f'{CONFIG}[recorder]\ndirectory = "{recordings}"\nafter_s = 0.5\n'
    with Gaitd(small_bundle_path, config=config, fault=True) as daemon:
        yield daemon.wait_ready()


@pytest.fixture
def walker(gaitd: Gaitd) -> Iterator[Controller]:
    """A controller in a session with the worker, and a standby that follows it."""
    wait_until(lambda: ready(gaitd, "worker") and ready(gaitd, "standby"), 30.0, "both workers")
    controller = gaitd.controller(name="walker")
    start_walking(controller)
    yield controller
    gaitd.set_fault("")
    controller.control.ask("release", session=controller.session)
    controller.control.ask("release", session=0)
    controller.close()


def ready(gaitd: Gaitd, name: str) -> bool:
    return bool(gaitd.status()[name]["ready"])


def start_walking(controller: Controller) -> None:
    controller.activate()
    assert any(controller.walk(8))


def walk_until(
    walker: Controller, condition: Callable[[JointCommand | None], object], steps: int = 400
) -> list[JointCommand | None]:
    """Send states until an answer satisfies the condition; all answers."""
    answers = []
    for _ in range(steps):
        answers.append(walker.step())
        if condition(answers[-1]):
            return answers
    raise AssertionError(f"it did not come in {steps} steps")


def until_both_hear(controller: Controller) -> None:
    """Worker and standby: a session whose first state reaches one of them alone has no whole standby."""

    def heard() -> int:
        return int(controller.status()["counters"]["standby"])

    before, sent = heard(), 0
    while heard() - before <= sent:
        assert sent < 2000, "one of them does not hear"
        controller.send(standing_state(controller.default_position()))
        sent += 1


def by_standby(command: JointCommand | None) -> bool:
    return command is not None and command.slot == 1


def damped(command: JointCommand | None) -> bool:
    return command is not None and command.mode is Mode.DAMPING


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_states_that_stop_are_damping_as_ever(gaitd: Gaitd, walker: Controller) -> None:
    assert walker.wait_for(Mode.DAMPING).reason.name == "STATE_LOST"
    assert gaitd.status()["failover"] == ""


def test_hello_lists_both(gaitd: Gaitd) -> None:
    endpoints = gaitd.connect().hello()["endpoints"]
    assert [(each["slot"], each["state"], each["command"]) for each in endpoints] == [
        (0, "state", "command"),
        (1, "state1", "cmd1"),
    ]


def test_the_robot_walks_on_when_the_worker_is_killed_and_lies_down_with_the_standby(
    gaitd: Gaitd, walker: Controller, small_bundle_path: Path, recordings: Path
) -> None:
    before = gaitd.metrics()['gaitd_failovers_total{why="died"}']
    kill(gaitd.worker_pid())
    answers = walk_until(walker, by_standby)
    assert not any(map(damped, answers))
    assert answers.count(None) <= 1, "a state was left unanswered for longer than the change takes"
    session, epoch = walker.session, answers[-1].epoch  # type: ignore[union-attr]
    for command in walker.walk(20):
        assert command is not None
        assert (command.mode, command.session, command.slot) == (Mode.ACTIVE, session, 1)
        assert command.epoch == epoch
    wait_walking(walker.step, lambda: "killed by SIGKILL" in gaitd.status()["failover"], what="the reason")
    gaitd_status = gaitd.status()
    assert gaitd_status["mode"] == "active"
    assert "the standby (CPU) took over at" in gaitd_status["failover"]
    assert "THE STANDBY HAS TAKEN OVER" in gaitd.log
    assert "ON THE LAST WORKER" in gaitd.log
    path = wait_until(
        lambda: walker.step() and next(recordings.glob("*-failover.mcap"), None), 20.0, "its recording"
    )
    explained = Account.of(path, read_recording(path))
    assert explained.verdict.kind == "worker_killed"
    assert "the worker failed (died) and the standby went on" in explained.as_text("en")
    # A fresh worker comes back, and waits for the next session: the standby goes on.
    assert "a fresh worker is ready" in walk_until_status(gaitd, walker)
    assert all(by_standby(command) for command in walker.walk(5))
    assert gaitd.metrics()['gaitd_failovers_total{why="died"}'] == before + 1
    assert gaitd.metrics()["gaitd_standby_holds"] == 1
    # Once in a session: a fresh worker is there, and yet this is the end of it.
    kill(gaitd.status()["standby"]["pid"])
    assert damped(walk_until(walker, damped)[-1])
    assert gaitd.status()["reason"] == "worker_died"
    (path,) = wait_until(lambda: list(recordings.glob("*-worker_died.mcap")), what="the recording")
    recording, bundle = read_recording(path), open_bundle(small_bundle_path)
    steps = recording.records[recording.records["session"] == np.uint64(session)]
    assert np.unique(steps["epoch"]).tolist() == [epoch - 1, epoch]
    found = compare(
        recording, Replayer(recording, bundle, open_backend("onnx", bundle)).run(), bundle.manifest.joints
    )
    assert found.exact.all()
    assert found.missing == 0
    assert np.isin(steps["seq"][-20:], found.seqs).all(), "the standby's steps were not computed again"
    account = Account.of(path, recording)
    assert account.verdict.kind == "worker_killed"
    assert "the worker failed (died) and the standby went on" in account.as_text("en")
    # The next session begins with the worker again.
    wait_until(lambda: ready(gaitd, "worker") and ready(gaitd, "standby"), 30.0, "both workers")
    start_walking(walker)
    assert walker.step().slot == 0  # type: ignore[union-attr]
    assert gaitd.status()["failover"] == ""


def walk_until_status(gaitd: Gaitd, walker: Controller) -> str:
    """Go on walking until the fresh worker is ready; what the status then says."""
    for _ in range(2000):
        walker.walk(5)
        text = str(gaitd.status()["failover"])
        if "is ready" in text:
            return text
    raise AssertionError("no fresh worker")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("hanging", "silent"),
        pytest.param("failing", "errors", marks=pytest.mark.thorough),
        pytest.param("nan", "errors", marks=pytest.mark.thorough),
    ],
)
def test_the_robot_walks_on_when_the_inference(
    gaitd: Gaitd, walker: Controller, fault: str, why: str
) -> None:
    worker, name = gaitd.worker_pid(), f'gaitd_failovers_total{{why="{why}"}}'
    before = gaitd.metrics()[name]
    gaitd.set_fault(fault)
    answers = walk_until(walker, by_standby)
    assert not any(map(damped, answers))
    gaitd.set_fault("")
    assert all(by_standby(command) for command in walker.walk(20))
    assert gaitd.metrics()[name] == before + 1
    fresh = wait_until(lambda: walker.walk(3) and gaitd.status()["worker"], 5.0, "the status")
    assert fresh["pid"] != worker, "the one that failed was not replaced"


def test_a_pause_of_the_controller_is_none_of_the_workers(gaitd: Gaitd, walker: Controller) -> None:
    """Longer than half the deadline, before a worker that takes two control periods for a state."""
    gaitd.set_fault("slow")
    walker.walk(4)
    time.sleep(0.14)
    answers = walker.walk(10)
    gaitd.set_fault("")
    assert not any(map(damped, answers))
    assert not any(map(by_standby, answers))
    assert gaitd.status()["failover"] == ""


def test_one_error_after_a_pause_is_not_two(gaitd: Gaitd, walker: Controller) -> None:
    def errors() -> int:
        return int(gaitd.status()["refused"].get("backend_error", 0))

    before = errors()
    time.sleep(0.1)
    gaitd.set_fault("failing")
    walker.send(walker.next_state())
    wait_until(lambda: errors() > before, what="the error")
    gaitd.set_fault("")
    answers = walker.walk(10)
    assert errors() == before + 1
    assert not any(map(damped, answers))
    assert not any(map(by_standby, answers))


@pytest.mark.thorough
def test_the_standby_goes_on_with_the_hidden_state_of_the_worker(tmp_path: Path) -> None:
    """Its actions count the steps that the hidden state has gone through."""
    with Gaitd(counting_bundle(tmp_path), config=CONFIG) as daemon:
        daemon.wait_ready()
        for _ in range(3):
            wait_until(lambda: ready(daemon, "worker") and ready(daemon, "standby"), 30.0, "both workers")
            controller = daemon.controller()
            until_both_hear(controller)
            controller.activate()
            answers = controller.walk(30)
            os.kill(standby := daemon.status()["standby"]["pid"], signal.SIGSTOP)
            answers += controller.walk(20)
            os.kill(standby, signal.SIGCONT)
            answers += controller.walk(20)
            kill(daemon.worker_pid())
            answers += walk_until(controller, by_standby)
            sent = [command for command in answers if command is not None]
            last, first = [each for each in sent if not by_standby(each)][-1], sent[-1]
            steps = round(float(first.action[0] - last.action[0]) / COUNT_STEP)
            assert 1 <= steps <= first.seq - last.seq, (
                "the hidden state lacks a step, or went through one twice"
            )
            controller.control.ask("release", session=controller.session)
            controller.close()


def test_the_standby_may_die_and_come_back(gaitd: Gaitd, walker: Controller) -> None:
    kill(gaitd.status()["standby"]["pid"])
    answers = walker.walk(20)
    assert not any(map(damped, answers))
    assert not any(map(by_standby, answers))
    said = gaitd.log.count("NO LONGER ON THE LAST WORKER")
    assert "ON THE LAST WORKER" in gaitd.log
    for _ in range(2000):
        if gaitd.log.count("NO LONGER ON THE LAST WORKER") > said:
            break
        walker.walk(5)
    # It has followed long enough by now to go on with the session.
    walker.walk(10)
    kill(gaitd.worker_pid())
    answers = walk_until(walker, by_standby)
    assert not any(map(damped, answers))


def test_both_killed_at_once_is_damping(gaitd: Gaitd, walker: Controller) -> None:
    status = gaitd.status()
    kill(status["worker"]["pid"])
    kill(status["standby"]["pid"])
    walk_until(walker, damped)
    assert gaitd.status()["reason"] == "worker_died"
