"""The guardian's logic: who may move the joints, and why not. Pure: events and the clock come in.

IDLE -> ACTIVE by activate; ACTIVE -> DAMPING by any fault; DAMPING is latched and left only by activate or
release. One timer: ``deadline_ns`` without a fresh valid command. DAMPING may begin with a stance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gaitd.shared.findings import Finding
from gaitd.shared.processes import WORKER_SLOT
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.generated import LIMP_REASONS, Mode, Reason

TICKS_PER_PERIOD = 2
"""The guardian looks this often in a control period while commands come: a limit that the worker met, and a
request, wait for half a period at most."""
LATE_TICKS_PER_PERIOD = 4
"""From when a command is late: each time limit then comes a quarter period later at most."""
LATE_PERIODS = 1.25
"""A command is late so long after the one before: more than one of the slower ticks before any limit."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """The guardian's only times."""

    deadline_ns: int
    """Without a command for this long, an ACTIVE session goes to DAMPING."""
    first_command_ns: int
    """The same, before the first command of a session: nothing moves yet, so it may be longer."""
    stance_ns: int = 0
    """How long DAMPING after a walk begins with the default stance."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What the worker last wrote of itself; CLOCK_MONOTONIC ns, 0 for never."""

    heartbeat_ns: int
    busy_since_ns: int
    """When the inference under way began; 0 when there is none."""
    last_state_ns: int
    """When the last state of the session was admitted."""
    last_command_ns: int
    last_command_epoch: int
    refusal: Finding | None
    """The newest state refused or action rejected."""
    trip: Finding | None
    """The newest limit met whose response is to damp."""
    prepared_ns: int = 0
    """Of a standby: when the newest state came to which it has an answer ready."""
    prepared_epoch: int = 0
    """The epoch that it follows."""
    unanswered_ns: int = 0
    """Of a standby: when the oldest state came that it could answer and the holder did not; 0: none."""
    errors_in_a_row: int = 0
    """Its inference failed for so many states since its last command."""
    fading: bool = False
    """Its newest command is part of a change of policies."""


@dataclass(frozen=True, slots=True)
class GuardState:
    """Mode and reason, and since when."""

    mode: Mode = Mode.IDLE
    reason: Reason = Reason.NONE
    detail: str = ""
    """For people: what exactly happened."""
    cause: Cause = NO_CAUSE
    """What was refused, where that is behind the damping; joints in the policy's order."""
    session: int = 0
    epoch: int = 0
    """Stands for this session and its holder; commands of another one feed nothing."""
    slot: int = WORKER_SLOT
    """Of the worker that holds the session."""
    changed_from: int | None = None
    """The slot from which the newest change of policies came; None: there was none, or it was undone."""
    moved_ns: int = 0
    """When the standby took over; 0: it did not."""
    moved_why: str = ""
    """For people."""
    since_ns: int = 0
    fed_ns: int = 0
    """The last moment that counted as alive: the newest command, or the activate."""
    fed_by_command: bool = False
    limp_by: Reason = Reason.NONE
    """The first of LIMP_REASONS for which DAMPING was asked; it may come after ``reason``."""

    def explanation(self, joints: Sequence[str]) -> str:
        """What exactly happened, for people: the detail, and the cause with its joint and numbers."""
        cause = "" if self.cause is NO_CAUSE else self.cause.text(joints)
        return "; ".join(part for part in (self.detail, cause) if part)


def activate(session: int, epoch: int, now_ns: int, slot: int = WORKER_SLOT) -> GuardState:
    """A new session: whatever was before is over."""
    begun = GuardState(mode=Mode.ACTIVE, session=session, epoch=epoch, since_ns=now_ns, fed_ns=now_ns)
    return replace(begun, slot=slot)


def release(state: GuardState, now_ns: int) -> GuardState:
    """The controller takes over by itself."""
    return GuardState(mode=Mode.IDLE, epoch=state.epoch, since_ns=now_ns)


def damp(state: GuardState, reason: Reason, detail: str, now_ns: int, cause: Cause = NO_CAUSE) -> GuardState:
    """DAMPING for the session, from any mode. The first reason stays."""
    if reason in LIMP_REASONS and state.limp_by is Reason.NONE:
        state = replace(state, limp_by=reason)
    if state.mode is Mode.DAMPING:
        return state
    return replace(state, mode=Mode.DAMPING, reason=reason, detail=detail, cause=cause, since_ns=now_ns)


def stands(state: GuardState, limits: GuardLimits, now_ns: int) -> bool:
    """Whether DAMPING is still in its stance.

    Only after commands, and not long after: a robot that lies on the floor would jump. A guardian that was
    itself frozen finds a longer silence than its timer allows.
    """
    return (
        state.mode is Mode.DAMPING
        and state.limp_by is Reason.NONE
        and state.fed_by_command
        and state.since_ns - state.fed_ns <= 2 * limits.deadline_ns
        and now_ns - state.since_ns < limits.stance_ns
    )


def worker_died(state: GuardState, detail: str, now_ns: int) -> GuardState:
    """Heard of at once, by its lifeline; how it died is known a little later, by its pidfd."""
    if state.mode is Mode.DAMPING and state.reason is Reason.WORKER_DIED and not state.detail:
        return replace(state, detail=detail)
    if state.mode is not Mode.ACTIVE:
        return state
    return damp(state, Reason.WORKER_DIED, detail, now_ns)


