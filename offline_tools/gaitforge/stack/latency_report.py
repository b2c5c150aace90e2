"""The benchmark's results: rows for programs, a table and a picture for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from gaitforge.stack.contenders import CLOSED, ECHO
from gaitforge.stack.latency import Measured, Results

matplotlib.use("Agg")

PERCENTILES = {"p50": 50.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
COLORS = {ECHO: "#7f8c8d", "python req/rep": "#c0392b", "gaitd zeromq": "#2980b9", "gaitd shm": "#2f7d4f"}


def write_report(results: Results, output: Path) -> None:
    """Write latency.json, memory.json and percentiles.png, and print the table."""
    rows = rows_of(results.measured)
    (output / "latency.json").write_text(json.dumps(rows, indent=2) + "\n")
    (output / "memory.json").write_text(json.dumps(results.memory_mb, indent=2) + "\n")
    plot(results.measured, output / "percentiles.png")
    for line in table(rows):
        print(line)
    parts = ", ".join(f"{name} {value:.0f}" for name, value in results.memory_mb.items())
    print(f"resident memory [MB]: {parts}\n{output}/latency.json  {output}/percentiles.png")


def rows_of(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row for each contender, rate and load.

    Times are of all rounds together. A ratio to the bare echo is taken in each round: the median of those,
    and the lowest and highest beside it.
    """
    return [_row(each, _echo_beside(each, measured)) for each in measured]


def _echo_beside(each: Measured, measured: Sequence[Measured]) -> Measured:
    return next(
        other
        for other in measured
        if other.contender == ECHO and (other.load, other.rate_hz) == (each.load, each.rate_hz)
    )


def _row(each: Measured, echo: Measured) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": each.contender, "load": each.load, "rate_hz": each.rate_hz}
    whole = each.whole
    for name, percentile in PERCENTILES.items():
        row[f"{name}_us"] = round(whole.get_value_at_percentile(percentile) / 1000, 1)
    for name in ("p50", "p99"):
        ratios = [
            mine.get_value_at_percentile(PERCENTILES[name]) / its.get_value_at_percentile(PERCENTILES[name])
            for mine, its in zip(each.rounds, echo.rounds, strict=True)
        ]
        row[f"{name}_ratio"] = [round(float(value), 2) for value in np.percentile(ratios, (50, 0, 100))]
    return {**row, "count": whole.get_total_count(), "lost": each.lost}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines for a terminal."""
    head = f"{'contender':16} {'load':5} {'Hz':>6} {'p50':>9} {'p99':>9} {'p99.9':>9} {'max':>9} us  lost"
    lines = [f"{head}  p50 / echo (of rounds)   p99 / echo"]
    for row in rows:
        rate = "closed" if row["rate_hz"] == CLOSED else f"{row['rate_hz']:.0f}"
        values = " ".join(f"{row[f'{name}_us']:9.1f}" for name in PERCENTILES)
        ratios = "   ".join(
            f"{middle:5.2f} ({least:.2f} to {most:.2f})"
            for middle, least, most in (row["p50_ratio"], row["p99_ratio"])
        )
        lines.append(
            f"{row['contender']:16} {row['load']:5} {rate:>6} {values}     {row['lost']:4}  {ratios}"
        )
    return lines


def plot(measured: Sequence[Measured], path: Path) -> None:
    """Latency over percentile, the percentiles stretched towards 100; a panel for each rate and load."""
    from matplotlib import pyplot

    rates = list(dict.fromkeys(each.rate_hz for each in measured))
    loads = list(dict.fromkeys(each.load for each in measured))
    figure, panels = pyplot.subplots(
        len(loads), len(rates), figsize=(4.2 * len(rates), 3.4 * len(loads)),
        squeeze=False, sharex=True, sharey=True,
    )  # fmt: skip
    ticks = [50.0, 90.0, 99.0, 99.9, 99.99]
    for each in measured:
        axes = panels[loads.index(each.load)][rates.index(each.rate_hz)]
        whole = each.whole
        missing = np.geomspace(1.0, 1.0 / max(2, whole.get_total_count()), 200)
        values = [whole.get_value_at_percentile(100.0 * (1.0 - part)) / 1000 for part in missing]
        axes.plot(1.0 / missing, values, label=each.contender, color=COLORS[each.contender], lw=1.6)
        rate = "closed loop" if each.rate_hz == CLOSED else f"{each.rate_hz:.0f} Hz"
        axes.set_title(f"{rate}, {each.load}", fontsize=10)
    for axes in panels.flat:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([100.0 / (100.0 - tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    for axes in panels[-1]:
        axes.set_xlabel("percentile")
    for row in panels:
        row[0].set_ylabel("publish() to the command [µs]")
    panels[0][0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
