"""A worker that follows the session of another policy's, goes on with it, and follows it back."""

from __future__ import annotations

import os
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.fade import Gains
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.shared.guard_memory import SessionSetup
from gaitd.wire.codec import decode_command, encode_state
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import JointCommand
from gaitd.worker import loop
from gaitd.worker.answer import Answerer
from gaitd.worker.follower import Follower, Other
from gaitd.worker.following import FollowingWorker
from gaitd.worker.model import TimedModel
from gaitd.worker.step import Frame, PolicyStep
from support.bundles import contract, small_manifest
from support.controller import standing_state
from support.watched import LoopedWorker
from worker.test_following import EPOCH, HEAD_START_NS, PERIOD_NS, SESSION, SLEW, Pair, Recurrent

STEPS = 5
DEFAULT = np.array([0.1, -0.5, 1.2], np.float32)
"""Of the other policy."""


def setup_of(epoch: int, slot: int) -> SessionSetup:
    return SessionSetup(SESSION, epoch, slot, raw=False, policy_from_controller=np.arange(3))


class Policies(Pair):
    """The follower's policy is another one than the holder's: other scale, gains and default pose."""

    def join(self, first_states: int | None = None) -> None:
        plain = small_manifest(control_period_s=PERIOD_NS / 1e9, default_joint_position_rad=DEFAULT.tolist())
        plain["limits"] |= {
            "slew": {"max_rad_per_step": SLEW, "response": "damp"},
            "posture": {"max_tilt_rad": 1.0, "max_start_error_rad": 0.01},
        }
        plain["action"] |= {"scale": 0.02, "stiffness_nm_per_rad": 50.0, "damping_nms_per_rad": 2.0}
        manifest = contract(plain)
        self.other: Any = SimpleNamespace(manifest=manifest, pipeline=lambda: PolicyPipeline(manifest, None))
        mapper = self.bundle.pipeline().mapper
        self.first_gains = Gains(mapper.stiffness, mapper.damping)
        step = self.step_with(self.other, Recurrent(), 1)
        step.watch(setup_of(EPOCH, 0), self.first_gains)
        self.follower = Follower(
            step, first_states, self.memory.steps, self.words, PERIOD_NS, self.first_gains
        )

    def step_with(self, bundle: Any, model: Any, policy: int) -> PolicyStep:
        setup = setup_of(EPOCH, 0)
        return PolicyStep(bundle, setup, AdmissionLimits(10**12), model.infer, model.commit, policy, STEPS)

    def walk(self, steps: int) -> JointCommand:
        for _ in range(steps):
            frame = self.frame()
            last = self.answer(frame)
            self.follow(frame)
        return last

    def goes_on(self) -> PolicyStep:
        """The lease comes to the follower; the newest state is answered."""
        assert self.take_over() is None
        return self.follower.step


def test_its_last_action_is_what_it_would_have_asked_for_the_same_targets_with() -> None:
    policies = Policies()
    last = policies.walk(10)
    pipeline = policies.follower.step._pipeline
    np.testing.assert_allclose(pipeline.mapper.target(pipeline.last_action), last.joint_position, atol=1e-6)
    assert not np.allclose(pipeline.last_action, last.action)
    assert policies.prepared


def test_where_the_joints_are_when_it_joins_is_not_its_business() -> None:
    """Its own session would not begin from here: the first policy's default is elsewhere."""
    policies = Policies()
    frame = policies.frame()
    policies.answer(frame)
    policies.follow(frame)
    assert policies.prepared


def test_one_that_is_started_in_mid_session_joins_it() -> None:
    policies = Policies()
    for _ in range(500):
        policies.answer(policies.frame())
    policies.join(first_states=3)
    policies.walk(2)
    assert not policies.prepared
    policies.walk(1)
    assert policies.prepared
    assert policies.follower.step._admission.missed == 0


@pytest.mark.parametrize(("first_states", "again"), [(3, True), (None, False)])
def test_after_a_long_gap_its_history_begins_anew(first_states: int | None, again: bool) -> None:
    """A connection that was away for a second; a hidden state or a clock is lost by that."""
    policies = Policies(first_states)
    policies.walk(5)
    assert policies.prepared
    for _ in range(200):
        policies.answer(policies.frame())
    policies.words["prepared_epoch"] = 0
    policies.walk(2)
    assert not policies.prepared
    policies.walk(2)
    assert policies.prepared == again


def test_its_hidden_state_goes_on_where_it_could_not() -> None:
    """The first policy's targets are outside its position limits now; later they may not be."""
    policies = Policies()
    step, model = policies.follower.step, Recurrent()
    step._infer, step._commit_state = model.infer, model.commit
    policies.walk(2)
    outside = np.array([0.7, -0.5, 1.2], np.float32)
    step.follow(step.action_of(outside), outside)
    policies.words["prepared_epoch"] = 0
    frame, before = policies.frame(), model._hidden.copy()
    policies.follow(frame)
    assert not policies.prepared
    policies.answer(frame)
    policies.follower.follow(frame.received_ns + HEAD_START_NS)
    assert not np.array_equal(model._hidden, before)


