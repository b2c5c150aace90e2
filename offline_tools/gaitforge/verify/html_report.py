"""report.html: everything in one file that opens without a network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from gaitd.bundle.describe import with_other_bounds
from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.parity import report as parity_report
from gaitforge.verify import figures
from gaitforge.verify.captured import Parity
from gaitforge.verify.evaluation import Result
from gaitforge.verify.gate import Gate, other_bounds
from gaitforge.verify.joint_errors import JointErrors
from gaitforge.verify.walking import Walk, in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = "report.html.j2"


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
    bounds: Gate = field(default_factory=Gate)
    tour: Walk | None = None
    """How the float model followed every kind of command, where it was walked."""
    parity: Parity | None = None
    """How the policy differs from what its trainer did, where that was captured."""


@dataclass(frozen=True)
class _Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class _Image:
    text: str
    """What it shows, for whoever cannot see it."""
    png_base64: str


@dataclass(frozen=True)
class _WorstInput:
    """The input on which a result is farthest from the float model."""

    name: str
    row: int
    joint: str
    action: float
    reference: float
    inputs: Sequence[str]


def render(report: Report) -> str:
    """Return the page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gaitforge.verify", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    manifest, floating = report.manifest, report.results[0]
    others = [result for result in report.results if result.name != "float"]
    walked = [result for result in report.results if result.closed_loop is not None]
    return environment.get_template(TEMPLATE).render(
        name=manifest.name,
        version=manifest.version,
        input_count=len(report.inputs),
        verdict="fail" if report.failures else "pass",
        other_bounds=with_other_bounds(other_bounds(report.bounds)),
        failures=report.failures,
        summary=_summary_table(report.results),
        joints=_joint_table(floating.action_error.joints, others),
        histograms=[
            _image(figures.histograms(result), f"Error histograms of {result.name}") for result in others
        ],
        scatter=_image(figures.scatter(floating, others), "Scatter of converted against float actions")
        if others
        else None,
        worst_inputs=[_worst_input(report, result) for result in others],
        walks=_walk_table(report.results),
        tour=_tour_table(report.tour) if report.tour is not None else None,
        closed_loop=[
            _image(figures.paths(walked), "Paths over the ground, and forward speed over time"),
            _image(figures.targets(walked), "Joint position targets of one leg over two seconds"),
        ]
        if walked
        else [],
        captured_steps=len(report.parity.capture) if report.parity is not None else 0,
        parity=_Table(parity_report.HEAD, parity_report.rows(report.parity.comparison, manifest))
        if report.parity is not None
        else None,
        bounds=_bounds_table(report.bounds),
        facts=_Table((), list(report.facts.items())),
    )


def _walk_table(results: Sequence[Result]) -> _Table:
    """Who walked how far in which direction."""
    rows = [
        [
            result.name,
            str(walk.seed),
            walk.outcome,
            f"{walk.seconds:g}",
            f"{walk.forward_m:+.2f}",
            f"{walk.left_m:+.2f}",
            f"{math.degrees(walk.turned_rad):+.0f}",
        ]
        for result in results
        for walk in (result.closed_loop.walks if result.closed_loop is not None else ())
    ]
    return _Table(("", "seed", "outcome", "time [s]", "forward [m]", "left [m]", "turned left [deg]"), rows)


def _tour_table(tour: Walk) -> _Table:
    rows = [
        [f"{leg.start_s:g} to {leg.end_s:g} s", in_words(leg.asked), in_words(leg.walked)]
        for leg in tour.legs
    ]
    return _Table((f"{tour.outcome}, seed {tour.seed}", "asked to", "did"), rows)


def _bounds_table(bounds: Gate) -> _Table:
    rows = []
    for name, value in msgspec.to_builtins(bounds).items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        rows += [[f"{name} {key}".strip().replace("_", " "), f"{bound:g}"] for key, bound in parts]
    return _Table(("bound", "value"), rows)


def _summary_table(results: Sequence[Result]) -> _Table:
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
    return _Table(head, rows)


def _joint_table(own: JointErrors, results: Sequence[Result]) -> _Table:
    """Errors by joint, in thousandths of its unit."""
    head = ["joint", "", *(f"{result.name} {what}" for result in results for what in ("mean", "bias", "max"))]
    every = [result.action_error.joints for result in results]
    columns = [1e3 * values for joints in every for values in (joints.mean, joints.bias, joints.largest)]
    return _Table(
        head,
        [
            [joint, f"m{unit}", *(f"{float(column[index]):.2f}" for column in columns)]
            for index, (joint, unit) in enumerate(zip(own.joints, own.units, strict=True))
        ],
    )


def _worst_input(report: Report, result: Result) -> _WorstInput:
    joints, moved = result.action_error.joints, report.manifest.moved_joints
    joint = joints.worst(joints.largest, report.bounds.joint_max(result.name)).joint
    name, row = joints.joints[joint], joints.worst_row(joint)
    # A joint that is held has no error; with no error at all it may be the first joint.
    place = moved.index(name) if name in moved else 0
    return _WorstInput(
        name=result.name,
        row=row,
        joint=moved[place],
        action=float(result.actions[row, place]),
        reference=float(report.results[0].actions[row, place]),
        inputs=[f"{float(value):.3g}" for value in report.inputs[row]],
    )


def _image(figure: Figure, text: str) -> _Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _Image(text, base64.b64encode(buffer.getvalue()).decode())
