"""What the measurements of failovers make of single injections and turns, and when they say no."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gaitforge.faults.catalog import FAULTS
from gaitforge.faults.failover_rows import ROWS
from gaitforge.faults.failovers import summarize
from gaitforge.faults.fault import Judged, Trial
from gaitforge.faults.standby_cost import Summary, failures, ratios_of

KILLED = next(fault for fault in FAULTS if fault.name == ROWS["kill -9"])
OFF = Summary(400.0, 2000.0, 1000.0, 3000.0, 100.0, 0.2, [])


def judged(number: int, periods: float = 1.1, after: float = 0.05, **changes: Any) -> Judged:
    trial = Trial(replace(KILLED, name=f"kill -9, {number}"), 1, 2, 1)
    return replace(Judged(trial, "-", periods, "kept walking", tracking=(0.05, after)), **changes)


def test_every_kind_is_a_row_of_the_table() -> None:
    assert set(ROWS.values()) <= {fault.name for fault in FAULTS}


def test_the_worst_injection_decides_on_gaps_and_the_mean_on_velocity() -> None:
    row = summarize("kill -9", [judged(0), judged(1, 2.0, 0.06), judged(2, 9.0, void=True)])
    assert (row.injections, row.void, row.falls, row.beyond_bound) == (2, 1, 0, 0)
    assert (row.gap_periods_max, row.gap_periods_bound) == (2.0, 2.0)
    assert row.tracking_ratio == pytest.approx(1.1)


def test_falls_gaps_and_injections_that_went_wrong_are_counted() -> None:
    fell = judged(1, outcome="fell hard", misses=["the robot fell hard"], tracking=None)
    late = judged(2, 2.01, misses=["2.01 periods"])
    broken = judged(3, float("nan"), misses=["GaitdError: no answer"], outcome="-", tracking=None)
    row = summarize("kill -9", [judged(0), fell, late, broken])
    assert (row.injections, row.falls, row.beyond_bound) == (4, 2, 2)
    assert row.misses[0] == "kill -9, 1: the robot fell hard"
    assert len(row.misses) == 3


def test_what_a_standby_costs_is_a_ratio_with_a_bound() -> None:
    on = replace(OFF, age_p50_us=420.0, age_p99_us=2500.0, memory_mb=170.0, cpu=0.3)
    ratios = ratios_of(OFF, on)
    assert ratios == {"age_p50": 1.05, "age_p99": 1.25, "memory": 1.7, "cpu": 1.5}
    assert failures(ratios) == []
    (failure,) = failures(ratios_of(OFF, replace(on, memory_mb=171.0)))
    assert failure == "with a standby memory is 1.71 times that without, allowed is 1.7"
