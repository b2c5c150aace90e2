"""A standby follows the session of another worker: what it answers is what that one would have answered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from gaitd.errors import BackendError
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.shared import lease
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import JointCommand
from gaitd.worker import loop
from gaitd.worker.answer import Answerer
from gaitd.worker.follower import Follower, Other
from gaitd.worker.following import FollowingWorker
from gaitd.worker.model import TimedModel
from gaitd.worker.step import Frame, Outcome, PolicyStep
from support.bundles import contract, small_manifest
from support.controller import standing_state
from support.watched import LoopedWorker

PERIOD_NS = 12_000_000
HEAD_START_NS = 4_000_000
DEFAULT = np.array([0.0, -0.65, 1.3], np.float32)
SESSION, EPOCH = 7, 107
SLEW = 0.05
DEPTH = 3


class Recurrent:
    """Its action depends on all that it was shown and on the hidden state that it adopted."""

    def __init__(self) -> None:
        self.reset()

    def infer(self, observation: np.ndarray) -> np.ndarray:
        mixed = observation.reshape(3, -1).sum(axis=1)
        self._next = np.tanh(0.5 * self._hidden + 0.3 * mixed).astype(np.float32)
        return self._next.copy()

    def commit(self) -> None:
        self._hidden = self._next

    def reset(self) -> None:
        self._hidden = self._next = np.zeros(3, np.float32)


class Pair:
    """A worker that answers, and a standby's follower on its memory, without sockets and processes."""

    def __init__(self, first_states: int | None = None) -> None:
        plain = small_manifest(control_period_s=PERIOD_NS / 1e9)
        if first_states is None:
            plain["model"] = {"recurrent": [{"input": "h_in", "output": "h_out", "shape": [3]}]}
        plain["limits"]["slew"] = {"max_rad_per_step": SLEW}
        plain["observation"]["history"] = {"length": DEPTH}
        manifest = contract(plain)
        self.bundle: Any = SimpleNamespace(manifest=manifest, pipeline=lambda: PolicyPipeline(manifest, None))
        self.guard = GuardMemory.create(3)
        self.lease(EPOCH, 0)
        self.memory = WorkerMemory(WorkerMemory.create(3).fd, writable=True)
        self.standby_memory = WorkerMemory(WorkerMemory.create(3).fd, writable=True)
        self.words = self.standby_memory.words
        self.sent: list[bytes] = []
        model = TimedModel(Recurrent(), self.memory.words)  # type: ignore[arg-type]
        self.answerer = Answerer(self.guard, self.memory, model, PERIOD_NS, self.sent.append)
        self.holder = self.step_of(model)
        self.begin_ns = time.monotonic_ns() - 100 * 10**9
        self.seq = 0
        self.join(first_states)

    def lease(self, epoch: int, slot: int) -> None:
        """The lease names that holder."""
        self.guard.lease = lease.grant(epoch, slot, time.monotonic_ns() + 3600 * 10**9)

    def join(self, first_states: int | None = None) -> None:
        """A standby begins to follow."""
        step = self.step_of(Recurrent())
        step.watch(step.setup, None)
        self.follower = Follower(step, first_states, self.memory.steps, self.words, PERIOD_NS)

    def step_of(self, model: Any) -> PolicyStep:
        setup = SessionSetup(SESSION, EPOCH, 0, raw=False, policy_from_controller=np.arange(3))
        limits = AdmissionLimits(2 * PERIOD_NS)
        return PolicyStep(self.bundle, setup, limits, model.infer, model.commit)

    def frame(self) -> Frame:
        """The next state; the joints move, for else an action would repeat."""
        self.seq += 1
        position = DEFAULT + 0.1 * np.sin(self.seq + np.arange(3)).astype(np.float32)
        stamp_ns = self.begin_ns + self.seq * PERIOD_NS
        state = replace(standing_state(position, self.seq), session=SESSION, seq=self.seq, stamp_ns=stamp_ns)
        return Frame(encode_state(state), stamp_ns + 1_000_000)

    def answer(self, *frames: Frame) -> JointCommand:
        outcome = self.holder.step(frames, now_ns := frames[-1].received_ns)
        assert self.answerer.publish(self.holder, outcome, frames, now_ns) is not None
        return decode_command(self.sent[-1], 3)

    def follow(self, *frames: Frame, late_ns: int = HEAD_START_NS) -> list[Outcome]:
        self.follower.hear(frames)
        return self.follower.follow(frames[-1].received_ns + late_ns)

    setup_of_standby = SessionSetup(SESSION, EPOCH + 1, 1, raw=False, policy_from_controller=np.arange(3))

    @property
    def now_ns(self) -> int:
        """When the newest state has come to the standby, too."""
        return self.begin_ns + self.seq * PERIOD_NS + HEAD_START_NS

    def take_over(self) -> JointCommand | None:
        _, outcome = self.follower.take_over(self.setup_of_standby, self.now_ns)
        return None if outcome is None else outcome.command

    @property
    def prepared(self) -> bool:
        return self.words["prepared_epoch"] == EPOCH