def test_it_goes_on_from_the_last_target_within_its_limits() -> None:
    policies = Policies()
    last = policies.walk(10)
    step = policies.goes_on()
    before, gains = last.joint_position, []
    for number in range(1, STEPS + 3):
        frame = policies.frame()
        outcome = step.step([frame], frame.received_ns)
        command = outcome.command
        assert command is not None, outcome.refusals
        assert (command.epoch, command.slot, command.policy) == (EPOCH + 1, 1, 1)
        assert np.abs(command.joint_position - before).max() <= SLEW + 1e-6
        before = command.joint_position
        step.commit(outcome)
        assert step.is_fading or number >= STEPS
        gains.append(float(command.stiffness[0]))
    assert gains == pytest.approx([34, 38, 42, 46, 50, 50, 50])


def test_after_the_fade_it_is_the_policy_alone() -> None:
    """Then a target that jumps is its own, and its own response to that holds."""
    policies = Policies()
    policies.walk(3)
    step = policies.goes_on()
    for _ in range(3 * STEPS):
        frame = policies.frame()
        step.commit(step.step([frame], frame.received_ns))
    assert not step.is_fading
    step._infer = lambda _: np.full(3, 50.0, np.float32)
    frame = policies.frame()
    refused = step.step([frame], frame.received_ns)
    assert refused.command is None
    assert refused.trip is not None
    assert refused.trip.kind is CauseKind.SLEW_LIMIT


def test_a_robot_that_lies_on_its_side_is_not_taken_over() -> None:
    policies = Policies()
    policies.walk(5)
    assert policies.prepared
    policies.words["prepared_epoch"] = 0
    on_its_side = np.array([0.5**0.5, 0.5**0.5, 0, 0], np.float32)
    policies.seq += 1
    state = standing_state(DEFAULT, policies.seq)
    state.session, state.seq = SESSION, policies.seq
    state.stamp_ns = policies.begin_ns + policies.seq * PERIOD_NS
    state.orientation = on_its_side
    (outcome,) = policies.follow(Frame(encode_state(state), state.stamp_ns + 1_000_000))
    assert [cause.kind for cause in outcome.refusals] == [CauseKind.TILT]
    assert not policies.prepared


def test_the_one_that_had_the_session_follows_it_back() -> None:
    """It knows the whole session, hidden state and clock too, and needs no time to be prepared again."""
    policies = Policies()
    policies.walk(6)
    second, memory = policies.goes_on(), policies.standby_memory
    answerer = Answerer(
        policies.guard,
        memory,
        TimedModel(Recurrent(), memory.words),
        PERIOD_NS,
        policies.sent.append,  # type: ignore[arg-type]
    )
    policies.lease(EPOCH + 1, 1)
    mapper = policies.other.pipeline().mapper
    other = Other(memory.steps, Gains(mapper.stiffness, mapper.damping))
    policies.holder.watch(setup_of(EPOCH + 1, 1), other.gains)
    follower = Follower.of_holder(policies.holder, None, policies.words, PERIOD_NS, other)
    for _ in range(3 * STEPS):
        frame = policies.frame()
        assert answerer.answer(second, [frame]) is not None
        follower.hear([frame])
        follower.follow(frame.received_ns + HEAD_START_NS)
        assert policies.words["prepared_epoch"] == EPOCH + 1
    assert memory.words["fading"] == 0
    last = second._pipeline
    np.testing.assert_allclose(
        policies.holder._pipeline.mapper.target(policies.holder._pipeline.last_action),
        last.mapper.target(last.last_action),
        atol=1e-6,
    )
    now_ns = frame.received_ns + HEAD_START_NS
    _, outcome = follower.take_over(setup_of(EPOCH + 2, 0), now_ns)
    assert outcome is None, "the newest state is answered"
    assert policies.holder.is_fading
    frame = policies.frame()
    back = policies.holder.step([frame], frame.received_ns)
    assert back.command is not None
    assert (back.command.epoch, back.command.slot) == (EPOCH + 2, 0)
    assert back.command.stiffness[0] == pytest.approx(50 + (30 - 50) / policies.holder._blend_steps)


