"""Many closed loops of one kind, and what came of them in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gaitd.bundle.read import Bundle
from gaitd.policy.manifest import Manifest
from gaitforge.evidence.interrupt import InterruptedRobot, Phase
from gaitforge.simulate.direct import DirectRun, Infer, onnx_backend, run_direct
from gaitforge.simulate.measure import Outcome
from gaitforge.simulate.robot import STAND_UP_S
from gaitforge.simulate.script import CommandScript, Push

GAIT_PHASES = 10
"""Runs a cell: the fault comes at as many moments, spread over PHASE_SPREAD_S."""
PHASE_SPREAD_S = 0.4
"""A little more than a gait cycle."""
FAULT_S = 3.0
"""After the hand-over; by then the robot walks steadily."""
FIRST_PUSH_S = 1.0
"""Then one a second: one falls on the moment of the first faults."""
AFTER_S = 3.0
"""How long each run goes on."""


@dataclass(frozen=True)
class Walking:
    """How the robot walks while the fault comes."""

    name: str
    command: float
    """Forward, in the policy's unit."""
    push_m_per_s: float = 0.0
    """A sideways kick a second, to either side in turn."""

    def pushes(self, seconds: float) -> list[Push]:
        """One a second, before ``seconds``."""
        if not self.push_m_per_s:
            return []
        times = np.arange(FIRST_PUSH_S, seconds, 1.0)
        return [Push(float(time), 0.0, self.push_m_per_s * (-1) ** index) for index, time in enumerate(times)]


WALKS = (
    Walking("0.5", 0.5),
    Walking("1.0", 1.0),
    Walking("1.0, pushes of 0.8 m/s", 1.0, 0.8),
)


@dataclass(frozen=True)
class Cell:
    """What came of the runs of one kind."""

    runs: int
    falls: int
    """Runs with a fall: hard, or while the motors meant to keep the robot up."""
    velocity_error_m_per_s: float
    """Root mean square while up, mean of the runs."""
    tilt_deg: float
    """Largest of all runs."""
    descent_m_per_s: float
    """Fastest of all ways down; 0 without one."""
    down_after_s: float
    """Latest moment of counting as down, since the fault; 0 when it stayed up."""
    flipped: int
    """Runs that tilted beyond 90 degrees."""
    kept_up: int
    clamped: int
    """Joint targets held back by a limit, all runs."""
    rejected: int
    """Actions refused, all runs."""


class ClosedLoop:
    """One bundle's policy in the simulator."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.backend = onnx_backend(bundle)
        self.period_s = bundle.manifest.control_period_s

    def run(
        self,
        walking: Walking,
        *,
        seconds: float | None = None,
        pushes_until_s: float | None = None,
        seed: int = 0,
        infer: Infer | None = None,
        phases: Sequence[Phase] = (),
        delay_ticks: int = 0,
        manifest: Manifest | None = None,
        script: CommandScript | None = None,
    ) -> DirectRun:
        """One walk, by default until AFTER_S after the fault; ``phases`` count from the hand-over."""
        if seconds is None:
            seconds = FAULT_S + AFTER_S
        self.backend.reset()
        shifted = tuple(Phase(STAND_UP_S + phase.start_s, phase.what) for phase in phases)
        return run_direct(
            manifest or self.bundle.manifest,
            infer or self.backend,
            script=script or CommandScript.constant(walking.command),
            seconds=seconds,
            seed=seed,
            obs_stats=self.bundle.obs_stats(),
            pushes=walking.pushes(seconds if pushes_until_s is None else pushes_until_s),
            robot=InterruptedRobot(seed, shifted, delay_ticks),
        )

    def fault_times_s(self) -> list[float]:
        """When the fault comes in each run of a cell: whole control periods, spread over the gait."""
        spread = np.linspace(0.0, PHASE_SPREAD_S, GAIT_PHASES, endpoint=False)
        return [round((FAULT_S + offset) / self.period_s) * self.period_s for offset in spread]

    def cell(self, run: Callable[[float, int], DirectRun]) -> Cell:
        """Run once a gait phase; ``run`` gets the fault's time and a seed."""
        times = self.fault_times_s()
        return summarize([(time, run(time, seed)) for seed, time in enumerate(times)])


def summarize(runs: Iterable[tuple[float, DirectRun]]) -> Cell:
    """Put runs, each with its fault's time, into one cell."""
    runs = list(runs)
    measures = [run.measures for _, run in runs]
    ways_down = [(descent, time) for time, run in runs for descent in run.measures.descents]
    return Cell(
        runs=len(runs),
        falls=sum(each.falls > 0 for each in measures),
        velocity_error_m_per_s=float(np.mean([each.velocity_rmse_m_per_s for each in measures])),
        tilt_deg=max(each.max_tilt_deg for each in measures),
        descent_m_per_s=max((descent.speed_m_per_s for descent, _ in ways_down), default=0.0),
        down_after_s=max((descent.time_s - time for descent, time in ways_down), default=0.0),
        flipped=sum(each.max_tilt_deg > 90.0 for each in measures),
        kept_up=sum(each.outcome is Outcome.KEPT_UP for each in measures),
        clamped=sum(sum(run.clamped.values()) for _, run in runs),
        rejected=sum(run.rejected for _, run in runs),
    )
