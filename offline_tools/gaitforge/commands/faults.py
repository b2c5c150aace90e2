"""gaitforge faults: every fault into the walking robot, and the table of what came of it."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitd.errors import GateError, InputError

if TYPE_CHECKING:
    from gaitforge.faults.fault import Judged

HEAD = """\
# Faults

{count} injections into the walking robot: simulated robot, C++ controller and gaitd as real processes,
policy {policy}. One control period is {period_ms:g} ms.

For a fault that ends in damping, *periods* is the time to the first damping command at the controller: from
the injection where something dies or stops at once, else from the last fresh command. For one that the robot
walks through, it is the longest time without a fresh command. {void} injections were void and made again: the
controller's own loop stood still for more than a period. Simulated physics; no board has proven these times.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``faults``."""
    parser = subparsers.add_parser(
        "faults",
        help="inject every fault into the walking robot and assert each one's bound",
        description="Starts the whole chain, injects each fault several times and writes table.md and "
        "table.json. Exit code 3 when a fault was not met within its bound.",
    )
    parser.add_argument("--bundle", type=Path, required=True, help="the policy")
    parser.add_argument("--controller", type=Path, required=True, help="the built example controller")
    parser.add_argument("--output", type=Path, default=Path("build/faults"), help="where the results go")
    parser.add_argument("--repeats", type=int, default=3, help="injections of each fault")
    parser.add_argument("--only", action="append", help="faults whose name contains this; repeatable")
    parser.add_argument("--quick", action="store_true", help="a few faults, once")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the faults. Raises GateError naming those that missed, InputError when --only fits none."""
    from gaitd.bundle.read import open_bundle
    from gaitforge.common.tables import markdown
    from gaitforge.faults.catalog import FAULTS, QUICK
    from gaitforge.faults.fault import save_trials, summarize
    from gaitforge.faults.runner import run_faults
    from gaitforge.faults.starts import START_FAULTS, run_start_fault

    def wanted(name: str) -> bool:
        if options.quick:
            return name in QUICK
        return not options.only or any(part in name for part in options.only)

    faults = [fault for fault in FAULTS if wanted(fault.name)]
    starts = [fault for fault in START_FAULTS if wanted(fault.name)]
    if not faults and not starts:
        raise InputError(f"--only {options.only}: no fault has such a name")
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    everything: list[Judged] = []
    for each in run_faults(
        faults, 1 if options.quick else options.repeats, options.bundle, options.controller, output
    ):
        everything.append(each)
        print(_line(each), flush=True)
    judged = [each for each in everything if not each.void]
    rows: list[dict[str, Any]] = [
        summarize(fault, mine)
        for fault in faults
        if (mine := [each for each in judged if each.trial.fault == fault])
    ]
    for start in starts:
        rows.append(run_start_fault(start, options.bundle, output))
        print(f"{'ok  ' if rows[-1]['ok'] else 'MISS'} {start.name}: {rows[-1]['outcome']}", flush=True)
    manifest = open_bundle(options.bundle).manifest
    period_ms = manifest.control_period_s * 1000
    head = HEAD.format(
        count=len(judged) + len(starts),
        void=len(everything) - len(judged),
        policy=f"{manifest.name} {manifest.version}",
        period_ms=period_ms,
    )
    (output / "table.md").write_text(f"{head}\n{markdown([_in_ms(row, period_ms) for row in rows])}\n")
    (output / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    save_trials(output / "trials.tsv", everything)
    missed = [row["fault"] for row in rows if not row["ok"]]
    took_s = time.monotonic() - began_s
    print(
        f"{len(rows)} faults, {len(judged) + len(starts)} injections in {took_s:.0f} s, {len(missed)} missed"
    )
    print(f"{output}/table.md  {output}/table.json  {output}/trials.tsv")
    if missed:
        raise GateError("missed: " + "; ".join(missed))


def _in_ms(row: dict[str, Any], period_ms: float) -> dict[str, Any]:
    """The row with its times in milliseconds beside the periods."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        shown[name] = value
        if name in ("periods_median", "periods_max"):
            shown[name.replace("periods", "ms")] = round(value * period_ms, 1)
    return shown


def _line(each: Judged) -> str:
    verdict = "void" if each.void else "MISS" if each.misses else "ok  "
    text = f"{verdict} {each.trial.fault.name}: {each.reason}, {each.periods:.2f} periods, {each.outcome}"
    return text + ("" if not each.misses else f" -- {'; '.join(each.misses)}")
