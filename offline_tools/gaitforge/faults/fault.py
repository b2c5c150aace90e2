"""A fault, and the assessment of one injection of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from gaitforge.faults.explained import NAMES, OVER_SHARED_MEMORY
from gaitforge.faults.rig import Rig, Setting
from gaitforge.simulate.measure import Outcome, measure
from gaitforge.simulate.pacer import TICK_NS
from gaitforge.simulate.trace import Trace
from gaitforge.stack.ticks import Ticks

OUTCOMES = {
    Outcome.KEPT_UP: "kept walking",
    Outcome.LAID_DOWN: "lay down softly",
    Outcome.FELL: "fell hard",
    Outcome.NEVER_STOOD: "never stood up",
}
STOPPED, STOPPED_M_PER_S = "stopped", 0.15
"""A robot on wheels, damped, that rolls no more although it has not sunk to the ground by the end."""
AFTER_DAMPING_S = 0.95
"""The way down takes about 0.6 s; then the robot stands up again."""
TRACKED_NS = 1_000_000_000
PLAIN = Setting("plain")
OUTSIDE = "a joint target outside the limits reached a motor"

Since = Literal["injection", "last command"]


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    inject: Callable[[Rig], None]
    reasons: frozenset[str] = frozenset()
    """Reasons that gaitd, or the controller itself, may give; empty when the robot is to keep walking."""
    either: bool = False
    """The robot may keep walking as well."""
    bound_periods: float = 5.0
    """To the first damping at the controller; for one that keeps walking, its longest time without a fresh
    command."""
    since: Since = "last command"
    prepare: Callable[[Rig], None] = lambda rig: None
    """Before the injection, from which time counts."""
    undo: Callable[[Rig], None] = lambda rig: None
    """Afterwards, before the robot can walk again."""
    watch_s: float = 0.8
    """How long a fault that leaves the robot walking is watched."""
    at_gaitd: bool = False
    """The controller is gone: measured by the guardian's messages."""
    setting: Setting = PLAIN
    outcomes: frozenset[str] = frozenset()
    """Permitted outcomes for the robot; by default those that the reasons imply."""

    @property
    def expected_outcomes(self) -> frozenset[str]:
        """Permitted outcomes for the robot."""
        if self.outcomes:
            return self.outcomes
        walks = {"kept walking"} if self.either or not self.reasons else set()
        return frozenset(walks | ({"lay down softly", STOPPED} if self.reasons else set()))


@dataclass(frozen=True)
class Trial:
    """One injection, as the runner saw it."""

    fault: Fault
    injected_ns: int
    until_ns: int
    """End of the time that belongs to this injection."""
    session: int
    gaitd_reason: str = ""
    detail: str = ""
    guard_damping_ns: int = 0
    """When the guardian said damping; 0 when it did not."""
    ready_after_s: float | None = None
    """From damping to a worker that is ready again; None when it was not replaced."""
    walks_after_s: float | None = None
    """From the injection to the next session's start."""
    explained: str = ""
    """The verdict of gaitctl explain on its recording; empty without a damping."""
    error: str = ""
    """What did not go as planned."""


@dataclass(frozen=True)
class Judged:
    """One injection with its verdict."""

    trial: Trial
    reason: str
    periods: float
    outcome: str
    misses: list[str] = field(default_factory=list)
    """Requirements that were not met."""
    tracking: tuple[float, float] | None = None
    """Error of the horizontal velocity in the second before and in the second after, m/s; None: damped."""
    void: bool = False
    """Not met, and the machine's fault: the controller itself was not scheduled for longer than a period, or
    what was recorded is lost."""


def failed(trial: Trial, *, void: bool = False) -> Judged:
    """Of an injection that went wrong, so that there is nothing to look at; ``trial.error`` says why."""
    return Judged(trial, trial.gaitd_reason, float("nan"), "-", [trial.error], void=void)


def judge(trial: Trial, ticks: Ticks, trace: Trace, start_ns: int, rig: Rig) -> Judged:
    """Look at what the controller and the robot did. ``start_ns``: the simulated time's zero."""
    if trial.error:
        return failed(trial)
    judged = _judge(trial, ticks, trace, start_ns, rig)
    if judged.misses and OUTSIDE not in judged.misses and _stood_still_ns(trial, ticks) > rig.period_ns:
        return replace(judged, void=True)
    return judged


