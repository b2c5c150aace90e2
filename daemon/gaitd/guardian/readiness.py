"""Whether the standby could take over, for people. Pure: views and the clock come in.

Out of a session that is whether its process is ready. In one it must also keep up with the worker: a
controller may not send it states, its model may be too slow or fail, its hidden state may lack a step.
"""

from __future__ import annotations

from gaitd.guardian.failover import FRESH
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.shared.processes import STANDBY_SLOT, WORKER_SLOT, policy_in
from gaitd.wire.generated import Mode

STEADY_NS = 250_000_000
"""People hear of what has lasted so long. Who decides about the lease looks for itself, at that moment."""


class StandbyReadiness:
    """Follows the standby of one gaitd."""

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._keeps_up = True
        self._otherwise_since_ns: int | None = None
        """Since when it has been the other way round without a break."""
        self._process_ready = False

    def look(
        self, state: GuardState, worker: WorkerView, standby: WorkerView, *, process_ready: bool, now_ns: int
    ) -> bool:
        """Whether it could take over, or has. To be called again and again; ``worker``: of the first slot."""
        came_back = process_ready and not self._process_ready
        self._process_ready = process_ready
        if state.mode is not Mode.ACTIVE or state.slot != WORKER_SLOT:
            self._keeps_up, self._otherwise_since_ns = True, None
            return process_ready
        if came_back:  # in mid-session: it has yet to show it
            self._keeps_up, self._otherwise_since_ns = False, None
        if keeps_up(state, worker, standby, self._limits) is self._keeps_up:
            self._otherwise_since_ns = None
        elif self._otherwise_since_ns is None:
            self._otherwise_since_ns = now_ns
        elif now_ns - self._otherwise_since_ns >= STEADY_NS:
            self._keeps_up, self._otherwise_since_ns = not self._keeps_up, None
        return process_ready and self._keeps_up


def why_alone(state: GuardState, *, ready: bool, process_ready: bool) -> str:
    """Why no other worker could go on for the one that the robot walks on, where there is a standby.

    Empty: it could, or nobody walks. ``ready``: as StandbyReadiness has it.
    """
    if state.mode is not Mode.ACTIVE:
        return ""
    if policy_in(state.slot) != 0:
        return "its policy has no standby"
    if state.slot == STANDBY_SLOT:
        return "it is the standby"
    if ready:
        return ""
    return "the standby does not keep up with the session" if process_ready else "the standby is not ready"


def keeps_up(state: GuardState, worker: WorkerView, standby: WorkerView, limits: GuardLimits) -> bool:
    """Whether it has an answer to what the worker answers, or nearly: both wait where no states come."""
    newest_ns = worker.last_state_ns
    if newest_ns <= state.since_ns:
        return True  # the session's first state is still to come
    behind_ns = newest_ns - standby.prepared_ns
    return standby.prepared_epoch == state.epoch and behind_ns <= limits.deadline_ns * FRESH
