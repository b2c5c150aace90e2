"""Does the robot walk on when the worker on the NPU fails in mid-stride and the standby takes over?

In lockstep simulation, so that the same model gives the same walks. The converted model walks as the worker,
the float model goes on as the standby, after the longest time without a command that gaitd allows itself
(docs/safety.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from gaitd.backends.base import Backend
from gaitd.policy.manifest import Manifest
from gaitforge.common.arrays import Stats
from gaitforge.simulate.body import Body
from gaitforge.simulate.direct import DirectRun, full_command, run_direct
from gaitforge.simulate.failing_over import FailoverPipeline
from gaitforge.simulate.measure import Outcome, measure
from gaitforge.simulate.script import CommandScript

GAP_PERIODS: Mapping[str, int] = {"death": 2, "hang": 4}
"""From the worker's last command to the standby's first one, by what the worker does."""
FIRST_S, SPREAD_S = 2.0, 0.5
"""The worker fails after walking for so long, later by a share of a stride: at all phases of the gait."""
GOLDEN = 0.5 * (5**0.5 - 1)
AFTER_S = 1.0
"""The velocity is compared for so long with that of the same walk without a failure."""
SECONDS = FIRST_S + SPREAD_S + AFTER_S + 0.5
SEEDS = 3
"""Walks without a failure, for comparison; each serves several failures."""


@dataclass(frozen=True)
class FailoverWalk:
    """One walk in which the worker failed."""

    kind: str
    """What it did: of GAP_PERIODS."""
    seed: int
    at_s: float
    """After the hand-over."""
    kept_up: bool
    tracking_ratio: float
    """Error of the horizontal velocity in the second after it, against the same second without a failure."""


def walk_failovers(
    manifest: Manifest,
    worker: Backend,
    standby: Backend,
    stats: Stats | None,
    body: Body,
    phases: int,
) -> list[FailoverWalk]:
    """Let ``worker`` fail straight ahead at full speed, each kind at so many phases of the gait.

    Empty where the robot goes down without a failure, too: the closed loop says that already.
    Raises InputError when the policy cannot be simulated.
    """
    script = CommandScript.constant(float(manifest.velocity_command.max[0]), 0.0, 0.0)
    full = full_command(manifest)

    def run(seed: int, fail_at: int, lost: int) -> DirectRun:
        pipeline = FailoverPipeline(manifest, stats, worker, standby, fail_at, lost)
        return run_direct(
            manifest,
            pipeline.infer,
            script=script,
            seconds=SECONDS,
            seed=seed,
            body=body,
            pipeline=pipeline,
        )

    def error(walk: DirectRun, from_s: float) -> float:
        trace = walk.trace
        began_ns = round((float(trace.handover_s) + from_s) * 1e9)
        part = trace.between(0, began_ns, began_ns + round(AFTER_S * 1e9))
        return measure(part, full, body.stature).velocity_rmse_m_per_s

    never = round(SECONDS / manifest.control_period_s) + 1
    calm = [run(seed, never, 0) for seed in range(min(SEEDS, phases))]
    if any(walk.measures.outcome is not Outcome.KEPT_UP for walk in calm):
        return []
    found = []
    for number in range(phases):
        step = round((FIRST_S + SPREAD_S * (number * GOLDEN % 1)) / manifest.control_period_s)
        at_s, seed = step * manifest.control_period_s, number % len(calm)
        for kind, gap in GAP_PERIODS.items():
            walk = run(seed, step + 1, gap - 1)
            kept_up = walk.measures.outcome is Outcome.KEPT_UP
            ratio = error(walk, at_s) / error(calm[seed], at_s)
            found.append(FailoverWalk(kind, seed, round(at_s, 4), kept_up, round(ratio, 4)))
    return found


def failover_failures(walks: Sequence[FailoverWalk], tracking_ratio: float) -> list[str]:
    """Why the standby should not be relied on; empty when the robot walked on each time.

    ``tracking_ratio``: allowed of each kind's mean.
    """
    down = [walk for walk in walks if not walk.kept_up]
    if down:
        first = down[0]
        return [
            f"failover: {len(down)} of {len(walks)} times the robot went down, the first time after a "
            f"{first.kind} at {first.at_s:g} s (seed {first.seed})"
        ]
    return [
        f"failover: in the second after a {kind} the velocity error is {ratio:.3g} times that without one, "
        f"allowed is {tracking_ratio:g}"
        for kind, ratio in mean_ratios(walks).items()
        if not ratio <= tracking_ratio
    ]


def failovers_summary(walks: Sequence[FailoverWalk], tracking_ratio: float) -> dict[str, object]:
    """One precision's part of report.json, which gaitd reads (gaitd.bundle.failovers)."""
    failures = failover_failures(walks, tracking_ratio)
    return {
        "passed": not failures,
        "failures": failures,
        "gap_periods": dict(GAP_PERIODS),
        "walks": [asdict(walk) for walk in walks],
    }


def mean_ratios(walks: Sequence[FailoverWalk]) -> dict[str, float]:
    """Mean tracking_ratio by kind."""
    kinds = dict.fromkeys(walk.kind for walk in walks)
    return {
        kind: float(np.mean([walk.tracking_ratio for walk in walks if walk.kind == kind])) for kind in kinds
    }