def unheard(state: GuardState, silence_ns: int, limits: GuardLimits, now_ns: int) -> GuardState:
    """A guardian that has not heard itself for ``silence_ns`` stops what nobody could stop through it.

    The worker's commands end with the lease, so the controller's own timer runs out.
    """
    if state.mode is not Mode.ACTIVE or silence_ns <= limits.deadline_ns:
        return state
    why = f"nothing has got through the guardian's own sockets for {silence_ns / 1e6:.0f} ms"
    return damp(state, Reason.CLIENT_DEADLINE, why, now_ns)


def ended_undelivered(state: GuardState) -> bool:
    """Whether a session in DAMPING ended so that perhaps none of its commands reached the controller, or
    none of its states the worker: what a dead connection of the worker's does to each session."""
    if state.session == 0:
        return False  # somebody asked for damping while nobody walked
    return state.reason is Reason.CLIENT_DEADLINE or (
        state.reason is Reason.STATE_LOST and not state.fed_by_command
    )


def tick(state: GuardState, view: WorkerView, limits: GuardLimits, now_ns: int) -> GuardState:
    """Damp for a limit that the worker met, feed the timer with its commands, or let the timer run out."""
    if state.mode is not Mode.ACTIVE:
        return state
    trip = trip_in(state, view)
    if trip is not None:
        return damp(state, Reason.LIMIT, "", now_ns, trip.cause)
    state = fed(state, view, now_ns)
    if now_ns - state.fed_ns <= _limit_ns(state, limits):
        return state
    return _damp_for_silence(state, view, limits, now_ns)


def explain(
    before: GuardState, state: GuardState, view: WorkerView, limits: GuardLimits, now_ns: int
) -> GuardState:
    """Say what is behind a client's deadline that has just ended the session ``before``.

    The client counts from its state's stamp, so it is a little ahead of our own timer. When it was silent
    here too, the cause is ours to tell; CLIENT_DEADLINE stays when commands did go out, and so were lost or
    refused on their way.
    """
    if before.mode is not Mode.ACTIVE or state.reason is not Reason.CLIENT_DEADLINE:
        return state
    before = fed(before, view, now_ns)
    if now_ns - before.fed_ns <= _limit_ns(before, limits) // 2:
        return state
    return _damp_for_silence(before, view, limits, now_ns)


def tick_ns(state: GuardState, period_ns: int, now_ns: int) -> int:
    """After how long the guardian looks again; ``period_ns``: the control period."""
    late = state.mode is Mode.ACTIVE and now_ns - state.fed_ns > LATE_PERIODS * period_ns
    return period_ns // (LATE_TICKS_PER_PERIOD if late else TICKS_PER_PERIOD)


def trip_in(state: GuardState, view: WorkerView) -> Finding | None:
    """The limit that the worker met in this session, if its response is to damp."""
    return view.trip if view.trip is not None and view.trip.epoch == state.epoch else None


def is_overdue(state: GuardState, view: WorkerView, limits: GuardLimits, now_ns: int) -> bool:
    """The timer has run out."""
    state = fed(state, view, now_ns)
    return now_ns - state.fed_ns > _limit_ns(state, limits)


def fed(state: GuardState, view: WorkerView, now_ns: int) -> GuardState:
    """The newest command feeds the timer; not one from the future, which would hold it off until then."""
    if view.last_command_epoch == state.epoch and state.fed_ns < view.last_command_ns <= now_ns:
        return replace(state, fed_ns=view.last_command_ns, fed_by_command=True)
    return state


def _limit_ns(state: GuardState, limits: GuardLimits) -> int:
    return limits.deadline_ns if state.fed_by_command else limits.first_command_ns


def _lasting_refusal(state: GuardState, view: WorkerView, recent_ns: int, now_ns: int) -> Finding | None:
    """A refusal since the last command counts, unless good states went on to come long after it.

    Not just later: an action is refused after its state was taken, and the next state may be in hand. Nor is
    the newest one to be missed because it was written between ``now_ns`` and the look at the worker.
    """
    refusal = view.refusal
    if refusal is None or refusal.epoch != state.epoch:
        return None
    if not state.fed_ns < refusal.at_ns <= now_ns + recent_ns:
        return None
    return refusal if view.last_state_ns - refusal.at_ns < recent_ns else None


def _damp_for_silence(state: GuardState, view: WorkerView, limits: GuardLimits, now_ns: int) -> GuardState:
    silence_ns = now_ns - state.fed_ns
    silence = f"no command for {silence_ns / 1e6:.0f} ms"
    stuck_ns = limits.deadline_ns // 2
    refusal = _lasting_refusal(state, view, stuck_ns, now_ns)
    reason, cause = Reason.DEADLINE, NO_CAUSE
    busy_ns = now_ns - view.busy_since_ns if view.busy_since_ns else 0
    inference = f"inference has been running for {busy_ns / 1e6:.0f} ms"
    if busy_ns > min(stuck_ns, silence_ns // 2):
        why = inference
    elif now_ns - view.heartbeat_ns > stuck_ns:
        why = f"the worker has not moved for {(now_ns - view.heartbeat_ns) / 1e6:.0f} ms"
    elif refusal is not None:
        cause = refusal.cause
        reason = cause.reason if cause.reason is not Reason.NONE else Reason.BACKEND_ERROR
        why = refusal.text or "the worker refuses what it gets"
    elif view.last_state_ns > state.fed_ns:
        why = "states arrive, but no command comes of them"
    elif busy_ns > stuck_ns // 2:
        why = inference  # the first since the last command, behind a rehearsal that took as long
    else:
        reason, why = Reason.STATE_LOST, "no state of the session arrives"
    return damp(state, reason, f"{silence}: {why}", now_ns, cause)
