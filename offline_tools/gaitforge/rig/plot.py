"""Command age and mode over time, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from gaitforge.rig.ticks import Ticks

matplotlib.use("Agg")

COLORS = {"idle": "#c8ccd0", "active": "#2f7d4f", "damping": "#c0392b"}


def plot_run(ticks: Ticks, fault_ns: int, path: Path) -> None:
    """Draw the age of the command in force at every tick, over bands that show the mode."""
    from matplotlib import pyplot

    time_s = (ticks.time_ns - ticks.time_ns[0]) / 1e9
    active = ticks.mode == "active"
    figure, (whole, close) = pyplot.subplots(1, 2, figsize=(12, 3.6), width_ratios=(3, 2), sharey=True)
    fault_s = (fault_ns - int(ticks.time_ns[0])) / 1e9
    for axes in (whole, close):
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
        axes.plot(time_s, np.where(active, ticks.age_us / 1000.0, np.nan), color="#1b4f72", lw=0.7)
        axes.axvline(fault_s, color="black", lw=1, ls="--")
        axes.set_xlabel("time [s]")
        axes.grid(alpha=0.25)
    whole.set_ylabel("age of the command in force [ms]")
    whole.set_title("the whole run")
    whole.legend(loc="upper left", fontsize=8, framealpha=0.9)
    close.set_xlim(fault_s - 0.1, fault_s + 0.06)
    close.set_title("the worker is killed (dashed)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
