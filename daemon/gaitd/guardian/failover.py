"""When the lease moves from the worker to the standby within a session. Pure: events and the clock come in.

Only for what is the worker's own: its death, silence although states come, errors of its inference. Never
for a limit, bad states or a person. The deadline goes on from the last command as if nothing had happened.
The lease moves once in a session: after that the deadline decides alone.
"""

from __future__ import annotations

from dataclasses import replace

from gaitd.guardian import rules
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.shared.guard_memory import FailoverKind
from gaitd.shared.processes import WORKER_SLOT
from gaitd.wire.generated import Mode, Reason

SILENCE = 1 / 2
"""Of the deadline: without a command for so long, while states come, the worker is taken to hang."""
ERRORS = 3 / 10
"""Of the deadline: the worker's inference still fails so long after its last command."""
FRESH = 1 / 2
"""Of the deadline: the standby's answer must be to a state no older."""
WORKERS_OWN = (Reason.BACKEND_ERROR, Reason.ACTION_INVALID)
"""What a refusal must be for ERRORS."""


def is_possible(
    state: GuardState, worker: WorkerView, standby: WorkerView, limits: GuardLimits, now_ns: int
) -> bool:
    """Whether the standby may go on with the session that ``worker`` holds."""
    return (
        state.mode is Mode.ACTIVE
        and state.slot == WORKER_SLOT
        and not state.moved_ns
        and rules.trip_in(state, worker) is None
        and not rules.is_overdue(state, worker, limits, now_ns)
        and standby.prepared_epoch == state.epoch
        and 0 <= now_ns - standby.prepared_ns <= limits.deadline_ns * FRESH
    )


def wanted(
    state: GuardState, worker: WorkerView, standby: WorkerView, limits: GuardLimits, now_ns: int
) -> tuple[FailoverKind, str] | None:
    """Why a living worker should lose the lease, for programs and for people; None while it should not.

    Not before the first command of a session, and not before the standby has answered a state that came after
    the last one: where states are lost or bad, so they are for the standby.
    """
    state = rules.fed(state, worker, now_ns)
    if not state.fed_by_command or standby.prepared_ns <= state.fed_ns:
        return None
    silence_ns = now_ns - state.fed_ns
    silence = f"no command for {silence_ns / 1e6:.0f} ms"
    refusal = worker.refusal
    if (
        refusal is not None
        and refusal.epoch == state.epoch
        and state.fed_ns + limits.deadline_ns * ERRORS < refusal.at_ns <= now_ns
        and refusal.cause.reason in WORKERS_OWN
    ):
        return FailoverKind.ERRORS, f"{silence}: {refusal.text or refusal.cause.reason.name.lower()}"
    if silence_ns > limits.deadline_ns * SILENCE:
        return FailoverKind.SILENT, _silence_of(worker, silence, limits, now_ns)
    return None


def _silence_of(worker: WorkerView, silence: str, limits: GuardLimits, now_ns: int) -> str:
    """The silence and what the worker does meanwhile, where that is known."""
    busy_ns, still_ns = now_ns - worker.busy_since_ns, now_ns - worker.heartbeat_ns
    if worker.busy_since_ns:
        return f"{silence}: inference has been running for {busy_ns / 1e6:.0f} ms"
    if still_ns > limits.deadline_ns * ERRORS:
        return f"{silence}: the worker has not moved for {still_ns / 1e6:.0f} ms"
    return silence


def explain(state: GuardState, slot: int, how: str) -> GuardState:
    """How the worker in ``slot`` died is heard a little later than that it died."""
    if slot == WORKER_SLOT and state.moved_ns and not state.moved_why:
        return replace(state, moved_why=how)
    return state


def move(state: GuardState, worker: WorkerView, epoch: int, slot: int, why: str, now_ns: int) -> GuardState:
    """The session goes on with the worker in ``slot``. What ``worker`` sent feeds the timer, not this."""
    return replace(rules.fed(state, worker, now_ns), epoch=epoch, slot=slot, moved_ns=now_ns, moved_why=why)
