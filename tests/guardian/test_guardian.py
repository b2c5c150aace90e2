"""The guardian's state machine on a clock of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gaitd.guardian import rules
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.wire.causes import NO_CAUSE
from gaitd.wire.generated import CauseKind, Mode, Reason
from support.findings import found

MS = 1_000_000
LIMITS = GuardLimits(deadline_ns=60 * MS, first_command_ns=500 * MS)
T0 = 1_000_000 * MS
FAULTS = [reason for reason in Reason if reason is not Reason.NONE]


def view(now_ns: int = T0, **changes: Any) -> WorkerView:
    """An idle worker whose heart beats."""
    idle = WorkerView(
        heartbeat_ns=now_ns,
        busy_since_ns=0,
        last_state_ns=0,
        last_command_ns=0,
        last_command_epoch=0,
        refusal=None,
        trip=None,
    )
    return replace(idle, **changes)


def walking(session: int = 5, last_command_ns: int = T0) -> GuardState:
    """A session that had its last command at T0."""
    state = rules.activate(session, session, last_command_ns - 100 * MS)
    seen = view(last_command_ns, last_command_ns=last_command_ns, last_command_epoch=session)
    return rules.tick(state, seen, LIMITS, last_command_ns)


def after(silence_ns: int, **changes: Any) -> GuardState:
    """The walking session's state after so long without a command."""
    now_ns = T0 + silence_ns
    return rules.tick(walking(), view(now_ns, **changes), LIMITS, now_ns)


def latched(state: GuardState) -> GuardState:
    """What no later reason changes; that a person asked is noted beside it (test_stance.py)."""
    return replace(state, limp_by=Reason.NONE)


def test_it_starts_idle_and_stays_so() -> None:
    state = GuardState()
    assert state.mode is Mode.IDLE
    assert rules.tick(state, view(), LIMITS, T0) == state


def test_activate_makes_active_and_commands_keep_it_so() -> None:
    state = rules.activate(5, 5, T0)
    assert (state.mode, state.reason, state.session) == (Mode.ACTIVE, Reason.NONE, 5)
    for step in range(1, 1000):
        now_ns = T0 + step * 12 * MS
        seen = view(now_ns, last_command_ns=now_ns - MS, last_command_epoch=5)
        state = rules.tick(state, seen, LIMITS, now_ns)
        assert state.mode is Mode.ACTIVE


def test_the_deadline_is_exact() -> None:
    assert after(60 * MS).mode is Mode.ACTIVE
    assert after(60 * MS + 1).mode is Mode.DAMPING


def test_it_looks_more_often_as_soon_as_a_command_is_late() -> None:
    period_ns = 12 * MS
    assert rules.tick_ns(GuardState(), period_ns, T0) == period_ns // 2
    state = walking()
    assert rules.tick_ns(state, period_ns, T0 + period_ns) == period_ns // 2
    assert rules.tick_ns(state, period_ns, T0 + 2 * period_ns) == period_ns // 4
    # By the slower ticks the lateness is seen before the shortest deadline that can be set, two periods.
    seen_ns = period_ns * rules.LATE_PERIODS + rules.tick_ns(state, period_ns, T0)
    assert seen_ns < 2 * period_ns
    damped = rules.damp(state, Reason.OPERATOR, "", T0)
    assert rules.tick_ns(damped, period_ns, T0 + 9 * period_ns) == period_ns // 2


def test_the_first_command_may_take_longer() -> None:
    fresh = rules.activate(5, 5, T0)
    assert rules.tick(fresh, view(T0 + 500 * MS), LIMITS, T0 + 500 * MS).mode is Mode.ACTIVE
    late = rules.tick(fresh, view(T0 + 500 * MS), LIMITS, T0 + 500 * MS + 1)
    assert (late.mode, late.reason) == (Mode.DAMPING, Reason.STATE_LOST)


def test_after_the_first_command_the_short_limit_holds() -> None:
    state = rules.activate(5, 5, T0)
    seen = view(T0 + MS, last_command_ns=T0 + MS, last_command_epoch=5)
    state = rules.tick(state, seen, LIMITS, T0 + MS)
    assert (
        rules.tick(state, replace(seen, heartbeat_ns=T0 + 62 * MS), LIMITS, T0 + 62 * MS).mode is Mode.DAMPING
    )


