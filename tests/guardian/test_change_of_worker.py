"""The real guardian with a standby, over real memory: what it writes when a worker fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from gaitd.guardian import announce
from gaitd.guardian.status import describe
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.shared import lease
from gaitd.shared.findings import Finding
from gaitd.shared.guard_memory import FailoverKind
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Config, Standby
from gaitd.wire.causes import Cause
from gaitd.wire.codec import decode_command
from gaitd.wire.control import Reply
from gaitd.wire.generated import CauseKind, Mode, Reason
from gaitd.wire.messages import JointCommand
from support.bundles import contract, small_manifest
from support.controller import ALL_FIELDS
from support.looped_guardian import LoopedGuardian

PERIOD = 12_000_000


class Scene:
    """A guardian in a session that walks, and two workers that are two memory files."""

    def __init__(self) -> None:
        manifest = contract(small_manifest(control_period_s=PERIOD / 1e9))
        bundle: Any = SimpleNamespace(
            manifest=manifest,
            policy_id="0" * 16,
            id="0" * 64,
            files={"manifest.yaml": b"m"},
            path=Path("small.gaitd"),
            pipeline=lambda: PolicyPipeline(manifest, None),
        )
        self.now_ns = 10**12
        self.heard: list[JointCommand] = []
        with mock.patch.object(time, "monotonic_ns", return_value=self.now_ns):
            config = Config(standby=Standby(mode="on"))
            self.guardian = LoopedGuardian(
                bundle, lambda data: self.heard.append(decode_command(data, 3)), config
            )
        self.real = self.guardian._guardian
        fds = [self.guardian.worker_memory.fd, self.guardian.standby_memory[0].fd]
        self.worker, self.standby = (WorkerMemory(fd, writable=True) for fd in fds)
        self.replies: list[Reply] = []
        self.ask("hello", controller="scene", joints=manifest.joints, fields=ALL_FIELDS)
        self.ask("activate")
        self.epoch = int(self.replies[-1].body["epoch"])
        self.wake()
        self.commands(self.worker, self.epoch)
        self.prepares()
        self.wake()

    def ask(self, name: str, **body: Any) -> None:
        self.guardian.ask(name, self.replies.append, **body)
        self.wake()

    def wake(self, after_ns: int = PERIOD // 4) -> None:
        self.now_ns += after_ns
        for slot in (self.worker, self.standby):
            slot.words["heartbeat_ns"] = self.now_ns
        # What is heard of processes is none of this test's.
        look = {each: mock.patch.object(each, "look", return_value=None) for each in self.workers}
        with mock.patch.object(time, "monotonic_ns", return_value=self.now_ns):
            for patch in look.values():
                patch.start()
            for write in self.guardian.wake(self.now_ns):
                write()
            for patch in look.values():
                patch.stop()

    @property
    def workers(self) -> list[Any]:
        return self.real._workers.all  # type: ignore[no-any-return]

    def commands(self, memory: WorkerMemory, epoch: int) -> None:
        memory.words["last_command_epoch"] = epoch
        memory.words["last_command_ns"] = self.now_ns

    def prepares(self, unanswered_ns: int = 0) -> None:
        """The standby has an answer to a state that has just come; the oldest unanswered one came then."""
        self.standby.words["unanswered_ns"] = unanswered_ns
        self.standby.words["prepared_ns"] = self.now_ns
        self.standby.words["prepared_epoch"] = self.epoch

    def dies(self, slot: int) -> None:
        with mock.patch.object(time, "monotonic_ns", return_value=self.now_ns):
            for write in self.guardian.worker_dies(slot, self.now_ns):
                write()

    def holder(self) -> int | None:
        """The slot whose commands may be published now."""
        word = self.guardian.memory.lease
        setup = self.guardian.memory.read_session()
        assert setup is not None
        return setup.slot if lease.permits(word, setup.epoch, setup.slot, self.now_ns) else None

    @property
    def state(self) -> Any:
        return self.real._sessions.state

    def failovers(self) -> list[int]:
        return list(self.guardian.memory.words.row("failovers"))


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.guardian.close()


def test_a_death_moves_the_lease_at_once_under_a_new_epoch(scene: Scene) -> None:
    assert scene.holder() == 0
    before = scene.state
    scene.dies(0)
    assert scene.holder() == 1
    after = scene.guardian.memory.read_session()
    assert after is not None
    assert (after.session, after.epoch) == (before.session, before.epoch + 1)
    assert scene.state.fed_ns == scene.worker.words["last_command_ns"]
    assert scene.failovers() == [kind is FailoverKind.DIED for kind in FailoverKind]
    assert not any(command.mode is Mode.DAMPING for command in scene.heard)
    assert "the standby (CPU) took over at" in announce.failed_over(scene.state, worker_ready=False)


def test_the_standbys_commands_feed_the_timer_then(scene: Scene) -> None:
    scene.dies(0)
    for _ in range(40):
        scene.commands(scene.standby, scene.epoch + 1)
        scene.wake()
    assert scene.state.mode is Mode.ACTIVE


def test_without_them_the_deadline_ends_it_when_it_would_have(scene: Scene) -> None:
    last_ns = scene.worker.words["last_command_ns"]
    scene.wake(2 * PERIOD)
    scene.prepares()
    scene.dies(0)
    scene.commands(scene.worker, scene.epoch)  # a late word of the one before
    while scene.state.mode is Mode.ACTIVE:
        assert scene.now_ns - last_ns <= 5 * PERIOD
        scene.wake()
    assert scene.now_ns - last_ns <= 5 * PERIOD + PERIOD // 4
    assert scene.state.reason is Reason.STATE_LOST
    assert scene.holder() is None


def test_the_death_of_the_standby_then_is_damping(scene: Scene) -> None:
    scene.dies(0)
    scene.prepares()
    scene.workers[0].ready = True  # a fresh one: it is for the next session
    scene.dies(1)
    assert (scene.state.mode, scene.state.reason) == (Mode.DAMPING, Reason.WORKER_DIED)
    assert scene.holder() is None


def test_the_death_of_a_standby_that_follows_changes_nothing(scene: Scene) -> None:
    scene.dies(1)
    assert scene.holder() == 0
    scene.dies(0)
    assert scene.state.mode is Mode.DAMPING


@pytest.mark.parametrize("pause", [1, 3])
def test_silence_moves_the_lease_when_less_is_left_than_a_state_has_waited(scene: Scene, pause: int) -> None:
    last_ns = scene.now_ns - PERIOD // 4
    came_ns = last_ns + pause * PERIOD
    give_up = mock.Mock()
    scene.workers[0].give_up = give_up
    while scene.holder() == 0:
        scene.prepares(came_ns if scene.now_ns >= came_ns else 0)
        scene.wake()
        assert scene.state.mode is Mode.ACTIVE
    due_ns = (5 * PERIOD + came_ns - last_ns) // 2
    assert due_ns < scene.now_ns - last_ns <= due_ns + PERIOD // 4 <= 4 * PERIOD + PERIOD // 4
    assert scene.failovers()[FailoverKind.SILENT] == 1
    give_up.assert_called_once()


def test_errors_move_it_sooner(scene: Scene) -> None:
    last_ns = scene.now_ns - PERIOD // 4
    for errors in (1, 2):
        while scene.now_ns < last_ns + errors * PERIOD:
            scene.prepares(last_ns + PERIOD if errors > 1 else 0)
            scene.wake()
        assert scene.holder() == 0
        cause = Cause(CauseKind.ACTION_NOT_FINITE)
        scene.worker.refusal.write(Finding(scene.now_ns, scene.epoch, cause))
        scene.worker.words["errors_in_a_row"] = errors
    scene.wake()
    assert scene.holder() == 1
    assert scene.now_ns - last_ns <= 9 * PERIOD // 4 + PERIOD // 4
    assert scene.failovers()[FailoverKind.ERRORS] == 1


def test_a_limit_damps(scene: Scene) -> None:
    scene.worker.trip.write(Finding(scene.now_ns, scene.epoch, Cause(CauseKind.POSITION_LIMIT)))
    scene.dies(0)
    assert scene.state.mode is Mode.DAMPING
    assert scene.failovers() == [0, 0, 0]


def test_a_standby_that_does_not_follow_is_not_said_to_be_ready(scene: Scene) -> None:
    """Its process is well; the controller sends it no states, say."""

    def ready() -> tuple[bool, int]:
        word = scene.guardian.memory.words.row("worker_ready")[1]
        return describe(scene.real._bundle, scene.real._sessions, scene.real._workers)["standby"][
            "ready"
        ], word

    def walk(seconds: float, *, follows: bool) -> None:
        for _ in range(round(seconds * 1e9) // PERIOD):
            scene.worker.words["last_state_ns"] = scene.now_ns
            scene.commands(scene.worker, scene.epoch)
            if follows:
                scene.prepares()
            scene.wake(PERIOD)

    walk(1.0, follows=True)
    assert ready() == (True, 1)
    walk(1.0, follows=False)
    assert ready() == (False, 0)
    walk(1.0, follows=True)
    assert ready() == (True, 1)
    assert scene.state.mode is Mode.ACTIVE


def test_the_next_session_is_with_the_worker_again(scene: Scene) -> None:
    scene.dies(0)
    scene.ask("damp", session=0, reason=int(Reason.OPERATOR))
    scene.workers[0].ready = True
    scene.ask("activate")
    assert scene.replies[-1].ok
    assert scene.replies[-1].body["slot"] == 0
    assert scene.replies[-1].body["epoch"] == scene.epoch + 2
    assert scene.holder() == 0
    assert not scene.state.moved_ns


def test_a_worker_that_never_comes_back_ends_nothing_while_the_standby_walks(scene: Scene) -> None:
    scene.dies(0)
    scene.wake()
    assert scene.workers[0].may_fail
    scene.ask("damp", session=0, reason=int(Reason.OPERATOR))
    scene.wake()
    assert not scene.workers[0].may_fail
    assert scene.workers[1].may_fail
