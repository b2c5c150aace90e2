"""report.html: everything in one file that opens without a network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gaitd.policy.action import ActionMapper
from gaitd.policy.contract import Float32Array, Manifest
from gaitforge.verify.evaluation import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"float": "#4a4a4a", "fp16": "#0b7285", "int8": "#d9480f", "hybrid": "#5f3dc4", "torch": "#868e96"}

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #212529; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .8rem 0; } th, td { padding: .25rem .8rem; text-align: right; }
th { border-bottom: 1px solid #868e96; font-weight: 600; }
td:first-child, th:first-child { text-align: left; }
tbody tr:nth-child(even) { background: #f1f3f5; } img { max-width: 100%; }
.verdict { display: inline-block; padding: .2rem .8rem; border-radius: .3rem; color: #fff; font-weight: 600; }
.pass { background: #2b8a3e; } .fail { background: #c92a2a; } .muted { color: #868e96; }
td, th { font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class Report:
    """What the page shows."""

    manifest: Manifest
    results: Sequence[Result]
    """The float model first."""
    inputs: Float32Array
    """(N, observation_dim) the common inputs."""
    failures: Sequence[str]
    facts: dict[str, str]
    """Names and values for the foot of the page."""


def render(report: Report) -> str:
    """Return the page."""
    verdict = "fail" if report.failures else "pass"
    others = [result for result in report.results if result.name != "float"]
    parts = [
        f"<h1>{html.escape(report.manifest.name)} {html.escape(report.manifest.version)}</h1>",
        f'<p class="muted">Verification of the converted policy against the float model, '
        f"{len(report.inputs)} common inputs.</p>",
        f'<p><span class="verdict {verdict}">gate: {verdict}</span></p>',
        *(f"<p>{html.escape(failure)}</p>" for failure in report.failures),
        "<h2>In numbers</h2>",
        _summary_table(report.results),
        "<h2>Error of the joint position targets</h2>",
        _joint_table(report.manifest, others),
    ]
    if others:
        parts += [
            *(_image(_histograms(report, result), f"Error histograms of {result.name}") for result in others),
            "<h2>Actions against the float model's</h2>",
            _image(_scatter(report.results[0], others), "Scatter of converted against float actions"),
        ]
        parts += [_worst(report, result) for result in others]
    walked = [result for result in report.results if result.closed_loop is not None]
    if walked:
        parts += [
            "<h2>Closed loop</h2>",
            _image(_paths(walked), "Paths over the ground, and forward speed over time"),
            _image(_targets(report.manifest, walked), "Joint position targets of one leg over two seconds"),
        ]
    facts = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in report.facts.items()
    )
    parts += ["<h2>Made from</h2>", f"<table><tbody>{facts}</tbody></table>"]
    title = html.escape(f"{report.manifest.name} {report.manifest.version}: verification")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _summary_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        error, loop = result.action_error, result.closed_loop
        row = [result.name, f"{error.mean:.5f}", f"{error.max:.4f}", f"{error.cosine_min:.5f}"]
        if loop is None:
            row += ["-"] * 6
        else:
            row += [
                f"{loop.action_mean:.5f}",
                f"{loop.action_max:.4f}",
                f"{loop.distance_m:.2f}",
                str(loop.falls),
                f"{loop.velocity_rmse:.3f}",
                f"{loop.yaw_bias:+.4f}",
            ]
        rows.append(row)
    head = ["", "mean error", "max error", "min cosine", "closed loop: mean", "max", "distance [m]", "falls",
            "velocity RMSE [m/s]", "yaw bias [rad/s]"]  # fmt: skip
    return _table(head, rows)


def _joint_table(manifest: Manifest, results: Sequence[Result]) -> str:
    head = [
        "joint",
        *(f"{result.name} {what} [mrad]" for result in results for what in ("mean", "bias", "max")),
    ]
    rows = []
    for index, joint in enumerate(manifest.joints):
        row = [joint]
        for result in results:
            error = result.action_error
            figures = (error.joint_mean_rad[index], error.joint_bias_rad[index], error.joint_worst_rad[index])
            row += [f"{1e3 * float(figure):.2f}" for figure in figures]
        rows.append(row)
    return _table(head, rows)


def _worst(report: Report, result: Result) -> str:
    error = result.action_error
    row, joint = error.worst_row, error.worst_joint
    values = ", ".join(f"{float(value):.3g}" for value in report.inputs[row])
    return (
        f"<p>Worst input of {html.escape(result.name)}: row {row}, {report.manifest.joints[joint]}, action "
        f"{float(result.actions[row, joint]):.3f} against {float(report.results[0].actions[row, joint]):.3f}."
        f"<br><small class='muted'>{values}</small></p>"
    )


def _figure(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    # The object-oriented interface: pyplot would want a display and keep figures alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _histograms(report: Report, result: Result) -> Figure:
    mapper = ActionMapper(report.manifest)
    reference = mapper.target(mapper.clip(report.results[0].actions))
    errors = 1e3 * (mapper.target(mapper.clip(result.actions)) - reference)
    count = len(report.manifest.joints)
    columns = min(4, count)
    figure, axes = _figure(10, 1.9 * -(-count // columns), -(-count // columns), columns)
    for index, axis in enumerate(axes.flat):
        if index >= count:
            axis.set_visible(False)
            continue
        axis.hist(errors[:, index], bins=60, histtype="stepfilled", color=COLORS.get(result.name))
        axis.set_title(report.manifest.joints[index], fontsize=8)
        axis.set_yscale("log")
        axis.tick_params(labelsize=7)
    figure.suptitle(result.name, fontsize=10)
    figure.supxlabel("error [mrad]", fontsize=9)
    figure.supylabel("inputs", fontsize=9)
    return figure


def _scatter(reference: Result, results: Sequence[Result]) -> Figure:
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


def _paths(results: Sequence[Result]) -> Figure:
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


def _targets(manifest: Manifest, results: Sequence[Result]) -> Figure:
    from gaitforge.simulate.model import JOINTS

    figure, axes = _figure(10, 4.5, 3, 1, sharex=True)
    for result in results:
        assert result.closed_loop is not None
        trace = result.closed_loop.runs[0].trace
        time = trace.time_s - trace.handover_s
        shown = (time >= 2.0) & (time <= 4.0)
        for axis, index in zip(axes.flat, range(3), strict=True):
            axis.plot(time[shown], trace.joint_target[shown, index], linewidth=1.0,
                      color=COLORS.get(result.name), label=result.name)  # fmt: skip
            axis.set_ylabel(f"{JOINTS[index]}\n[rad]", fontsize=7)
            axis.tick_params(labelsize=7)
    axes[2, 0].set_xlabel("time [s]", fontsize=8)
    axes[0, 0].legend(fontsize=7, ncols=len(results))
    return figure


def _image(figure: Figure, text: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'
