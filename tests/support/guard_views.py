"""What the guardian's rules are asked about: a session under way, and what its worker says of itself."""

from __future__ import annotations

from dataclasses import replace

from gaitd.guardian import rules
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView

MS = 1_000_000
PERIOD = 12 * MS
LIMITS = GuardLimits(5 * PERIOD, 500 * MS)
NOW = 10**12
EPOCH = 107


def walking(fed_ns: int = NOW) -> GuardState:
    return replace(rules.activate(7, EPOCH, NOW - 10**9), fed_ns=fed_ns, fed_by_command=True)


def view(command_ns: int = 0, **changes: object) -> WorkerView:
    made = WorkerView(
        heartbeat_ns=NOW,
        busy_since_ns=0,
        last_state_ns=0,
        last_command_ns=command_ns,
        last_command_epoch=EPOCH,
        refusal=None,
        trip=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]
