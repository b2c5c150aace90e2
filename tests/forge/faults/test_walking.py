"""A few faults of every kind into the walking robot; all of them are `gaitforge faults`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaitforge.cli import main
from gaitforge.faults.catalog import FAULTS, QUICK
from gaitforge.faults.fault import Judged, summarize
from gaitforge.faults.runner import run_faults
from gaitforge.faults.starts import START_FAULTS

ROOT = Path(__file__).parents[3]
CONTROLLER = ROOT / "build/cpp/lite3_controller"
EXAMPLE = ROOT / "examples/lite3_walk/lite3_walk.gaitd"

needs_controller = pytest.mark.skipif(
    not CONTROLLER.exists(), reason=f"the example controller is not built: {CONTROLLER}; `make cpp` builds it"
)


TRIES = 3
"""A machine that does other things misses a bound now and then; a fault of ours misses it each time."""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Judged]:
    """All quick faults, one after the other, in one chain; those that were missed once more."""
    faults = [fault for fault in FAULTS if fault.name in QUICK]
    judged: dict[str, Judged] = {}
    for _ in range(TRIES):
        left = [fault for fault in faults if fault.name not in judged or judged[fault.name].misses]
        for each in run_faults(left, 1, EXAMPLE, CONTROLLER, tmp_path_factory.mktemp("faults")):
            judged[each.trial.fault.name] = each
    return judged


@needs_controller
@pytest.mark.parametrize("name", QUICK)
def test_the_fault_is_met_within_its_bound(quick: dict[str, Judged], name: str) -> None:
    judged = quick[name]
    assert judged.misses == []
    assert judged.periods <= judged.trial.fault.bound_periods
    row = summarize(judged.trial.fault, [judged])
    assert row["ok"] is True
    if judged.trial.fault.reasons:
        assert row["outcome"] == "lay down softly"
        assert "walks in a new session" in row["recovery"]


def test_names_are_unique_and_the_quick_ones_exist() -> None:
    names = [fault.name for fault in FAULTS] + [fault.name for fault in START_FAULTS]
    assert len(set(names)) == len(names)
    assert set(QUICK) <= set(names)


def test_a_fault_around_the_start_makes_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["faults", "--bundle", str(EXAMPLE), "--controller", "unused", "--output", str(tmp_path)]
    assert main([*options, "--only", "SIGTERM in idle"]) == 0
    (row,) = json.loads((tmp_path / "table.json").read_text())
    assert set(row) == {
        "fault", "reason", "periods_median", "periods_max", "bound_periods", "outcome", "recovery",
        "explained", "ok", "misses",
    }  # fmt: skip
    assert (row["reason"], row["ok"]) == ("shutdown", True)
    assert "| SIGTERM in idle | shutdown |" in (tmp_path / "table.md").read_text()


def test_an_unknown_fault_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["faults", "--bundle", str(EXAMPLE), "--controller", "unused", "--output", str(tmp_path)]
    assert main([*options, "--only", "meteorite"]) == 2
    assert "meteorite" in capsys.readouterr().err
