"""Command age and mode over time, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from gaitforge.stack.ticks import Ticks

matplotlib.use("Agg")

COLORS = {"idle": "#c8ccd0", "active": "#2f7d4f", "damping": "#c0392b"}


def plot_run(ticks: Ticks, failover_ns: int, fault_ns: int, path: Path) -> None:
    """Draw the age of the command in force at every tick, over bands that show the mode.

    Close by: around the worker's death and around the standby's.
    """
    from matplotlib import pyplot

    time_s = (ticks.time_ns - ticks.time_ns[0]) / 1e9
    deaths_s = [(death_ns - int(ticks.time_ns[0])) / 1e9 for death_ns in (failover_ns, fault_ns)]
    arrivals = ticks.arrivals()
    replaced = arrivals[1:] - 1
    figure, panels = pyplot.subplots(1, 3, figsize=(15, 3.6), width_ratios=(3, 2, 2), sharey=True)
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
        for death_s in deaths_s:
            axes.axvline(death_s, color="black", lw=1, ls="--")
        axes.set_xlabel("time [s]")
        axes.grid(alpha=0.25)
    whole.plot(time_s[arrivals], ticks.age_us[arrivals] / 1000.0, ".", ms=2, color="#1b4f72", label="new")
    whole.plot(
        time_s[replaced], ticks.age_us[replaced] / 1000.0, ".", ms=2, color="#ca8a04", label="replaced"
    )
    whole.set_ylabel("age of the command in force [ms]")
    whole.set_ylim(bottom=0.0)
    whole.set_title("when a command came into force, and when it was replaced")
    whole.legend(loc="center left", fontsize=8, framealpha=0.9, markerscale=4)
    for axes, death_s, who in zip(close, deaths_s, ("worker", "standby"), strict=True):
        in_force = np.where(ticks.mode == "active", ticks.age_us / 1000.0, np.nan)
        axes.plot(time_s, in_force, color="#1b4f72", lw=0.9)
        axes.set_xlim(death_s - 0.1, death_s + 0.06)
        axes.set_title(f"every tick: the {who} is killed")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