def _judge(trial: Trial, ticks: Ticks, trace: Trace, start_ns: int, rig: Rig) -> Judged:
    fault, period_ns = trial.fault, rig.period_ns
    damping_ns, controller_reason = _damping(trial, ticks)
    until_ns = trial.until_ns
    if damping_ns and not fault.at_gaitd:
        down_s = AFTER_DAMPING_S + fault.setting.stance_s
        until_ns = min(until_ns, damping_ns + round(down_s * 1e9))
    part = trace.between(start_ns, trial.injected_ns, until_ns)
    outcome = OUTCOMES[measure(part, rig.full_command, rig.stature).outcome]
    if outcome == OUTCOMES[Outcome.KEPT_UP] and _has_stopped(part):
        outcome = STOPPED
    misses, tracking = _bad_targets(part, rig), None
    if outcome not in fault.expected_outcomes:
        misses.append(f"the robot {outcome}")
    if not fault.reasons or (fault.either and not damping_ns):
        periods = round(_longest_gap_ns(trial, ticks) / period_ns, 2)
        if damping_ns:
            misses.append(f"damping: {trial.gaitd_reason or controller_reason} ({trial.detail})")
        else:
            tracking = _tracking(trial, trace, start_ns, rig)
        reason = "-"
    else:
        reason = trial.gaitd_reason or controller_reason
        if not damping_ns:
            return Judged(trial, reason, float("nan"), outcome, [*misses, "no damping"])
        took_ns = damping_ns - trial.injected_ns
        if fault.since == "last command":
            took_ns = _in_ticks(damping_ns - _last_command_ns(ticks, damping_ns))
        periods = round(took_ns / period_ns, 2)
        if reason not in fault.reasons:
            misses.append(f"the reason was {reason} ({trial.detail})")
    if not periods <= fault.bound_periods:
        misses.append(f"{periods:.2f} periods")
    return Judged(trial, reason, periods, outcome, misses, tracking)


def _has_stopped(part: Trace) -> bool:
    speed = float(np.linalg.norm(part.base_velocity[-1, :2]))
    return bool(part.rolls.any() and part.leg_stiffness()[-1] == 0.0 and speed < STOPPED_M_PER_S)


def _tracking(trial: Trial, trace: Trace, start_ns: int, rig: Rig) -> tuple[float, float]:
    def error(from_ns: int) -> float:
        part = trace.between(start_ns, from_ns, from_ns + TRACKED_NS)
        return measure(part, rig.full_command, rig.stature).velocity_rmse_m_per_s

    return error(trial.injected_ns - TRACKED_NS), error(trial.injected_ns)


def _stood_still_ns(trial: Trial, ticks: Ticks) -> int:
    """Longest time between two ticks of the controller, which runs at 1 kHz."""
    if trial.fault.at_gaitd:
        return 0
    meanwhile = (ticks.time_ns >= trial.injected_ns) & (ticks.time_ns <= trial.until_ns)
    return int(np.diff(ticks.time_ns[meanwhile]).max(initial=0))


def _in_ticks(duration_ns: int) -> int:
    """The resolution of the controller's times: it runs at 1 kHz."""
    return round(duration_ns / TICK_NS) * TICK_NS


def _damping(trial: Trial, ticks: Ticks) -> tuple[int, str]:
    """When the controller went to damping after the injection, and why; 0 when it did not."""
    if trial.fault.at_gaitd:
        return trial.guard_damping_ns, ""
    index = ticks.first_damping_after(trial.injected_ns)
    if index is None or ticks.time_ns[index] > trial.until_ns:
        return 0, ""
    return int(ticks.time_ns[index]), str(ticks.reason[index])


def _last_command_ns(ticks: Ticks, before_ns: int) -> int:
    times = ticks.time_ns[ticks.arrivals()]
    earlier = times[times <= before_ns]
    return int(earlier[-1]) if earlier.size else before_ns


def _longest_gap_ns(trial: Trial, ticks: Ticks) -> int:
    return ticks.longest_gap_ns(trial.injected_ns, trial.until_ns)


def _bad_targets(part: Trace, rig: Rig) -> list[str]:
    """No command that reached a motor may be outside the bundle's limits, whatever the fault was."""
    stiffness = part.leg_stiffness()
    driven = (stiffness > 0) & (stiffness <= rig.stiffness)  # not the controller's stand-up
    for targets, (low, high) in (
        (part.joint_target, rig.position_range),
        (part.velocity_target, rig.velocity_range),
    ):
        if not ((targets[driven] >= low) & (targets[driven] <= high)).all():
            return [OUTSIDE]
    return []


def summarize(fault: Fault, judged: list[Judged]) -> dict[str, Any]:
    """One row of the table from all injections of a fault."""
    periods = [each.periods for each in judged]
    misses = [miss for each in judged for miss in each.misses]
    return {
        "fault": fault.name,
        "reason": ", ".join(sorted({each.reason or "none" for each in judged})),
        "periods_median": round(float(np.median(periods)), 2),
        "periods_max": round(float(np.max(periods)), 2),
        "bound_periods": fault.bound_periods,
        "outcome": ", ".join(sorted({each.outcome for each in judged})),
        "recovery": _recovery([each.trial for each in judged]),
        "explained": _explained(fault, [each.trial for each in judged]),
        "ok": not misses,
        "misses": misses,
    }


def _recovery(trials: list[Trial]) -> str:
    walks = [trial.walks_after_s for trial in trials if trial.walks_after_s is not None]
    if not walks:
        return "none needed"
    ready = [trial.ready_after_s for trial in trials if trial.ready_after_s is not None]
    worker = f"fresh worker in {max(ready):.1f} s; " if ready else ""
    return f"{worker}stands up, walks in a new session after {max(walks):.1f} s"


def _explained(fault: Fault, trials: list[Trial]) -> str:
    """What gaitctl explain said, and how often that was the injected cause."""
    damped = [trial for trial in trials if trial.explained]
    causes = NAMES.get(fault.name.removeprefix(OVER_SHARED_MEMORY))
    if causes is None or not damped:
        return "-"
    right = sum(trial.explained in causes for trial in damped)
    said = ", ".join(sorted({trial.explained for trial in damped}))
    return f"{said} ({right} of {len(damped)})"
