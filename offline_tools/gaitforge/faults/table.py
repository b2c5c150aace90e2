"""Injects every fault into the walking robot and writes the table of results."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitd.bundle.read import open_bundle
from gaitd.errors import GateError, InputError
from gaitforge.common.tables import markdown
from gaitforge.faults.catalog import FAULTS, QUICK
from gaitforge.faults.fault import Judged, summarize
from gaitforge.faults.runner import run_faults
from gaitforge.faults.starts import START_FAULTS, run_start_fault
from gaitforge.faults.trials import load_trials, save_trials

HEAD = """\
# Faults

{count} injections into the walking robot: simulated robot, C++ controller and gaitd as real processes,
policy {policy}. One control period is {period_ms:g} ms.

For a fault that ends in damping, *periods* is the time to the first damping command at the controller: from
the injection where something dies or stops at once, else from the last fresh command. For one that the robot
walks through, it is the longest time without a fresh command. {void} injections were void and made again: the
controller itself was not scheduled for more than a period, or what was recorded of them was lost. Simulated
physics, not verified on a board.
"""


@dataclass(frozen=True)
class Selection:
    """Which faults."""

    only: Sequence[str] = ()
    """Those whose name contains one of these; none stands for all."""
    quick: bool = False
    """A few, once."""

    def includes(self, name: str) -> bool:
        """Tell whether the fault of this name is one of them."""
        if self.quick:
            return name in QUICK
        return not self.only or any(part in name for part in self.only)


def write_table(
    bundle: Path,
    controller: Path,
    output: Path,
    chosen: Selection,
    repeats: int,
    mjcf: Path | None = None,
    *,
    resume: bool = False,
) -> None:
    """Inject each fault ``repeats`` times, print and write table.md, table.json and trials.tsv.

    ``mjcf``: the robot's model; None: the Lite3's. ``resume``: take from trials.tsv what was injected before.

    Raises GateError naming the faults that missed their bound, InputError when none is chosen.
    """
    faults = [fault for fault in FAULTS if chosen.includes(fault.name)]
    starts = [fault for fault in START_FAULTS if chosen.includes(fault.name)]
    if not faults and not starts:
        raise InputError(f"--only {list(chosen.only)}: no fault has such a name")
    output.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    trials = output / "trials.tsv"
    everything = load_trials(trials, {fault.name: fault for fault in faults}) if resume else []
    done = Counter(each.trial.fault.name for each in everything if not each.void)
    for each in run_faults(faults, 1 if chosen.quick else repeats, bundle, controller, output, mjcf, done):
        everything.append(each)
        save_trials(trials, everything)
        print(_line(each), flush=True)
    judged = [each for each in everything if not each.void]
    rows: list[dict[str, Any]] = [
        summarize(fault, mine)
        for fault in faults
        if (mine := [each for each in judged if each.trial.fault == fault])
    ]
    for start in starts:
        rows.append(run_start_fault(start, bundle, output))
        verdict = "; ".join(rows[-1]["misses"]) or rows[-1]["outcome"]
        print(f"{'ok  ' if rows[-1]['ok'] else 'MISS'} {start.name}: {verdict}", flush=True)
    manifest = open_bundle(bundle).manifest
    period_ms = manifest.control_period_s * 1000
    head = HEAD.format(
        count=len(judged) + len(starts),
        void=len(everything) - len(judged),
        policy=f"{manifest.name} {manifest.version}",
        period_ms=period_ms,
    )
    (output / "table.md").write_text(f"{head}\n{markdown([_in_ms(row, period_ms) for row in rows])}\n")
    (output / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    missed = [row["fault"] for row in rows if not row["ok"]]
    took_s = time.monotonic() - began_s
    print(
        f"{len(rows)} faults, {len(judged) + len(starts)} injections in {took_s:.0f} s, {len(missed)} missed"
    )
    print(f"{output}/table.md  {output}/table.json  {trials}")
    if missed:
        raise GateError("missed: " + "; ".join(missed))


def _in_ms(row: dict[str, Any], period_ms: float) -> dict[str, Any]:
    """The row with its times in milliseconds beside the periods, and what was missed in its last cell."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        if name == "misses":
            continue
        shown[name] = value
        if name in ("periods_median", "periods_max"):
            shown[name.replace("periods", "ms")] = round(value * period_ms, 1)
    shown["ok"] = "yes" if row["ok"] else f"no: {'; '.join(dict.fromkeys(row['misses']))}"
    return shown


def _line(each: Judged) -> str:
    verdict = "void" if each.void else "MISS" if each.misses else "ok  "
    text = f"{verdict} {each.trial.fault.name}: {each.reason}, {each.periods:.2f} periods, {each.outcome}"
    return text + ("" if not each.misses else f" -- {'; '.join(each.misses)}")
