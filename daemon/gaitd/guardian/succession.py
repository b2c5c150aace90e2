"""Who has the session: the worker, its standby, another policy's worker. Does what the pure rules say.

When and how is decided in gaitd.guardian.failover and gaitd.guardian.switching; here the lease goes first,
then the worker that gets it is woken, then people and the flight recorder hear of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gaitd.guardian import announce, failover, rules, switching
from gaitd.guardian.rules import GuardLimits, GuardState
from gaitd.guardian.sessions import Sessions
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.guardian.workers import Workers
from gaitd.shared.guard_memory import FailoverKind, GuardMemory
from gaitd.shared.processes import STANDBY_SLOT, WORKER_SLOT
from gaitd.wire.generated import Mode

LAST_WORDS = 1 / 10
"""Of the deadline: so much later than the lease moved a worker that lives is killed. What it sent last may
not be out of its process yet, and its end, some 7 ms of a core at its priority, must not be in the way of its
successor."""


class Succession:
    """Moves the sessions of one guardian from worker to worker."""

    def __init__(
        self,
        sessions: Sessions,
        workers: Workers,
        guard: GuardMemory,
        limits: GuardLimits,
        blend_steps: int,
        apply: Callable[[int], None],
    ) -> None:
        """``apply``: makes the sessions' state true, the lease first."""
        self._sessions = sessions
        self._workers = workers
        self._worker = workers.by_slot[WORKER_SLOT]
        self._words, self._events = guard.words, guard.events
        self._limits = limits
        self._last_words_ns = round(limits.deadline_ns * LAST_WORDS)
        self._blend_steps = blend_steps
        self._apply = apply

    @property
    def holder(self) -> WorkerProcess:
        """The worker whose commands count, or would."""
        return self._workers.by_slot[self._sessions.state.slot]

    def hear_of_death(self, worker: WorkerProcess, how: str, now_ns: int) -> None:
        """A worker has died; ``how`` may be empty, and is then told once more."""
        sessions = self._sessions
        if worker is not self.holder:
            sessions.state = failover.explain(sessions.state, worker.slot, how)
            return
        if self._undo_switch("its worker died", now_ns):
            return
        if not self._fail_over(FailoverKind.DIED, how, now_ns):
            sessions.state = rules.worker_died(sessions.state, how, now_ns)
            self._apply(now_ns)

    def look(self, now_ns: int) -> bool:
        """Whether a worker that lives has just lost the session: it failed, and is given up.

        Before anything says damping: the timer is far from its end.
        """
        state, standby, worker = self._sessions.state, self._workers.standby, self._worker
        if self._undo_switch_if_silent(state, now_ns):
            return True
        if standby is None or state.mode is not Mode.ACTIVE or self.holder is not worker:
            return False
        why = failover.wanted(state, worker.view(), standby.view(), self._limits, now_ns)
        if why is None or not self._fail_over(*why, now_ns):
            return False
        worker.give_up(why[1], now_ns + self._last_words_ns)
        return True

    def note_switch(self, before: GuardState) -> None:
        """The session has just gone to another policy: its worker first, then people."""
        state, sessions = self._sessions.state, self._sessions
        self._workers.wake(state.slot)
        self._words["switches"] += 1
        announce.log_switch(state, *(sessions.title(each.slot) for each in (before, state)))
        self.tell_policy(state)

    def tell_policy(self, state: GuardState) -> None:
        """The flight recorder: from this epoch on the commands are of another policy than the one before."""
        setup, title = self._sessions.joint_order.setup, self._sessions.title(state.slot)
        event = announce.switch_event(state, setup, title, self._blend_steps, time.monotonic_ns())
        self._events.write(event)

    def _undo_switch_if_silent(self, state: GuardState, now_ns: int) -> bool:
        holder = self.holder
        if state.changed_from is None:
            return False
        before = self._workers.by_slot[state.changed_from].view()
        if not switching.is_silent(state, before, self._limits, now_ns):
            return False
        if not self._undo_switch("it sent nothing", now_ns):
            return False
        holder.give_up("it got the session and sent nothing", now_ns + self._last_words_ns)
        return True

    def _undo_switch(self, why: str, now_ns: int) -> bool:
        """The worker before the newest change of policies goes on, if the one that got the session failed."""
        state, sessions = self._sessions.state, self._sessions
        if state.changed_from is None or not self._workers.by_slot[state.changed_from].ready:
            return False
        if not switching.is_undoable(state, self.holder.view(), self._limits, now_ns):
            return False
        sessions.undo_switch()
        self._apply(now_ns)
        self._workers.wake(sessions.state.slot)
        announce.log_undone_switch(sessions.state, sessions.title(state.slot), why)
        self.tell_policy(sessions.state)
        return True

    def _fail_over(self, kind: FailoverKind, why: str, now_ns: int) -> bool:
        """The standby goes on with the session, if it may and can."""
        standby, sessions, view = self._workers.standby, self._sessions, self._worker.view()
        if standby is None or not standby.ready:
            return False
        if not failover.is_possible(sessions.state, view, standby.view(), self._limits, now_ns):
            return False
        sessions.fail_over(view, why, now_ns)
        self._apply(now_ns)
        self._workers.wake(STANDBY_SLOT)
        state, setup = sessions.state, sessions.joint_order.setup
        self._events.write(announce.failover_event(state, kind, setup))
        self._words.row("failovers")[kind] += 1
        announce.log_failover(state, kind, standby.child.pid)
        return True
