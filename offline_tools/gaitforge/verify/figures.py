"""The report's figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gaitforge.verify.evaluation import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"float": "#4a4a4a", "fp16": "#0b7285", "int8": "#d9480f", "hybrid": "#5f3dc4", "torch": "#868e96"}


def _figure(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    # The object-oriented interface: pyplot would want a display and keep figures alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def histograms(result: Result) -> Figure:
    """Error of each joint's target over the inputs, in thousandths of its unit."""
    joints = result.action_error.joints
    count = len(joints.joints)
    columns = min(4, count)
    figure, axes = _figure(10, 1.9 * -(-count // columns), -(-count // columns), columns)
    for index, axis in enumerate(axes.flat):
        if index >= count:
            axis.set_visible(False)
            continue
        axis.hist(1e3 * joints.error[:, index], bins=60, histtype="stepfilled", color=COLORS.get(result.name))
        axis.set_title(f"{joints.joints[index]} [m{joints.units[index]}]", fontsize=8)
        axis.set_yscale("log")
        axis.tick_params(labelsize=7)
    figure.suptitle(result.name, fontsize=10)
    figure.supxlabel("error", fontsize=9)
    figure.supylabel("inputs", fontsize=9)
    return figure


def scatter(reference: Result, results: Sequence[Result]) -> Figure:
    """Every action against the float model's."""
    figure, axes = _figure(10, 3.6, 1, len(results), sharex=True, sharey=True)
    limits = [float(reference.actions.min()), float(reference.actions.max())]
    for axis, result in zip(axes.flat, results, strict=True):
        axis.plot(limits, limits, color="#adb5bd", linewidth=0.8)
        axis.plot(reference.actions.ravel(), result.actions.ravel(), ".", markersize=1.5, alpha=0.4,
                  color=COLORS.get(result.name))  # fmt: skip
        axis.set_title(result.name, fontsize=9)
        axis.set_xlabel("float action", fontsize=8)
        axis.set_ylabel(f"{result.name} action", fontsize=8)
        axis.tick_params(labelsize=7)
    return figure


def paths(results: Sequence[Result]) -> Figure:
    """Paths over the ground [m], and speed [m/s] over time. Every result has a closed loop."""
    figure, axes = _figure(10, 3.6, 1, 2)
    for result in results:
        assert result.closed_loop is not None
        for number, run in enumerate(result.closed_loop.runs):
            walking = run.trace.after_handover()
            position = run.trace.base_position[walking]
            time = run.trace.time_s[walking] - run.trace.handover_s
            style = {"color": COLORS.get(result.name), "linewidth": 1.0, "alpha": 0.7,
                     "label": result.name if number == 0 else None}  # fmt: skip
            axes[0, 0].plot(position[:, 0] - position[0, 0], position[:, 1] - position[0, 1], **style)
            speed = np.linalg.norm(run.trace.base_velocity[walking, :2], axis=1)
            if number == 0:
                window = max(1, len(speed) // 50)
                smooth = np.convolve(speed, np.ones(window) / window, mode="valid")
                axes[0, 1].plot(time[window - 1 :], smooth, **style)
    axes[0, 0].set(xlabel="forward [m]", ylabel="left [m]", title="paths, all seeds")
    axes[0, 0].axis("equal")
    axes[0, 1].set(xlabel="time [s]", ylabel="speed [m/s]", title="speed, seed 0, smoothed")
    axes[0, 1].legend(fontsize=8)
    return figure


def targets(results: Sequence[Result]) -> Figure:
    """Position targets [rad] of the first three joints over two seconds. Every result has a closed loop."""
    figure, axes = _figure(10, 4.5, 3, 1, sharex=True)
    for result in results:
        assert result.closed_loop is not None
        run = result.closed_loop.runs[0]
        trace = run.trace
        time = trace.time_s - trace.handover_s
        shown = (time >= 2.0) & (time <= 4.0)
        for index, (axis, joint) in enumerate(zip(axes.flat, run.joints, strict=False)):
            axis.plot(time[shown], trace.joint_target[shown, index], linewidth=1.0,
                      color=COLORS.get(result.name), label=result.name)  # fmt: skip
            axis.set_ylabel(f"{joint}\n[rad]", fontsize=7)
            axis.tick_params(labelsize=7)
    axes[2, 0].set_xlabel("time [s]", fontsize=8)
    axes[0, 0].legend(fontsize=7, ncols=len(results))
    return figure