@pytest.mark.parametrize("steps", [0, 1, 2, 30])
@pytest.mark.parametrize("heard_late", [False, True])
def test_it_answers_what_the_other_worker_would_have_answered(steps: int, heard_late: bool) -> None:
    """With its history, its last actions, its slew reference and its hidden state."""
    pair = Pair()
    rng = np.random.default_rng(steps)
    for _ in range(steps):
        group = [pair.frame() for _ in range(rng.choice([1, 1, 1, 2]))]
        if rng.random() < 0.2:
            pair.follow(*group)  # before the other one has answered
            pair.answer(*group)
        else:
            pair.answer(*group)
            pair.follow(*group)
    newest = pair.frame()
    pair.follow(newest, late_ns=0 if heard_late else HEAD_START_NS)
    assert len(pair.sent) == 0 or decode_command(pair.sent[-1], 3).seq < pair.seq
    mine = pair.take_over()
    theirs = pair.answer(newest)
    assert mine is not None
    assert (mine.session, mine.epoch, mine.slot, mine.seq) == (SESSION, EPOCH + 1, 1, theirs.seq)
    np.testing.assert_array_equal(mine.action, theirs.action)
    np.testing.assert_array_equal(mine.joint_position, theirs.joint_position)


def step_both(pair: Pair, steps: int = 1) -> None:
    for _ in range(steps):
        frame = pair.frame()
        pair.answer(frame)
        pair.follow(frame)


def assert_goes_on_as_the_other(pair: Pair) -> None:
    newest = pair.frame()
    pair.follow(newest)
    assert pair.prepared
    mine, theirs = pair.take_over(), pair.answer(newest)
    assert mine is not None
    np.testing.assert_array_equal(mine.action, theirs.action)


@pytest.mark.parametrize("answered", [1, 2, 30])
def test_what_was_answered_before_it_saw_the_session_counts(answered: int) -> None:
    """And nothing of the session before that."""
    pair = Pair()
    before = pair.step_of(Recurrent())
    before.setup = replace(before.setup, epoch=EPOCH - 1)
    pair.lease(EPOCH - 1, 0)
    for _ in range(40):
        frame = pair.frame()
        assert pair.answerer.publish(before, before.step([frame], frame.received_ns), [frame], 1) is not None
    pair.lease(EPOCH, 0)
    pair.seq = 0
    frames = [pair.frame() for _ in range(answered)]
    for frame in frames:
        pair.answer(frame)
    pair.join()
    pair.follow(*frames)
    while pair.follower.due_ns is not None:
        pair.follower.follow(frames[-1].received_ns + HEAD_START_NS)
    assert_goes_on_as_the_other(pair)