def test_commands_of_another_session_do_not_count() -> None:
    seen = view(T0 + 61 * MS, last_command_ns=T0 + 61 * MS, last_command_epoch=4)
    assert rules.tick(walking(), seen, LIMITS, T0 + 61 * MS).mode is Mode.DAMPING


@pytest.mark.parametrize(
    ("worker", "reason", "words"),
    [
        ({"busy_since_ns": T0 + MS}, Reason.DEADLINE, "inference has been running for 60 ms"),
        ({"heartbeat_ns": T0}, Reason.DEADLINE, "the worker has not moved for 61 ms"),
        (
            {"refusal": found(T0 + MS, CauseKind.SEQUENCE)},
            Reason.STATE_INVALID,
            "refuses what it gets",
        ),
        (
            {"refusal": found(T0 + MS, CauseKind.OLD)},
            Reason.STATE_STALE,
            "refuses what it gets",
        ),
        (
            {"refusal": found(T0 + MS, CauseKind.ACTION_NOT_FINITE)},
            Reason.ACTION_INVALID,
            "refuses what it gets",
        ),
        (
            {"refusal": found(T0 + MS, CauseKind.BACKEND_ERROR)},
            Reason.BACKEND_ERROR,
            "refuses what it gets",
        ),
        ({"last_state_ns": T0 + MS}, Reason.DEADLINE, "states arrive, but no command"),
        # The next state may be in hand when the answer to the one before was refused.
        (
            {
                "refusal": found(T0 + 48 * MS, CauseKind.ACTION_NOT_FINITE),
                "last_state_ns": T0 + 60 * MS,
            },
            Reason.ACTION_INVALID,
            "refuses what it gets",
        ),
        # One bad state, and good ones ever since: that is not why nothing comes of them.
        (
            {
                "refusal": found(T0 + 10 * MS, CauseKind.SEQUENCE),
                "last_state_ns": T0 + 60 * MS,
            },
            Reason.DEADLINE,
            "states arrive, but no command",
        ),
        ({}, Reason.STATE_LOST, "no state of the session arrives"),
        # What lies before the last command explains nothing.
        (
            {
                "refusal": found(T0 - MS, CauseKind.SEQUENCE),
                "last_state_ns": T0 - MS,
            },
            Reason.STATE_LOST,
            "no state",
        ),
    ],
)
def test_the_reason_of_a_silence(worker: dict[str, Any], reason: Reason, words: str) -> None:
    state = after(61 * MS, **worker)
    assert (state.mode, state.reason, state.session) == (Mode.DAMPING, reason, 5)
    assert state.detail.startswith("no command for 61 ms: ")
    assert words in state.detail


def test_a_trip_of_the_session_damps_at_once() -> None:
    state = after(MS, trip=found(T0, CauseKind.SLEW_LIMIT))
    assert (state.mode, state.reason) == (Mode.DAMPING, Reason.LIMIT)
    assert after(MS, trip=found(T0, CauseKind.SLEW_LIMIT, epoch=4)).mode is Mode.ACTIVE


def test_a_death_damps_at_once_and_only_a_session() -> None:
    state = rules.worker_died(walking(), "worker killed by SIGKILL", T0)
    assert (state.mode, state.reason, state.detail) == (
        Mode.DAMPING,
        Reason.WORKER_DIED,
        "worker killed by SIGKILL",
    )
    assert rules.worker_died(GuardState(), "gone", T0) == GuardState()


@pytest.mark.parametrize("reason", FAULTS)
@pytest.mark.parametrize("start", [GuardState(), walking()])
def test_damping_is_for_any_mode_and_the_first_reason_stays(start: GuardState, reason: Reason) -> None:
    state = rules.damp(start, reason, "first", T0)
    assert (state.mode, state.reason, state.session) == (Mode.DAMPING, reason, start.session)
    for later in FAULTS:
        assert latched(rules.damp(state, later, "second", T0 + MS)) == latched(state)
    assert rules.worker_died(state, "second", T0 + MS) == state


def test_release_ends_everything() -> None:
    for state in (walking(), rules.damp(walking(), Reason.OPERATOR, "", T0)):
        released = rules.release(state, T0 + MS)
        assert (released.mode, released.reason, released.session) == (Mode.IDLE, Reason.NONE, 0)


