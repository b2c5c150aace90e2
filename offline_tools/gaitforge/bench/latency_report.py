"""The comparison's results: rows for programs, a table and a picture for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from gaitforge.bench.block import CLOSED
from gaitforge.bench.contenders import CPP_ONNX, ECHO, THREAD
from gaitforge.bench.latency import Results
from gaitforge.bench.measured import PERCENTILES, Measured

matplotlib.use("Agg")

COLORS = {
    ECHO: "#7f8c8d", "in-process onnxruntime": "#8e44ad", THREAD: "#d2b4de",
    "embedded": "#16a085", CPP_ONNX: "#d68910", "python req/rep": "#c0392b", "gaitd zeromq": "#2980b9",
    "gaitd shm": "#2f7d4f",
}  # fmt: skip
REFERENCES = {"": ECHO, "_onnx": CPP_ONNX, "_thread": THREAD}
"""What ratios are to, by the end of their names."""
RATIOS = ("p50_ratio", "p99_ratio", "p50_ratio_onnx", "p50_ratio_thread")
"""Those in the table."""


def write_report(results: Results, output: Path) -> None:
    """Write latency.json, cpu.json, memory.json, latency.md and percentiles.png, and print the tables."""
    rows = rows_of(results.measured)
    memory = {"together": round(results.memory_mb, 1)}
    for name, content in (("latency", rows), ("cpu", results.cpu), ("memory", memory)):
        (output / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    plot(results.measured, output / "percentiles.png")
    lines = [*table(rows), "", *cpu_table(results.cpu), "", f"Memory: {results.memory_mb:.0f} MB"]
    (output / "latency.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"{output}/latency.json  {output}/latency.md  {output}/percentiles.png")


def rows_of(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row for each contender, rate and load.

    Times are of all rounds together. A ratio to a reference is taken in each round: the median of those, and
    the lowest and highest beside it.
    """
    return [_row(each, measured) for each in measured]


def _row(each: Measured, measured: Sequence[Measured]) -> dict[str, Any]:
    row: dict[str, Any] = {"contender": each.contender, "load": each.load, "rate_hz": each.rate_hz}
    row |= each.times()
    for end, reference in REFERENCES.items():
        for other in measured:
            if other.contender == reference and (other.load, other.rate_hz) == (each.load, each.rate_hz):
                for name in ("p50", "p99"):
                    row[f"{name}_ratio{end}"] = each.ratio(other, name)
    return row


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| contender | load | Hz | p50 µs | p99 | p99.9 | max | states | superseded | refused | lost "
        "| CPU % | p50 / echo (of rounds) | p99 / echo | p50 / c++ zeromq onnxruntime | p50 / in a thread |",
        "|" + "---|" * 16,
    ]
    for row in rows:
        rate = "closed" if row["rate_hz"] == CLOSED else f"{row['rate_hz']:.0f}"
        values = [f"{row[f'{name}_us']:.1f}" for name in PERCENTILES]
        fates = [str(row[name]) for name in ("published", "superseded", "refused", "lost")]
        cpu = "" if row["cpu_percent"] is None else f"{row['cpu_percent']:.1f}"
        ratios = [_ratio(row.get(name)) for name in RATIOS]
        cells = [row["contender"], row["load"], rate, *values, *fates, cpu, *ratios]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _ratio(ratio: list[float] | None) -> str:
    return "" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"


def cpu_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: what the whole daemon takes of one core."""
    lines = ["| gaitd shm, idle | Hz | CPU % | of which | p50 µs | p99 |", "|---|---|---|---|---|---|"]
    for row in rows:
        parts = ", ".join(
            f"{name.removeprefix('gaitd-')} {part:.1f}" for name, part in row["processes"].items()
        )
        whole, times = f"{row['cpu_percent']:.1f}", f"{row['p50_us']:.1f} | {row['p99_us']:.1f}"
        lines.append(f"| {row['setting']} | {row['rate_hz']:.0f} | {whole} | {parts} | {times} |")
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
