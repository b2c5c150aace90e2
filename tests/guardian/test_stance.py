"""When the guardian has the joints stand before it lets them go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitd.guardian import rules
from gaitd.guardian.rules import LIMP_REASONS, GuardLimits, GuardState, WorkerView
from gaitd.wire.generated import Mode, Reason

MS = 1_000_000
LIMITS = GuardLimits(deadline_ns=60 * MS, first_command_ns=500 * MS, stance_ns=300 * MS)
T0 = 10_000 * MS
FAULTS = [reason for reason in Reason if reason is not Reason.NONE]
STIFF = sorted(set(FAULTS) - LIMP_REASONS)

WALKING = GuardState(Mode.ACTIVE, session=5, epoch=5, since_ns=T0 - 5000 * MS, fed_ns=T0, fed_by_command=True)
STARTING = rules.activate(5, 5, T0)


def stands(state: GuardState, now_ns: int) -> bool:
    return rules.stands(state, LIMITS, now_ns)


@pytest.mark.parametrize("reason", STIFF)
def test_a_walk_ends_in_a_stance_for_its_time(reason: Reason) -> None:
    assert not stands(WALKING, T0)
    state = rules.damp(WALKING, reason, "why", T0 + MS)
    assert state.mode is Mode.DAMPING
    assert stands(state, T0 + MS)
    assert stands(state, T0 + 301 * MS - 1)
    assert not stands(state, T0 + 301 * MS)


def test_the_guards_own_deadline_and_a_death_have_it_too() -> None:
    silent = WorkerView(T0 + 63 * MS, 0, 0, T0, 5, None, None)
    late = rules.tick(WALKING, silent, LIMITS, T0 + 63 * MS)
    dead = rules.worker_died(WALKING, "", T0 + 63 * MS)
    named = rules.worker_died(dead, "SIGKILL", T0 + 70 * MS)
    for state in (late, dead, named):
        assert stands(state, T0 + 363 * MS - 1)
        assert not stands(state, T0 + 363 * MS)


@pytest.mark.parametrize("reason", sorted(LIMP_REASONS))
def test_who_asks_for_damping_gets_it_at_once(reason: Reason) -> None:
    assert not stands(rules.damp(WALKING, reason, "stop", T0), T0)
    state = rules.damp(WALKING, Reason.WORKER_DIED, "gone", T0)
    asked = rules.damp(state, reason, "stop", T0 + 100 * MS)
    assert stands(state, T0 + 100 * MS)
    assert not stands(asked, T0 + 100 * MS)
    assert asked == replace(state, limp_by=reason)
    for later in FAULTS:
        assert rules.damp(asked, later, "again", T0 + 101 * MS) == asked


@pytest.mark.parametrize("reason", FAULTS)
def test_without_a_command_nobody_stands(reason: Reason) -> None:
    for state in (GuardState(), STARTING, rules.release(WALKING, T0)):
        assert not stands(rules.damp(state, reason, "why", T0 + MS), T0 + MS)


def test_a_new_session_owes_nothing_to_the_last_one() -> None:
    again = rules.activate(6, 6, T0)
    assert not stands(rules.damp(again, Reason.WORKER_DIED, "", T0 + MS), T0 + MS)


def test_a_frozen_guard_does_not_make_a_robot_jump() -> None:
    woken_ns = T0 + 10_000 * MS
    view = WorkerView(woken_ns, 0, 0, T0, 5, None, None)
    state = rules.tick(WALKING, view, LIMITS, woken_ns)
    assert state.mode is Mode.DAMPING
    assert not stands(state, woken_ns)


def test_by_default_nobody_stands() -> None:
    state = rules.damp(WALKING, Reason.WORKER_DIED, "", T0)
    assert not rules.stands(state, GuardLimits(60 * MS, 500 * MS), T0)


@given(st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 200 * MS)), min_size=1, max_size=8))
def test_once_over_it_is_over(asked: list[tuple[Reason, int]]) -> None:
    """Whatever is asked for later, and how often."""
    state, now_ns, stood, first_ns = WALKING, T0, True, T0 + asked[0][1]
    for reason, after_ns in asked:
        now_ns += after_ns
        state = rules.damp(state, reason, "", now_ns)
        assert state.since_ns == first_ns
        stands_now = stands(state, now_ns)
        assert stood or not stands_now
        assert not stands_now or now_ns - first_ns < LIMITS.stance_ns
        stood = stands_now