def test_who_was_stopped_goes_through_every_step_of_the_other_one() -> None:
    """Its states are far too old for an answer by then; the hidden state lacks none of them."""
    pair = Pair()
    step_both(pair, 5)
    for frame in (frames := [pair.frame() for _ in range(25)]):
        pair.answer(frame)
    now_ns = frames[-1].received_ns
    pair.follow(*[frame._replace(received_ns=now_ns) for frame in frames])
    assert pair.words["prepared_ns"] < now_ns, "an answer to a state that is too old for one"
    while pair.follower.due_ns is not None:
        pair.follower.follow(now_ns + HEAD_START_NS)
    assert_goes_on_as_the_other(pair)


def test_an_answer_that_comes_late_is_waited_for() -> None:
    pair = Pair()
    step_both(pair, 5)
    answered_late(pair, HEAD_START_NS)
    assert_goes_on_as_the_other(pair)


def stopped_for_longer_than_states_wait(pair: Pair) -> None:
    frames = [pair.frame() for _ in range(200)]
    for frame in frames:
        pair.answer(frame)
    for frame in frames[:128]:
        pair.follow(frame)


def answered_late(pair: Pair, late_ns: int = 4 * HEAD_START_NS) -> None:
    first, second = pair.frame(), pair.frame()
    pair.follow(first)
    pair.follow(second, late_ns=late_ns)
    pair.answer(first)
    pair.answer(second)


def lost_on_its_way(pair: Pair) -> None:
    pair.answer(pair.frame())


def failed(answer: Any, pair: Pair) -> None:
    step = pair.follower.step
    with mock.patch.object(step, "_infer", answer):
        step_both(pair)


def raises(_: Any) -> Any:
    raise BackendError("the runtime said no")


@pytest.mark.parametrize("first_states", [None, DEPTH + 1], ids=["recurrent", "not recurrent"])
@pytest.mark.parametrize(
    "missed",
    [
        stopped_for_longer_than_states_wait,
        answered_late,
        lost_on_its_way,
        partial(failed, lambda _: np.full(3, np.nan)),
        partial(failed, raises),
    ],
    ids=["stopped for long", "answered late", "lost on its way", "its own NaN", "its own error"],
)
def test_a_step_that_it_did_not_go_through_ends_its_readiness_for_a_model_that_remembers(
    missed: Callable[[Pair], None], first_states: int | None
) -> None:
    pair = Pair(first_states)
    step_both(pair, 5)
    assert pair.prepared
    missed(pair)
    step_both(pair, 20)
    assert pair.prepared == (first_states is not None)


def test_the_oldest_state_that_is_not_answered_is_told() -> None:
    pair = Pair()
    step_both(pair, 3)
    assert pair.words["unanswered_ns"] == 0
    first, second = pair.frame(), pair.frame()
    pair.follow(first)
    pair.follow(second, late_ns=4 * HEAD_START_NS)
    assert pair.words["prepared_ns"] == second.received_ns
    assert pair.words["unanswered_ns"] == first.received_ns
    pair.answer(second)
    third = pair.frame()
    pair.follow(third)
    assert pair.words["unanswered_ns"] == third.received_ns
    pair.answer(third)
    pair.follower.follow(third.received_ns + 2 * HEAD_START_NS)
    assert pair.words["unanswered_ns"] == 0


def test_messages_of_others_push_no_state_out_and_are_counted() -> None:
    pair = Pair()
    step_both(pair, 3)
    frame = pair.frame()
    strange = Frame(encode_state(standing_state(DEFAULT, 1)), frame.received_ns)
    pair.follower.hear([frame, *[strange] * 500, Frame(b"?", frame.received_ns)])
    outcomes = pair.follower.follow(frame.received_ns + HEAD_START_NS)
    assert pair.words["prepared_ns"] == frame.received_ns
    causes = [cause.kind for outcome in outcomes for cause in outcome.refusals]
    assert causes == [*[CauseKind.FOREIGN_SESSION] * 500, CauseKind.MALFORMED]