FINDINGS = st.builds(
    found,
    st.integers(T0 - 1000 * MS, T0 + 1000 * MS),
    st.sampled_from(CauseKind),
    st.integers(0, 4),
)
VIEWS = st.builds(
    WorkerView,
    heartbeat_ns=st.integers(T0 - 1000 * MS, T0 + 1000 * MS),
    busy_since_ns=st.just(0) | st.integers(T0 - 1000 * MS, T0 + 1000 * MS),
    last_state_ns=st.just(0) | st.integers(T0 - 1000 * MS, T0 + 1000 * MS),
    last_command_ns=st.just(0) | st.integers(T0 - 1000 * MS, T0 + 1000 * MS),
    last_command_epoch=st.integers(0, 4),
    refusal=st.none() | FINDINGS,
    trip=st.none() | FINDINGS,
)


@given(VIEWS, st.integers(T0, T0 + 2000 * MS))
def test_whatever_the_worker_says_the_latch_holds(seen: WorkerView, now_ns: int) -> None:
    """No view of the worker, sane or not, moves anything but a session's ACTIVE."""
    for state in (GuardState(), rules.damp(walking(3), Reason.OPERATOR, "", T0)):
        assert rules.tick(state, seen, LIMITS, now_ns) == state


@given(VIEWS, st.integers(0, 2000 * MS))
def test_an_active_session_is_fed_or_damped_with_a_reason(seen: WorkerView, silence_ns: int) -> None:
    state = rules.tick(walking(3), seen, LIMITS, T0 + silence_ns)
    if state.mode is Mode.ACTIVE:
        fed_ns = max(T0, seen.last_command_ns if seen.last_command_epoch == 3 else 0)
        assert T0 + silence_ns - fed_ns <= LIMITS.deadline_ns
        assert seen.trip is None or seen.trip.epoch != 3
    else:
        assert state.mode is Mode.DAMPING
        assert state.reason is not Reason.NONE
        assert state.detail or state.cause is not NO_CAUSE


class Life(RuleBasedStateMachine):
    """Any order of events: only activate and release leave DAMPING; no silence outlasts its limit."""

    @initialize()
    def begin(self) -> None:
        self.now_ns = T0
        self.state = GuardState()
        self.session = 0
        self.last_command_ns = 0
        self.activated_ns = 0
        self.latched: GuardState | None = None

    @rule()
    def activate(self) -> None:
        self.session += 1
        self.state = rules.activate(self.session, self.session, self.now_ns)
        self.activated_ns, self.last_command_ns = self.now_ns, 0
        self.latched = None

    @rule()
    def release(self) -> None:
        self.state = rules.release(self.state, self.now_ns)
        self.latched = None

    @rule(reason=st.sampled_from(FAULTS))
    def damp(self, reason: Reason) -> None:
        self.state = rules.damp(self.state, reason, "asked", self.now_ns)
        self.latch()

    @rule()
    def worker_dies(self) -> None:
        self.state = rules.worker_died(self.state, "gone", self.now_ns)
        self.latch()

    @rule(age_ms=st.integers(0, 5), answers=st.booleans(), wait_ms=st.integers(0, 80))
    def time_passes(self, age_ms: int, answers: bool, wait_ms: int) -> None:
        self.now_ns += wait_ms * MS
        if answers and self.state.mode is Mode.ACTIVE:
            self.last_command_ns = max(self.activated_ns + 1, self.now_ns - age_ms * MS)
        seen = view(self.now_ns, last_command_ns=self.last_command_ns, last_command_epoch=self.session)
        self.state = rules.tick(self.state, seen, LIMITS, self.now_ns)
        if self.state.mode is Mode.ACTIVE:
            limit_ns = LIMITS.deadline_ns if self.last_command_ns else LIMITS.first_command_ns
            assert self.now_ns - max(self.last_command_ns, self.activated_ns) <= limit_ns
        self.latch()

    def latch(self) -> None:
        if self.state.mode is Mode.DAMPING and self.latched is None:
            self.latched = self.state

    @invariant()
    def the_latch_holds(self) -> None:
        if self.latched is not None:
            assert latched(self.state) == latched(self.latched)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_what_was_no_session_says_nothing_of_the_worker() -> None:
    asked = rules.damp(GuardState(), Reason.CLIENT_DEADLINE, "", T0)
    assert not rules.ended_undelivered(asked)
    assert rules.ended_undelivered(rules.damp(walking(), Reason.CLIENT_DEADLINE, "", T0))
