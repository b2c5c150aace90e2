"""When a session may go on with another policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaitd.guardian import failover, rules, switching
from gaitd.guardian.rules import GuardState, WorkerView
from gaitd.shared.findings import Finding
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind, Mode
from support.guard_views import EPOCH, LIMITS, NOW, PERIOD, view, walking

JOINTS = ["hip", "thigh", "knee"]


PREPARED = view(0, last_command_epoch=0, prepared_ns=NOW, prepared_epoch=EPOCH)


def refused(kind: CauseKind, at_ns: int, epoch: int = EPOCH) -> Finding:
    return Finding(at_ns, epoch, Cause(kind, 0, 0.7, 0.6))


def obstacle(state: GuardState, holder: WorkerView, successor: WorkerView | None) -> str:
    return switching.obstacle(state, holder, successor, LIMITS, NOW, JOINTS)


def test_nothing_stands_against_a_worker_with_an_answer() -> None:
    assert obstacle(walking(), view(NOW), PREPARED) == ""


@pytest.mark.parametrize(
    ("holder", "successor", "why"),
    [
        (
            view(NOW, trip=refused(CauseKind.POSITION_LIMIT, NOW)),
            PREPARED,
            "a limit has just been exceeded",
        ),
        (view(NOW, last_command_epoch=EPOCH - 1), PREPARED, "has sent no command yet"),
        (view(NOW, fading=True), PREPARED, "still under way"),
        (view(NOW), None, "not ready"),
        (view(NOW), replace(PREPARED, prepared_epoch=EPOCH - 1), "no answer to the newest state"),
        (
            view(NOW),
            replace(PREPARED, prepared_ns=NOW - 5 * PERIOD // 2 - 1),
            "no answer to the newest state",
        ),
        (view(NOW), replace(PREPARED, prepared_ns=NOW + 1), "no answer to the newest state"),
        (
            view(NOW),
            replace(PREPARED, prepared_ns=0, refusal=refused(CauseKind.POSITION_LIMIT, NOW)),
            "it could not go on from here: a target exceeds the position limit: hip to 0.7 rad",
        ),
        (
            view(NOW),
            replace(PREPARED, prepared_ns=0, refusal=refused(CauseKind.TILT, NOW, EPOCH - 1)),
            "no answer to the newest state",
        ),
    ],
)
def test_what_stands_against_it(holder: WorkerView, successor: WorkerView | None, why: str) -> None:
    assert why in obstacle(walking(), holder, successor)


def test_a_silent_worker_is_no_reason_to_change_the_policy() -> None:
    last_ns = NOW - 5 * PERIOD // 2
    assert obstacle(walking(last_ns), view(last_ns), PREPARED) == ""
    assert "no command for 30 ms" in obstacle(walking(last_ns - 1), view(last_ns - 1), PREPARED)


@pytest.mark.parametrize("pause", range(5))
def test_the_new_worker_is_taken_to_hang_by_the_rule_of_a_failover(pause: int) -> None:
    """Counted from the state that waits: a pause of the controller is none of the worker's."""
    came_ns = NOW + pause * PERIOD
    changed = replace(walking(), epoch=EPOCH + 1, changed_from=0)
    for now_ns in range(came_ns, NOW + 5 * PERIOD, PERIOD // 8):
        follows = view(prepared_ns=max(now_ns, NOW + 1), prepared_epoch=EPOCH + 1, unanswered_ns=came_ns)
        hangs = failover.wanted(walking(), view(), follows, LIMITS, now_ns) is not None
        assert switching.is_silent(changed, follows, LIMITS, now_ns) is hangs
        assert hangs is (2 * now_ns > NOW + came_ns + 5 * PERIOD)
        other_session = replace(follows, prepared_epoch=EPOCH)
        assert not switching.is_silent(changed, other_session, LIMITS, now_ns)


def test_before_the_first_command_there_is_nothing_to_go_on_from() -> None:
    state = replace(walking(), fed_by_command=False)
    assert "no command yet" in obstacle(state, view(0, last_command_epoch=0), PREPARED)


def test_the_deadline_goes_on_from_the_last_command_of_the_one_before() -> None:
    last_ns = NOW - 2 * PERIOD
    moved = switching.move(walking(NOW - 3 * PERIOD), view(last_ns), EPOCH + 1, 2, NOW)
    assert (moved.mode, moved.session, moved.epoch, moved.slot) == (Mode.ACTIVE, 7, EPOCH + 1, 2)
    assert (moved.fed_ns, moved.moved_ns) == (last_ns, 0)
    late_ns = last_ns + 5 * PERIOD + 1
    # What the one before still writes feeds nothing.
    for silent in (view(0), view(late_ns)):
        assert rules.tick(moved, silent, LIMITS, late_ns).mode is Mode.DAMPING
    own = view(NOW + PERIOD, last_command_epoch=EPOCH + 1)
    assert rules.tick(moved, own, LIMITS, late_ns).mode is Mode.ACTIVE