class Undone:
    """The first policy's real worker, and other workers that get its session for a moment."""

    def __init__(self) -> None:
        self.policies = policies = Policies()
        gains = Gains(np.full(3, 50.0, np.float32), np.ones(3, np.float32))
        self.first = LoopedWorker(
            loop,
            policies.bundle,
            Recurrent(),
            0,
            policies.guard,
            policies.memory.fd,
            lambda op: None,
            partial(
                FollowingWorker,
                others={2: Other(policies.standby_memory.steps, gains)},
                wake_fd=os.eventfd(0, os.EFD_NONBLOCK),
            ),
        )
        self.worker = self.first.worker
        self.session(EPOCH, 0)
        self.worker.turn()

    def session(self, epoch: int, slot: int) -> None:
        self.policies.guard.write_session(setup_of(epoch, slot))
        self.policies.lease(epoch, slot)

    def frame(self) -> Frame:
        """A state that comes now."""
        time.sleep(PERIOD_NS / 1e9)
        self.policies.begin_ns = time.monotonic_ns() - (self.policies.seq + 1) * PERIOD_NS
        return Frame(self.policies.frame().data, time.monotonic_ns())

    def turn(self) -> JointCommand:
        """A state that comes now; the newest command."""
        frame = self.frame()
        self.first._waiting = [frame.data]
        self.worker.turn()
        self.policies.follow(frame)
        return decode_command(self.first.sent[-1], 3)


@pytest.mark.parametrize("marked", [False, True])
def test_an_undone_change_goes_on_from_what_the_other_one_may_have_sent(marked: bool) -> None:
    """It died between sending and marking, or noting it; the first one saw nothing of all that."""
    undone = Undone()
    for _ in range(12):
        last = undone.turn()
    undone.session(EPOCH + 1, 2)
    policies = undone.policies
    step = policies.goes_on()
    frame = undone.frame()
    outcome = step.step([frame], frame.received_ns)
    assert outcome.command is not None
    assert outcome.decision is not None
    # As far away as the limit lets it: whichever of the two is in force.
    sent = outcome.decision.target = last.joint_position + np.array([SLEW, -SLEW, SLEW], np.float32)
    memory = policies.standby_memory
    answerer = Answerer(
        policies.guard, memory, TimedModel(Recurrent(), memory.words), PERIOD_NS, lambda data: None
    )
    answerer._compose(outcome, frame.received_ns, EPOCH + 1)
    memory.steps.stage()
    if marked:
        memory.steps.mark_sent(frame.received_ns)
    undone.session(EPOCH + 2, 0)
    back = undone.turn()
    assert (back.epoch, back.slot, back.seq) == (EPOCH + 2, 0, policies.seq)
    for target in (last.joint_position, sent):
        assert np.abs(back.joint_position - target).max() <= SLEW + 1e-6
    after = undone.turn()
    assert np.abs(after.joint_position - back.joint_position).max() <= SLEW + 1e-6
    step = undone.worker._step
    assert step is not None
    assert step._staged is None


@pytest.mark.parametrize("noticed", [False, True])
def test_a_change_that_is_undone_finds_the_first_one_as_it_was(noticed: bool) -> None:
    """The other one got the session and said nothing; whether the first one saw that or not."""
    undone = Undone()
    policies, worker, session, turn = undone.policies, undone.worker, undone.session, undone.turn
    for _ in range(5):
        last = turn()
        assert (last.epoch, last.seq) == (EPOCH, policies.seq)
    session(EPOCH + 1, 2)
    if noticed:
        assert turn().seq == policies.seq - 1, "it is not its to answer"
        time.sleep(HEAD_START_NS / 1e9)
        worker.turn()
        assert worker._words["prepared_epoch"] == EPOCH + 1
    session(EPOCH + 2, 0)
    back = turn()
    assert (back.epoch, back.slot, back.seq) == (EPOCH + 2, 0, policies.seq)
    assert np.abs(back.joint_position - last.joint_position).max() <= SLEW * (1 + noticed) + 1e-6
    assert back.stiffness[0] == last.stiffness[0]
    step = worker._step
    assert step is not None
    assert step._pipeline.builder._step == policies.seq, "its history is whole"


def test_a_standby_of_the_new_policy_takes_part_in_its_fade() -> None:
    """The first policy's standby follows the other one, then the first one again, which dies in mid-fade."""
    policies = Policies()
    policies.walk(6)
    # Seen from the second policy's side: it follows the first one, then a worker of its own policy.
    follower, memory = policies.follower, policies.standby_memory
    holder = policies.step_with(policies.other, Recurrent(), 1)
    holder._pipeline, holder._admission = follower.step._pipeline, follower.step._admission
    assert follower.follow_other(setup_of(EPOCH + 1, 2), Other(memory.steps)) == []
    assert policies.words["prepared_epoch"] == EPOCH + 1, "it knows the session as before"
    assert follower.step.is_fading
    first = follower.step._pipeline._fade
    assert first is not None
    follower.step.follow(np.zeros(3, np.float32), DEFAULT)
    second = follower.step._pipeline._fade
    assert second is not None
    assert (first.done, second.done) == (0, 1)
