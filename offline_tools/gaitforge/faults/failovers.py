"""The worker fails again and again at other phases of the gait, and the standby goes on: how well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gaitforge.faults.catalog import FAULTS
from gaitforge.faults.failover_rows import ROWS
from gaitforge.faults.fault import Fault, Judged
from gaitforge.faults.rig import Rig
from gaitforge.faults.runner import run_faults
from gaitforge.faults.trials import save_trials

WALKED_S, SPREAD_S = 4.0, 0.5
"""The robot walks for so long before, and for a share of a stride more: all phases of the gait are met. The
velocity error is steady from the third second on."""
GOLDEN = 0.5 * (5**0.5 - 1)
WATCH_S = 1.2
TRACKING_RATIO = 1.1
"""Allowed mean velocity error in the second after a failure, as a part of that in the second before."""


@dataclass(frozen=True)
class Row:
    """All failures of one kind."""

    kind: str
    injections: int
    void: int
    """Made besides: the controller itself was not scheduled."""
    falls: int
    """The robot did not walk on."""
    gap_periods_median: float
    gap_periods_max: float
    """The longest time between two fresh commands at the controller."""
    gap_periods_bound: float
    beyond_bound: int
    """Injections."""
    tracking_ratio: float
    """Mean error of the horizontal velocity in the second after, against that in the second before."""
    misses: list[str]
    """What was not as it must be, one entry an injection."""


def measure_failovers(
    kinds: Sequence[str], count: int, bundle: Path, controller: Path, output: Path
) -> list[str]:
    """Inject each kind ``count`` times while the robot walks straight at full command; print what came of it.

    Writes failovers.json and trials.tsv. Returns what was not met; raises InputError when bundle or
    controller are not what they must be.
    """
    faults = [_at_phase(kind, number) for number in range(count) for kind in kinds]
    judged = []
    for each in run_faults(faults, 1, bundle, controller, output):
        judged.append(each)
        verdict = "void" if each.void else "MISS" if each.misses else "ok  "
        text = f"{verdict} {each.trial.fault.name}: {each.periods:.2f} periods, {each.outcome}"
        print("; ".join([text, *each.misses]), flush=True)
    rows = [
        summarize(kind, [each for each in judged if each.trial.fault.name.startswith(f"{kind}, ")])
        for kind in kinds
    ]
    (output / "failovers.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    save_trials(output / "trials.tsv", judged)
    for row in rows:
        print(
            f"{row.kind:9} {row.injections} times: {row.falls} falls, {row.gap_periods_median:.2f} periods "
            f"without a fresh command, at most {row.gap_periods_max:.2f} ({row.beyond_bound} beyond "
            f"{row.gap_periods_bound:g}), velocity error {row.tracking_ratio:.3f} times; {row.void} void"
        )
    print(f"{output}/failovers.json  {output}/trials.tsv")
    return [miss for row in rows for miss in _failures(row)]


def _at_phase(kind: str, number: int) -> Fault:
    """The row of the table, injected at another phase."""
    (row,) = (fault for fault in FAULTS if fault.name == ROWS[kind])
    due_s = WALKED_S + SPREAD_S * (number * GOLDEN % 1)

    def prepare(rig: Rig) -> None:
        row.prepare(rig)
        rig.known = rig.wait(
            lambda status: status["mode"] == "active" and status["mode_for_s"] >= due_s, "steady walking"
        )

    return replace(row, name=f"{kind}, {number}", prepare=prepare, watch_s=WATCH_S)


def summarize(kind: str, judged: Sequence[Judged]) -> Row:
    """One row from all injections of a kind."""
    counted = [each for each in judged if not each.void]
    bound = counted[0].trial.fault.bound_periods
    periods = np.array([each.periods for each in counted])
    tracked = np.array([each.tracking for each in counted if each.tracking is not None]).reshape(-1, 2)
    before, after = tracked.mean(axis=0) if len(tracked) else (np.nan, np.nan)
    return Row(
        kind=kind,
        injections=len(counted),
        void=len(judged) - len(counted),
        falls=sum(each.outcome != "kept walking" for each in counted),
        gap_periods_median=round(float(np.median(periods)), 2),
        gap_periods_max=round(float(np.max(periods)), 2),
        gap_periods_bound=bound,
        beyond_bound=int(np.count_nonzero(~(periods <= bound))),
        tracking_ratio=round(float(after / before), 3),
        misses=[f"{each.trial.fault.name}: {'; '.join(each.misses)}" for each in counted if each.misses],
    )


def _failures(row: Row) -> list[str]:
    found = list(row.misses)
    if not row.tracking_ratio <= TRACKING_RATIO:
        found.append(
            f"{row.kind}: velocity error in the second after is {row.tracking_ratio} times that before, "
            f"allowed is {TRACKING_RATIO}"
        )
    return found
