"""When the lease moves to the standby within a session, and when it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaitd.guardian import failover, rules
from gaitd.guardian.rules import GuardState, WorkerView
from gaitd.shared.findings import Finding
from gaitd.shared.guard_memory import FailoverKind
from gaitd.shared.processes import STANDBY_SLOT, WORKER_SLOT
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind, Mode, Reason
from support.guard_views import EPOCH, LIMITS, MS, NOW, PERIOD, view, walking


def standby(prepared_ns: int = NOW, epoch: int = EPOCH, unanswered_ns: int = 0) -> WorkerView:
    return view(prepared_ns=prepared_ns, prepared_epoch=epoch, unanswered_ns=unanswered_ns)


def refused(kind: CauseKind, at_ns: int) -> Finding:
    return Finding(at_ns, EPOCH, Cause(kind))


def test_it_is_possible_with_an_answer_to_a_fresh_state() -> None:
    assert failover.is_possible(walking(), view(), standby(), LIMITS, NOW)


@pytest.mark.parametrize(
    ("state", "worker", "second"),
    [
        (rules.damp(walking(), Reason.OPERATOR, "", NOW), view(), standby()),
        (GuardState(), view(), standby()),
        (replace(walking(), slot=STANDBY_SLOT), view(), standby()),
        (walking(), view(trip=refused(CauseKind.POSITION_LIMIT, NOW)), standby()),
        (walking(NOW - 5 * PERIOD - 1), view(), standby()),
        (walking(), view(), standby(epoch=EPOCH - 1)),
        (walking(), view(), standby(NOW - 5 * PERIOD // 2 - 1)),
        (walking(), view(), standby(NOW + 1)),
    ],
    ids=["damped", "idle", "it has moved", "limit", "too late", "other session", "old state", "future"],
)
def test_it_is_not_possible(state: GuardState, worker: WorkerView, second: WorkerView) -> None:
    assert not failover.is_possible(state, worker, second, LIMITS, NOW)


@pytest.mark.parametrize(
    ("kind", "possible"),
    [(CauseKind.START_POSTURE, False), (CauseKind.SEQUENCE, False), (CauseKind.BACKEND_ERROR, True)],
)
def test_states_with_which_no_session_begins_are_bad_for_the_standby_too(
    kind: CauseKind, possible: bool
) -> None:
    """It joins sessions anywhere, so it does not look at where the joints are at first."""
    begun, refusal = rules.activate(7, EPOCH, NOW - 2 * PERIOD), refused(kind, NOW - PERIOD)
    assert failover.is_possible(begun, view(), standby(), LIMITS, NOW)
    assert failover.is_possible(begun, view(refusal=refusal), standby(), LIMITS, NOW) == possible
    walks = view(NOW - PERIOD, refusal=refusal)
    assert failover.is_possible(begun, walks, standby(), LIMITS, NOW), (
        "bad ones among good ones are no matter"
    )


def test_the_deadline_goes_on_from_the_last_command_of_the_one_before() -> None:
    before = walking(NOW - 3 * PERIOD)
    last_ns = NOW - 2 * PERIOD
    moved = failover.move(before, view(last_ns), EPOCH + 1, STANDBY_SLOT, "it died", NOW)
    assert (moved.mode, moved.session, moved.epoch, moved.slot) == (Mode.ACTIVE, 7, EPOCH + 1, STANDBY_SLOT)
    assert moved.fed_ns == last_ns
    late_ns = last_ns + 5 * PERIOD + 1
    # What the one before still writes feeds nothing.
    for silent in (view(), view(late_ns)):
        assert rules.tick(moved, silent, LIMITS, late_ns).mode is Mode.DAMPING
    own = view(NOW + PERIOD, last_command_epoch=EPOCH + 1)
    assert rules.tick(moved, own, LIMITS, late_ns).mode is Mode.ACTIVE


@pytest.mark.parametrize(
    ("pause", "after"), [(0, 2.5), (1, 2.0), (2, 1.5), (3, 1.0), (4, 0.5)], ids=lambda value: f"{value} T"
)
def test_silence_is_a_state_that_has_waited_for_longer_than_is_left(pause: int, after: float) -> None:
    """After a pause of the controller, too, the worker has time, and the standby has as much."""
    came_ns = NOW + pause * PERIOD
    state, waiting = walking(), standby(came_ns, unanswered_ns=came_ns)
    now_ns = came_ns + round(after * PERIOD)
    assert failover.wanted(state, view(), replace(waiting, prepared_ns=now_ns), LIMITS, now_ns) is None
    now_ns += 1
    waiting = replace(waiting, prepared_ns=now_ns)
    kind, why = failover.wanted(state, view(), waiting, LIMITS, now_ns) or (None, "")
    assert kind is FailoverKind.SILENT
    assert f"a state has waited for {after * 12:.0f} ms" in why
    assert failover.is_possible(state, view(), waiting, LIMITS, now_ns)


def test_a_worker_that_answers_late_step_by_step_is_not_silent() -> None:
    """Two periods and a bit a step: states come meanwhile that it never answers."""
    state, now_ns = walking(NOW), NOW + 29 * MS
    waiting = standby(now_ns, unanswered_ns=NOW - 17 * MS)
    assert failover.wanted(state, view(), waiting, LIMITS, now_ns) is None
    assert failover.wanted(state, view(), waiting, LIMITS, now_ns + 2 * MS) is not None


def test_a_slow_controller_is_none_of_the_workers() -> None:
    """A third of the rate: three periods without a command, and then the worker takes its time."""
    state, now_ns = walking(), NOW + 3 * PERIOD + 9 * MS
    waiting = standby(NOW + 3 * PERIOD, unanswered_ns=NOW + 3 * PERIOD)
    assert failover.wanted(state, view(), waiting, LIMITS, now_ns) is None


@pytest.mark.parametrize(
    ("worker", "what"),
    [
        (view(busy_since_ns=NOW - 19_000_000), "inference has been running for 19 ms"),
        (view(heartbeat_ns=NOW - 29_000_000), "the worker has not moved for 29 ms"),
    ],
)
def test_silence_tells_what_the_worker_does(worker: WorkerView, what: str) -> None:
    state, waiting = walking(NOW - 3 * PERIOD), standby(unanswered_ns=NOW - 5 * PERIOD // 2)
    why = (FailoverKind.SILENT, f"no command for 36 ms: {what}; a state has waited for 30 ms")
    assert failover.wanted(state, worker, waiting, LIMITS, NOW) == why


def test_silence_without_states_is_none_of_the_workers() -> None:
    fed_ns = NOW - 4 * PERIOD
    for second in (standby(fed_ns, unanswered_ns=fed_ns), standby(NOW - 3 * PERIOD)):
        assert failover.wanted(walking(fed_ns), view(), second, LIMITS, NOW) is None


def test_a_command_ends_the_silence() -> None:
    state, waiting = walking(NOW - 4 * PERIOD), standby(unanswered_ns=NOW - 3 * PERIOD)
    assert failover.wanted(state, view(), waiting, LIMITS, NOW) is not None
    assert failover.wanted(state, view(NOW - PERIOD), waiting, LIMITS, NOW) is None


def test_nothing_is_wanted_before_the_first_command() -> None:
    state = replace(walking(NOW - 4 * PERIOD), fed_by_command=False)
    waiting = standby(unanswered_ns=NOW - 3 * PERIOD)
    assert failover.wanted(state, view(), waiting, LIMITS, NOW) is None


@pytest.mark.parametrize(
    "kind", [CauseKind.BACKEND_ERROR, CauseKind.ACTION_NOT_FINITE, CauseKind.ACTION_SHAPE]
)
def test_the_second_error_in_a_row(kind: CauseKind) -> None:
    state, waiting = walking(NOW - PERIOD), standby(unanswered_ns=NOW - PERIOD)
    for errors, expected in ((1, None), (2, FailoverKind.ERRORS)):
        worker = view(refusal=refused(kind, NOW), errors_in_a_row=errors)
        found = failover.wanted(state, worker, waiting, LIMITS, NOW)
        assert (found and found[0]) is expected


def test_one_error_after_a_pause_is_one() -> None:
    """The next state may still be answered; where it comes too late for that, silence decides."""
    state, error = walking(NOW - 3 * PERIOD), refused(CauseKind.BACKEND_ERROR, NOW)
    worker, waiting = view(refusal=error, errors_in_a_row=1), standby(unanswered_ns=NOW)
    assert failover.wanted(state, worker, waiting, LIMITS, NOW) is None
    later_ns = NOW + PERIOD + 1
    found = failover.wanted(state, worker, replace(waiting, prepared_ns=later_ns), LIMITS, later_ns)
    assert found is not None
    assert found[0] is FailoverKind.ERRORS


def test_a_bad_state_is_no_error_of_the_worker() -> None:
    state = walking(NOW - 2 * PERIOD - 1)
    bad = refused(CauseKind.NOT_FINITE, NOW)
    worker = view(refusal=bad, errors_in_a_row=failover.ERRORS)
    assert failover.wanted(state, worker, standby(unanswered_ns=NOW - PERIOD), LIMITS, NOW) is None


def test_how_it_died_is_told_later() -> None:
    moved = failover.move(walking(), view(), EPOCH + 1, STANDBY_SLOT, "", NOW)
    how = "worker killed by SIGSEGV"
    assert failover.explain(moved, STANDBY_SLOT, how) == moved
    told = failover.explain(moved, WORKER_SLOT, how)
    assert told.moved_why == how
    assert failover.explain(told, WORKER_SLOT, "worker killed by SIGKILL") == told
    assert failover.explain(walking(), WORKER_SLOT, how).moved_why == ""
