"""Every injection on a line of its own: for closer inspection, and so that a run can go on where it ended."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from gaitd.errors import InputError
from gaitforge.faults.fault import Fault, Judged, Trial

COLUMNS = (
    "fault", "void", "reason", "periods", "outcome", "detail", "ready_s", "walks_s", "explained", "misses",
)  # fmt: skip
BETWEEN_MISSES = "; "


def save_trials(path: Path, judged: Sequence[Judged]) -> None:
    """Write them as tab-separated values; who ends the program meanwhile has the file of before."""
    beside = path.with_suffix(".new")
    with beside.open("w", newline="") as file:
        writer = csv.writer(file, "excel-tab", lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in judged:
            trial = each.trial
            writer.writerow(
                (
                    trial.fault.name, "void" if each.void else "", each.reason, f"{each.periods:.2f}",
                    each.outcome, trial.detail, _seconds(trial.ready_after_s), _seconds(trial.walks_after_s),
                    trial.explained, BETWEEN_MISSES.join(each.misses),
                )
            )  # fmt: skip
    beside.replace(path)


def load_trials(path: Path, faults: Mapping[str, Fault]) -> list[Judged]:
    """Those of these faults that were saved, by the fault's name; what a table does not need is not there.

    Raises InputError when the file is not one of save_trials.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, dialect="excel-tab"))
        return [_judged(row, faults[row["fault"]]) for row in rows if row["fault"] in faults]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: expected the injections of a run to go on with: {error!r}") from None


def _judged(row: Mapping[str, str], fault: Fault) -> Judged:
    trial = Trial(
        fault, injected_ns=0, until_ns=0, session=0, gaitd_reason=row["reason"], detail=row["detail"],
        ready_after_s=_number(row["ready_s"]), walks_after_s=_number(row["walks_s"]),
        explained=row["explained"],
    )  # fmt: skip
    misses = [miss for miss in row["misses"].split(BETWEEN_MISSES) if miss]
    return Judged(
        trial, row["reason"], float(row["periods"]), row["outcome"], misses, void=row["void"] == "void"
    )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _number(text: str) -> float | None:
    return float(text) if text else None
