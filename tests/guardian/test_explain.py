"""When the controller's timer runs out first, gaitd names the cause; stamps from the future feed nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaitd.guardian import rules
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.wire.generated import CauseKind, Mode, Reason
from support.findings import found

MS = 1_000_000
LIMITS = GuardLimits(deadline_ns=60 * MS, first_command_ns=500 * MS)
T0 = 10_000 * MS
EXPIRED = T0 + 59 * MS
"""The client counts from the state's stamp: about a millisecond before our own timer."""

WALKING = GuardState(Mode.ACTIVE, session=5, epoch=5, since_ns=T0 - 5000 * MS, fed_ns=T0, fed_by_command=True)
IDLE_WORKER = WorkerView(EXPIRED - MS, 0, 0, T0, 5, None, None)


def told(before: GuardState, view: WorkerView, now_ns: int = EXPIRED) -> GuardState:
    """What stands after the client said that its deadline passed."""
    damped = rules.damp(before, Reason.CLIENT_DEADLINE, "no valid command in time", now_ns)
    return rules.explain(before, damped, view, LIMITS, now_ns)


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (replace(IDLE_WORKER, heartbeat_ns=T0), Reason.DEADLINE),
        (replace(IDLE_WORKER, busy_since_ns=T0 + 12 * MS), Reason.DEADLINE),
        (replace(IDLE_WORKER, last_state_ns=T0 + 50 * MS), Reason.DEADLINE),
        (
            replace(IDLE_WORKER, refusal=found(T0 + 50 * MS, CauseKind.ACTION_NOT_FINITE)),
            Reason.ACTION_INVALID,
        ),
        (replace(IDLE_WORKER, refusal=found(EXPIRED + MS, CauseKind.ORIENTATION_NORM)), Reason.STATE_INVALID),
        (replace(IDLE_WORKER, refusal=found(EXPIRED + 3600 * 1000 * MS, CauseKind.OLD)), Reason.STATE_LOST),
        (IDLE_WORKER, Reason.STATE_LOST),
    ],
)
def test_the_cause_is_named_when_gaitd_was_silent_too(view: WorkerView, reason: Reason) -> None:
    state = told(WALKING, view)
    assert (state.mode, state.reason, state.session) == (Mode.DAMPING, reason, 5)
    assert "no command for 59 ms" in state.detail


def test_an_inference_that_took_up_the_silence_is_named_however_short_that_is() -> None:
    """It began with the next state, right after the last command."""
    now_ns = T0 + 31 * MS
    view = replace(IDLE_WORKER, heartbeat_ns=T0 + 2 * MS, busy_since_ns=T0 + 2 * MS)
    assert told(WALKING, view, now_ns).reason is Reason.DEADLINE
    assert told(WALKING, replace(view, busy_since_ns=now_ns - MS), now_ns).reason is Reason.STATE_LOST


def test_an_inference_behind_a_rehearsal_that_took_as_long_is_named() -> None:
    """Of a model of 24 ms: it began 11 ms after the last command, and the next state waited for it."""
    view = replace(IDLE_WORKER, heartbeat_ns=T0 + 35 * MS, busy_since_ns=T0 + 35 * MS)
    assert told(WALKING, view).reason is Reason.DEADLINE
    assert "inference has been running for 24 ms" in told(WALKING, view).detail
    assert told(WALKING, replace(view, busy_since_ns=EXPIRED - 10 * MS)).reason is Reason.STATE_LOST


def test_commands_that_did_go_out_leave_the_clients_word() -> None:
    state = told(WALKING, replace(IDLE_WORKER, last_command_ns=EXPIRED - 5 * MS))
    assert (state.reason, state.detail) == (Reason.CLIENT_DEADLINE, "no valid command in time")


def test_before_the_first_command_the_longer_limit_counts() -> None:
    fresh = rules.activate(5, 5, T0)
    late = replace(IDLE_WORKER, last_command_ns=0, heartbeat_ns=T0 + 498 * MS)
    assert told(fresh, late, T0 + 499 * MS).reason is Reason.STATE_LOST
    assert told(fresh, late, T0 + 100 * MS).reason is Reason.CLIENT_DEADLINE


def test_a_damping_that_stood_before_keeps_its_reason() -> None:
    stood = rules.damp(WALKING, Reason.OPERATOR, "stop", T0)
    assert told(stood, IDLE_WORKER) == stood


def test_a_command_from_the_future_does_not_hold_the_timer_off() -> None:
    view = replace(IDLE_WORKER, last_command_ns=T0 + 3600 * 1000 * MS)
    late = rules.tick(WALKING, view, LIMITS, T0 + 61 * MS)
    assert late.mode is Mode.DAMPING
