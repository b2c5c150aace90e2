"""What people read of the standby is what it could do, and does not flicker."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from gaitd.guardian import failover, rules
from gaitd.guardian.readiness import STEADY_NS, StandbyReadiness
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.shared.processes import STANDBY_SLOT

PERIOD = 12_000_000
LIMITS = GuardLimits(5 * PERIOD, 500_000_000)
EPOCH = 107
BEGIN = 10**12
IDLE = WorkerView(0, 0, 0, 0, 0, None, None)


class Walk:
    """A session step by step, as the guardian looks at it."""

    def __init__(self) -> None:
        self.readiness = StandbyReadiness(LIMITS)
        self.state = rules.activate(7, EPOCH, BEGIN)
        self.now_ns, self.prepared = BEGIN, IDLE
        assert self.readiness.look(GuardState(), IDLE, IDLE, process_ready=True, now_ns=BEGIN)

    def walk(
        self, seconds: float, *, keeps_up: bool = True, states: bool = True, process: bool = True
    ) -> list[bool]:
        found = []
        for _ in range(round(seconds * 1e9) // PERIOD):
            self.now_ns += PERIOD
            newest_ns = self.now_ns if states else 0
            if states and keeps_up:
                self.prepared = replace(IDLE, prepared_ns=self.now_ns, prepared_epoch=self.state.epoch)
            worker = replace(IDLE, last_state_ns=newest_ns)
            found.append(
                self.readiness.look(
                    self.state, worker, self.prepared, process_ready=process, now_ns=self.now_ns
                )
            )
        return found


def test_a_standby_that_keeps_up_is_ready() -> None:
    assert all(Walk().walk(2.0))


def test_one_that_never_answered_a_state_of_the_session_is_not() -> None:
    found = Walk().walk(1.0, keeps_up=False)
    assert found[0]
    assert not found[-1]
    assert STEADY_NS / PERIOD <= found.index(False) <= STEADY_NS / PERIOD + 2


def test_a_short_stall_is_not_told_and_a_long_one_once() -> None:
    walk = Walk()
    walk.walk(1.0)
    assert all(walk.walk(0.25, keeps_up=False) + walk.walk(0.1))
    found = walk.walk(2.0, keeps_up=False) + walk.walk(2.0)
    changes = [after for before, after in itertools.pairwise(found) if after is not before]
    assert changes == [False, True]


def test_where_no_states_come_nobody_is_behind() -> None:
    walk = Walk()
    assert all(walk.walk(2.0, states=False))


def test_a_fresh_process_has_to_show_it_first() -> None:
    walk = Walk()
    walk.walk(1.0)
    assert not any(walk.walk(1.0, keeps_up=False, process=False))
    assert not any(walk.walk(1.0, keeps_up=False))
    assert walk.walk(1.0)[-1]


@pytest.mark.parametrize("state", [GuardState(), replace(rules.activate(7, EPOCH, BEGIN), slot=STANDBY_SLOT)])
def test_out_of_a_session_of_the_workers_its_process_counts(state: GuardState) -> None:
    walk = Walk()
    walk.state = state
    assert all(walk.walk(1.0, keeps_up=False))
    assert not any(walk.walk(1.0, process=False))


def test_who_is_told_to_be_ready_could_take_over() -> None:
    walk = Walk()
    assert walk.walk(1.0)[-1]
    state = replace(walk.state, fed_ns=walk.now_ns, fed_by_command=True)
    assert failover.is_possible(state, IDLE, walk.prepared, LIMITS, walk.now_ns)
