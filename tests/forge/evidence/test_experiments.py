"""Each experiment of `gaitforge evidence` answers its question; the whole tables take minutes."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from gaitd.bundle.read import open_bundle
from gaitforge.evidence import closed_loop, experiments
from gaitforge.evidence.closed_loop import ClosedLoop
from gaitforge.evidence.experiments import EXPERIMENTS

EXAMPLE = Path(__file__).parents[3] / "examples/lite3_walk/lite3_walk.gaitd"
FIRST_ROWS = {
    "delay": {"0.5": "0/1, "},
    "rate": {"0.5": "0/1, "},
    "resume": {"0.5": "0/1"},
    "fallback": {"hard": "0/1"},
    "actions": {"limits damp": "0/1 fell, "},
    "healthy": {"falls": "0", "rejected": "0"},
}
"""How cells of the first row begin: a healthy walk or the mildest fault, in which nothing falls."""


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_the_first_row_of_an_experiment(
    experiment: experiments.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, short in (("GAIT_PHASES", 1), ("FAULT_S", 1.0), ("AFTER_S", 0.6)):
        monkeypatch.setattr(closed_loop, name, short)
    monkeypatch.setattr(experiments, "WALKS", closed_loop.WALKS[:2])
    monkeypatch.setattr(experiments, "HEALTHY_S", 1.5)
    (row,) = islice(experiment.rows(ClosedLoop(open_bundle(EXAMPLE))), 1)
    for column, beginning in FIRST_ROWS[experiment.name].items():
        assert str(row[column]).startswith(beginning), row
