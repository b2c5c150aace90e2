"""When the lease moves from the worker to the standby within a session. Pure: events and the clock come in.

Only for what is the worker's own: its death, silence although states come, errors of its inference. Never
for a limit, bad states or a person. The deadline goes on from the last command as if nothing had happened.
The lease moves once in a session: after that the deadline decides alone.
"""

from __future__ import annotations

from dataclasses import replace

from gaitd.guardian import rules
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.shared.findings import Finding
from gaitd.shared.guard_memory import FailoverKind
from gaitd.shared.processes import POLICY_SLOTS, STANDBY_SLOT, WORKER_SLOT
from gaitd.wire.causes import INFERENCE_FAILED
from gaitd.wire.generated import Mode

ERRORS = 2
"""Failed inferences in a row."""
STILL = 3 / 10
"""Of the deadline: a worker that has not moved for so long does not wait for states."""
FRESH = 1 / 2
"""Of the deadline: the standby's answer must be to a state no older."""


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
        and not _is_refused(state, worker, now_ns)
        and standby.prepared_epoch == state.epoch
        and 0 <= now_ns - standby.prepared_ns <= limits.deadline_ns * FRESH
    )


def wanted(
    state: GuardState, worker: WorkerView, standby: WorkerView, limits: GuardLimits, now_ns: int
) -> tuple[FailoverKind, str] | None:
    """Why a living worker should lose the lease, for programs and for people; None while it should not.

    Its inference failed twice in a row, or it is silent.
    """
    state = rules.fed(state, worker, now_ns)
    waits_ns = waiting_ns(state, standby, now_ns)
    if waits_ns is None:
        return None
    overdue = is_silent(state, standby, limits, now_ns)
    silence = f"no command for {(now_ns - state.fed_ns) / 1e6:.0f} ms"
    refusal = _failed_inference(state, worker, now_ns)
    if refusal is not None and (overdue or worker.errors_in_a_row >= ERRORS):
        return FailoverKind.ERRORS, f"{silence}: {refusal.text or refusal.cause.reason.name.lower()}"
    if overdue:
        why = _silence_of(worker, silence, limits, now_ns)
        return FailoverKind.SILENT, f"{why}; a state has waited for {waits_ns / 1e6:.0f} ms"
    return None


def is_silent(state: GuardState, other: WorkerView, limits: GuardLimits, now_ns: int) -> bool:
    """Whether a living worker that has the session is taken to hang, and ``other`` could go on.

    A state has waited for longer than is left until the deadline. ``state``: fed with its newest command.
    """
    waits_ns = waiting_ns(state, other, now_ns)
    return waits_ns is not None and waits_ns > limits.deadline_ns - (now_ns - state.fed_ns)


def waiting_ns(state: GuardState, other: WorkerView, now_ns: int) -> int | None:
    """For how long a state has waited for the worker that has the session, at most since its last command;
    None: none waits.

    A state: where none comes the controller pauses, which is none of the worker's. Only one to which
    ``other`` has an answer: where states are bad, so they are for both. And not before the first command of
    a session.
    """
    if not state.fed_by_command or not other.unanswered_ns or other.prepared_ns <= state.fed_ns:
        return None
    return now_ns - max(state.fed_ns, other.unanswered_ns)


def _is_refused(state: GuardState, worker: WorkerView, now_ns: int) -> bool:
    """Whether the session has not begun to walk, and the worker has refused a state of it.

    A standby, which may join a session anywhere, does not judge where the joints are when it begins.
    """
    refusal = worker.refusal
    return (
        not rules.fed(state, worker, now_ns).fed_by_command
        and refusal is not None
        and refusal.epoch == state.epoch
        and refusal.cause.reason not in INFERENCE_FAILED
    )


def _failed_inference(state: GuardState, worker: WorkerView, now_ns: int) -> Finding | None:
    """Of the newest state that was not answered."""
    refusal = worker.refusal
    if refusal is None or refusal.epoch != state.epoch or not state.fed_ns < refusal.at_ns <= now_ns:
        return None
    return refusal if refusal.cause.reason in INFERENCE_FAILED else None


def _silence_of(worker: WorkerView, silence: str, limits: GuardLimits, now_ns: int) -> str:
    """The silence and what the worker does meanwhile, where that is known."""
    busy_ns, still_ns = now_ns - worker.busy_since_ns, now_ns - worker.heartbeat_ns
    if worker.busy_since_ns:
        return f"{silence}: inference has been running for {busy_ns / 1e6:.0f} ms"
    if still_ns > limits.deadline_ns * STILL:
        return f"{silence}: the worker has not moved for {still_ns / 1e6:.0f} ms"
    return silence


def slot_of(state: GuardState, policy: int) -> int:
    """Of the worker that runs a policy in this session, by the policy's index.

    Once the standby has taken over, the first policy's is the standby: a fresh worker gets the next session.
    """
    has_moved = state.mode is Mode.ACTIVE and state.moved_ns
    return STANDBY_SLOT if policy == 0 and has_moved else POLICY_SLOTS[policy]


def explain(state: GuardState, slot: int, how: str) -> GuardState:
    """How the worker in ``slot`` died is heard a little later than that it died."""
    if slot == WORKER_SLOT and state.moved_ns and not state.moved_why:
        return replace(state, moved_why=how)
    return state


def move(state: GuardState, worker: WorkerView, epoch: int, slot: int, why: str, now_ns: int) -> GuardState:
    """The session goes on with the worker in ``slot``. What ``worker`` sent feeds the timer, not this."""
    return replace(rules.fed(state, worker, now_ns), epoch=epoch, slot=slot, moved_ns=now_ns, moved_why=why)
