"""Command age and mode over time, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np

from gaitforge.stack.ticks import Ticks

matplotlib.use("Agg")

COLORS = {"idle": "#c8ccd0", "active": "#2f7d4f", "damping": "#c0392b"}


def plot_run(ticks: Ticks, faults_ns: Mapping[str, int], path: Path) -> None:
    """Draw the age of the command in force at every tick, over bands that show the mode.

    Close by: around each of the faults, which are named. Times count from the session's first command, as
    those of gaitctl explain do from its activate.
    """
    from matplotlib import pyplot, ticker

    zero_ns = ticks.session_begin_ns()
    time_s = (ticks.time_ns - zero_ns) / 1e9
    faults_s = [(fault_ns - zero_ns) / 1e9 for fault_ns in faults_ns.values()]
    arrivals = ticks.arrivals()
    replaced = arrivals[1:] - 1
    widths = (3, *([2] * len(faults_s)))
    figure, panels = pyplot.subplots(
        1, len(widths), figsize=(2.15 * sum(widths), 3.6), width_ratios=widths, sharey=True
    )
    whole, *close = panels
    for axes in panels:
        for mode, color in COLORS.items():
            axes.fill_between(
                time_s,
                0,
                1,
                where=ticks.mode == mode,
                color=color,
                alpha=0.18,
                lw=0,
                transform=axes.get_xaxis_transform(),
                label=mode,
            )
        for fault_s in faults_s:
            axes.axvline(fault_s, color="black", lw=1, ls="--")
        axes.set_xlabel("time after the session's first command [s]")
        axes.grid(alpha=0.25)
    whole.plot(time_s[arrivals], ticks.age_us[arrivals] / 1000.0, ".", ms=2, color="#1b4f72", label="new")
    whole.plot(
        time_s[replaced], ticks.age_us[replaced] / 1000.0, ".", ms=2, color="#ca8a04", label="replaced"
    )
    whole.set_ylabel("age of the command in force [ms]")
    whole.set_ylim(bottom=0.0)
    whole.set_title("when a command came into force, and when it was replaced")
    whole.legend(loc="center left", fontsize=8, framealpha=0.9, markerscale=4)
    for axes, fault_s, what in zip(close, faults_s, faults_ns, strict=True):
        in_force = np.where(ticks.mode == "active", ticks.age_us / 1000.0, np.nan)
        axes.plot(time_s, in_force, color="#1b4f72", lw=0.9)
        axes.set_xlim(fault_s - 0.1, fault_s + 0.1)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
        axes.set_title(f"every tick: {what}")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