@pytest.mark.parametrize("heard", [True, False])
def test_what_the_other_one_sent_last_is_sent_again_as_it_was(heard: bool) -> None:
    """It may have died with its sender, on its way; where it did not, the controller refuses a replay."""
    pair = Pair()
    step_both(pair, 5)
    newest = pair.frame()
    theirs = pair.answer(newest)
    pair.follow(newest, late_ns=HEAD_START_NS if heard else 0)
    mine = pair.take_over()
    assert mine is not None
    assert (mine.epoch, mine.slot, mine.seq) == (EPOCH + 1, 1, theirs.seq)
    assert mine.state_stamp_ns == theirs.state_stamp_ns
    for name in ("joint_position", "action", "stiffness", "damping", "torque", "joint_velocity"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_it_goes_on_from_what_it_sent_again() -> None:
    """Nothing has changed for the next state: last action, slew reference and hidden state are the same."""
    pair, other = Pair(), Pair()
    for each in (pair, other):
        step_both(each, 5)
    _, outcome = pair.follower.take_over(pair.setup_of_standby, pair.now_ns)
    assert outcome is not None
    pair.follower.step.commit(outcome)
    newest = other.frame()
    theirs = other.answer(newest)
    again = pair.frame()
    mine = pair.follower.step.step([again], again.received_ns).command
    assert mine is not None
    np.testing.assert_array_equal(mine.joint_position, theirs.joint_position)
    np.testing.assert_array_equal(mine.action, theirs.action)


def test_an_old_answer_is_not_sent_again() -> None:
    """The controller has had it for long, or has given up: it would only seem that a command had come."""
    pair = Pair()
    step_both(pair, 5)
    _, outcome = pair.follower.take_over(pair.setup_of_standby, pair.now_ns + PERIOD_NS)
    assert outcome is None


def test_a_target_outside_the_range_is_not_sent_again() -> None:
    """What made it so may have damaged the memory that the other one answered from."""
    pair = Pair()
    step_both(pair, 5)
    pair.follower.step.follow(DEFAULT, DEFAULT + np.float32(10))
    assert pair.take_over() is None


def test_an_answer_to_a_state_that_never_came_here_is_not_sent_again() -> None:
    pair = Pair()
    step_both(pair, 5)
    pair.answer(pair.frame())
    assert pair.take_over() is None


def test_what_it_never_heard_of_is_not_the_reference_for_slew_either() -> None:
    """A state is lost on its way to the standby, and the other one answers it and dies."""
    pair = Pair()
    for _ in range(5):
        frame = pair.frame()
        pair.answer(frame)
        pair.follow(frame)
    heard = pair.frame()
    pair.follow(heard)
    last = pair.answer(heard, pair.frame())
    assert pair.take_over() is None, "an older state than the one that was answered"
    newest = pair.frame()
    outcome = pair.follower.step.step([newest], newest.received_ns)
    assert outcome.command is not None
    assert np.abs(outcome.command.joint_position - last.joint_position).max() <= SLEW + 1e-6
    np.testing.assert_array_equal(pair.follower.step._pipeline.last_action, last.action)


def test_a_state_is_taken_after_the_head_start_of_the_other_one() -> None:
    pair = Pair()
    frame = pair.frame()
    pair.follow(frame, late_ns=HEAD_START_NS - 1)
    assert not pair.prepared
    assert pair.follower.due_ns == frame.received_ns + HEAD_START_NS
    pair.follower.follow(frame.received_ns + HEAD_START_NS)
    assert pair.prepared
    assert pair.words["prepared_ns"] == frame.received_ns
    assert pair.follower.due_ns is None


def test_slew_is_judged_against_what_was_sent_and_what_may_have_been() -> None:
    """The other worker dies between staging and sending: its command may have gone out."""
    pair = Pair()
    for _ in range(10):
        frame = pair.frame()
        last = pair.answer(frame)
        pair.follow(frame)
    frame = pair.frame()
    outcome = pair.holder.step([frame], frame.received_ns)
    assert outcome.command is not None
    assert outcome.decision is not None
    # What a worker with another history would have staged: as far away as the limit lets it.
    staged = last.joint_position + np.array([SLEW, -SLEW, SLEW], np.float32)
    outcome.decision.target = staged
    pair.answerer._compose(outcome, frame.received_ns, EPOCH)
    pair.memory.steps.stage()
    pair.follow(frame)
    mine = pair.take_over()
    assert mine is not None
    for other in (last.joint_position, staged):
        assert np.abs(mine.joint_position - other).max() <= SLEW + 1e-6
    # Whichever of the two is in force, the next target is within the limit of both.
    pair.follower.step.commit(again := pair.follower.step.answer_again(outcome))
    assert again.decision is not None
    low = np.maximum(again.decision.target, staged) - SLEW
    high = np.minimum(again.decision.target, staged) + SLEW
    following = pair.frame()
    after = pair.follower.step.step([following], following.received_ns)
    assert after.decision is not None
    assert (after.decision.target >= low - 1e-6).all()
    assert (after.decision.target <= high + 1e-6).all()
    # And from then on only its own.
    pair.follower.step.commit(after)
    third = pair.frame()
    pair.follower.step.step([third], third.received_ns)
    assert pair.follower.step._staged is None


def test_what_one_staged_counts_when_another_one_has_the_session_and_fails_at_once() -> None:
    """The lease moved between staging and marking; the one that got it said nothing, and it comes to us."""
    pair = Pair(DEPTH + 1)
    step_both(pair, 10)
    last = decode_command(pair.sent[-1], 3)
    frame = pair.frame()
    outcome = pair.holder.step([frame], frame.received_ns)
    assert outcome.decision is not None
    staged = outcome.decision.target = last.joint_position + np.array([SLEW, -SLEW, SLEW], np.float32)
    pair.answerer._compose(outcome, frame.received_ns, EPOCH)
    pair.memory.steps.stage()
    pair.follow(frame)
    second = WorkerMemory(WorkerMemory.create(3).fd, writable=True)
    setup = SessionSetup(SESSION, EPOCH + 1, 2, raw=False, policy_from_controller=np.arange(3))
    pair.follower.follow_other(setup, Other(second.steps))
    assert pair.words["prepared_epoch"] == EPOCH + 1
    mine = pair.take_over()
    assert mine is not None
    for other in (last.joint_position, staged):
        assert np.abs(mine.joint_position - other).max() <= SLEW + 1e-6


@pytest.mark.parametrize(("first_states", "prepared_after"), [(None, None), (DEPTH + 1, DEPTH + 1)])
def test_who_joins_late_is_prepared_when_its_history_is_whole(
    first_states: int | None, prepared_after: int | None
) -> None:
    """A recurrent policy's never is: its hidden state is not there to be read."""
    pair = Pair(first_states)
    for _ in range(500):  # more than a second of them: to one that answers, such a jump is a fault
        pair.answer(pair.frame())
    pair.join(first_states)
    for number in range(1, 8):
        frame = pair.frame()
        pair.answer(frame)
        pair.follow(frame)
        assert pair.prepared == (prepared_after is not None and number >= prepared_after)


def test_states_that_the_other_one_refuses_as_a_jump_do_not_wait_for_it() -> None:
    """One that follows may join anywhere; here the controller's numbers jump, and the session is refused."""
    pair = Pair(DEPTH + 1)
    step_both(pair, 20)
    pair.seq += 300
    pair.begin_ns -= 300 * PERIOD_NS
    before_ns = pair.words["prepared_ns"]
    for _ in range(2 * DEPTH + 2):
        frame = pair.frame()
        refused = pair.holder.step([frame], frame.received_ns)
        assert [cause.kind for cause in refused.refusals] == [CauseKind.SEQUENCE]
        pair.follow(frame)
        assert not pair.prepared
        assert (pair.words["unanswered_ns"], pair.words["prepared_ns"]) == (0, before_ns)


def test_an_action_that_was_rejected_was_not_sent() -> None:
    """The other worker records it all the same."""
    pair = Pair()
    frame = pair.frame()
    last = pair.answer(frame)
    pair.follow(frame)
    refused = pair.frame()
    broken = pair.step_of(SimpleNamespace(infer=lambda _: np.full(3, np.nan), commit=lambda: None))
    assert pair.answerer.publish(broken, broken.step([refused], refused.received_ns), [refused], 1) is None
    (record,) = pair.memory.steps.read_since(1)[0]
    assert record["cause"] != 0
    pair.follow(refused)
    mine = pair.take_over()
    assert mine is not None
    assert np.abs(mine.joint_position - last.joint_position).max() <= SLEW + 1e-6
    assert pair.follower.step._staged is None


def test_an_invalid_answer_of_its_own_is_no_answer() -> None:
    pair = Pair()
    frame = pair.frame()
    broken = pair.step_of(SimpleNamespace(infer=lambda _: np.full(3, np.nan), commit=lambda: None))
    pair.follower.step = broken
    pair.follow(frame)
    assert not pair.prepared
    assert pair.take_over() is None


def test_a_standby_sends_nothing_before_the_lease_names_it() -> None:
    pair = Pair(DEPTH + 1)
    wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
    standby = LoopedWorker(
        loop,
        pair.bundle,
        Recurrent(),
        1,
        pair.guard,
        WorkerMemory.create(3).fd,
        lambda op: None,
        partial(FollowingWorker, others={0: Other(pair.memory.steps)}, wake_fd=wake_fd),
    )
    worker = standby.worker

    def turn(*frames: Frame) -> None:
        """Each state has been there for its head start."""
        standby._waiting = [frame.data for frame in frames]
        worker.turn()
        time.sleep(HEAD_START_NS / 1e9)
        worker.turn()

    def session(epoch: int, slot: int) -> None:
        setup = SessionSetup(SESSION, epoch, slot, raw=False, policy_from_controller=np.arange(3))
        pair.guard.write_session(setup)
        pair.guard.lease = lease.grant(epoch, slot, time.monotonic_ns() + 3600 * 10**9)

    def fresh() -> Frame:
        time.sleep(PERIOD_NS / 1e9)
        pair.begin_ns = time.monotonic_ns() - (pair.seq + 1) * PERIOD_NS
        return pair.frame()

    worker.turn()
    session(EPOCH, 0)
    for _ in range(3):
        turn(fresh())
    assert standby.sent == []
    assert worker._words["prepared_epoch"] == EPOCH
    assert worker._words["followed"] == 2, "the newest is still open"
    session(EPOCH + 1, 1)
    os.eventfd_write(wake_fd, 1)
    worker.turn()
    (data,) = standby.sent
    command = decode_command(data, 3)
    (record,), _ = worker._memory.steps.read_since(0)
    frames, _ = worker._memory.frames.read_since(0)
    assert [int(frame["epoch"]) for frame in frames] == [0, 0, 0, EPOCH + 1], "heard, and answered at the end"
    assert record["step_ns"] == frames["step_ns"][-1] != 0, "a replay would not find its message"
    assert record["epoch"] == EPOCH + 1
    assert (command.session, command.epoch, command.slot, command.seq) == (SESSION, EPOCH + 1, 1, pair.seq)
    turn(fresh())
    assert decode_command(standby.sent[-1], 3).seq == pair.seq
    assert worker._words["received"] == 4 == worker._words["followed"] + worker._words["steps"]
    pair.guard.lease = lease.NOBODY
    turn(fresh())
    assert len(standby.sent) == 2
    assert standby.session == 0
