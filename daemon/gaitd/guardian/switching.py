"""When a session may go on with another policy, and how it does. Pure: views and the clock come in.

A change is no failover: it happens only from a worker that answers to one that has an answer. Where the new
one fails before its first command, the one before, whose last command is in force, goes on. The deadline goes
on from the last command as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gaitd.guardian import failover, rules
from gaitd.guardian.failover import FRESH
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.wire.generated import Mode


def obstacle(
    state: GuardState,
    holder: WorkerView,
    successor: WorkerView | None,
    limits: GuardLimits,
    now_ns: int,
    joints: Sequence[str],
) -> str:
    """What stands against going on with ``successor`` (None: it is not ready), for people; empty: nothing.

    ``joints``: their names in the policy's order.
    """
    fed = rules.fed(state, holder, now_ns)
    recent_ns = limits.deadline_ns * FRESH
    if rules.trip_in(state, holder) is not None:
        return "a limit has just been exceeded"
    if not fed.fed_by_command or holder.last_command_epoch != state.epoch:
        return "the worker that has the session has sent no command yet"
    if now_ns - fed.fed_ns > recent_ns:
        return (
            f"no command for {(now_ns - fed.fed_ns) / 1e6:.0f} ms: the worker that has the session may fail"
        )
    if holder.fading:
        return "the change of policy before is still under way"
    if successor is None:
        return "its worker is not ready"
    fresh = 0 <= now_ns - successor.prepared_ns <= recent_ns
    if successor.prepared_epoch == state.epoch and fresh:
        return ""
    refusal = successor.refusal
    if refusal is not None and refusal.epoch == state.epoch and now_ns - refusal.at_ns <= recent_ns:
        return f"it could not go on from here: {refusal.text or refusal.cause.text(joints)}"
    return "its worker has no answer to the newest state"


def move(state: GuardState, holder: WorkerView, epoch: int, slot: int, now_ns: int) -> GuardState:
    """The session goes on with the worker in ``slot``. What ``holder`` sent feeds the timer, not this."""
    return replace(rules.fed(state, holder, now_ns), epoch=epoch, slot=slot, changed_from=state.slot)


def is_undoable(state: GuardState, holder: WorkerView, limits: GuardLimits, now_ns: int) -> bool:
    """Whether the worker before the newest change of policies may go on: ``holder`` has said nothing yet."""
    return (
        state.mode is Mode.ACTIVE
        and state.changed_from is not None
        and holder.last_command_epoch != state.epoch
        and rules.trip_in(state, holder) is None
        and not rules.is_overdue(state, holder, limits, now_ns)
    )


def is_silent(state: GuardState, before: WorkerView, limits: GuardLimits, now_ns: int) -> bool:
    """Whether one that lives and has said nothing yet is taken to fail: by the rule of a failover.

    ``before`` had the session, and follows it.
    """
    return before.prepared_epoch == state.epoch and failover.is_silent(state, before, limits, now_ns)


def undo(state: GuardState, epoch: int) -> GuardState:
    """The worker before goes on. Nothing feeds the timer."""
    assert state.changed_from is not None
    return replace(state, epoch=epoch, slot=state.changed_from, changed_from=None)
