"""report.json and report.html of a verification."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from gaitd import __version__
from gaitd.bundle.describe import with_other_bounds
from gaitd.errors import GateError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.common import console, files
from gaitforge.parity import report as parity_report
from gaitforge.verify import evaluation, html_report
from gaitforge.verify.captured import Parity
from gaitforge.verify.evaluation import Result
from gaitforge.verify.failover import failover_failures, failovers_summary, mean_ratios
from gaitforge.verify.gate import Gate, other_bounds
from gaitforge.verify.landing import Landing
from gaitforge.verify.walking import Walk


@dataclass(frozen=True)
class Verdict:
    """What came out."""

    results: list[Result]
    """float first."""
    failures: list[str]
    fp16_layers: list[str] | None
    """The layers that a search kept in float16."""
    versions: dict[str, str]
    bounds: Gate
    tour: Walk | None
    """How the float model followed every kind of command; None where nobody walked."""
    parity: Parity | None
    """How the policy differs from what its trainer did; None without a capture."""
    landings: list[Landing]
    """How the robot went down when it was let go out of a walk; empty where nobody walked."""


def write_reports(
    directory: Path, manifest: Manifest, inputs: Float32Array, verdict: Verdict, facts: dict[str, str]
) -> None:
    """Write report.json and report.html, and print the numbers."""
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {**facts, "date": date, "gaitforge": __version__, **verdict.versions}
    if verdict.fp16_layers is not None:
        facts["layers in float16"] = ", ".join(verdict.fp16_layers)
    others = other_bounds(verdict.bounds)
    document = {
        "format": 1,
        "policy": {"name": manifest.name, "version": manifest.version},
        "precisions": {result.name: evaluation.summary(result) for result in verdict.results},
        "joints": {result.name: _by_joint(result, verdict.bounds) for result in verdict.results[1:]},
        "inputs": len(inputs),
        "tour": None if verdict.tour is None else asdict(verdict.tour),
        "parity": None
        if verdict.parity is None
        else parity_report.as_json(verdict.parity.comparison, manifest, verdict.parity.capture),
        "landings": [asdict(landing) for landing in verdict.landings],
        "failovers": {
            result.name: failovers_summary(result.failovers, verdict.bounds.failover_tracking)
            for result in verdict.results
            if result.failovers
        },
        "gate": {
            "passed": not verdict.failures,
            "failures": verdict.failures,
            "other_bounds": others,
        },
        "bounds": msgspec.to_builtins(verdict.bounds),
        "made_from": facts,
    }
    files.write_text(directory / "report.json", json.dumps(document, indent=2) + "\n")
    with console.step("Drawing the report"):
        page = html_report.render(
            html_report.Report(
                manifest,
                verdict.results,
                inputs,
                verdict.failures,
                facts,
                verdict.bounds,
                verdict.tour,
                verdict.parity,
            )
        )
        files.write_text(directory / "report.html", page)
    console.say(console.table(_rows(verdict.results, verdict.bounds)))
    for line in _ways(verdict):
        console.say(line)
    console.say(_parity_in_words(verdict.parity, manifest))
    for failure in verdict.failures:
        console.say(f"failed: {failure}")
    console.say(f"gate: {'failed' if verdict.failures else 'passed'}{with_other_bounds(others)}")
    console.say(f"wrote {directory / 'report.json'} and {directory / 'report.html'}")


def require_passed(verdict: Verdict, page: Path) -> None:
    """Raise GateError where the gate failed; what failed was printed one by one."""
    if verdict.failures:
        raise GateError(f"the gate failed, as said above and in {page}")


def _ways(verdict: Verdict) -> Iterator[str]:
    """Who walked how far in which direction."""
    for result in verdict.results:
        for walk in result.closed_loop.walks if result.closed_loop else ():
            yield f"{result.name}, seed {walk.seed}: {walk.outcome}; in {walk.seconds:g} s {walk.way()}"
    for result in verdict.results:
        for kind, ratio in mean_ratios(result.failovers).items():
            walks = [walk for walk in result.failovers if walk.kind == kind]
            kept = sum(walk.kept_up for walk in walks)
            yield (
                f"{result.name}, failover after a {kind}: kept its feet {kept} of {len(walks)} times, "
                f"velocity error {ratio:.3g} times that without one"
            )
        for failure in failover_failures(result.failovers, verdict.bounds.failover_tracking):
            yield f"note: {result.name}, {failure}: gaitd has no standby for it unless it is told to"
    for landing in verdict.landings:
        yield f"fallback damping, seed {landing.seed}: let go out of a walk, the robot {landing.describe()}"
    if verdict.tour is not None:
        for leg in verdict.tour.legs:
            yield f"float, {leg.start_s:g} to {leg.end_s:g} s: {leg.describe()}"


def _parity_in_words(parity: Parity | None, manifest: Manifest) -> str:
    if parity is None:
        return "parity: no capture, so the observation's terms are not proven (gaitforge capture)"
    verdict = "equal" if parity.comparison.equal else "different"
    rows = [parity_report.HEAD, *parity_report.rows(parity.comparison, manifest)]
    return f"{console.table(rows)}\nparity with {len(parity.capture)} captured steps: {verdict}"


def _by_joint(result: Result, bounds: Gate) -> dict[str, object]:
    joints = result.action_error.joints
    worst = joints.worst(joints.largest, bounds.joint_max(result.name)).joint
    return {
        "worst_input": joints.worst_row(worst),
        "worst_joint": joints.joints[worst],
        **joints.as_json(),
    }


def _rows(results: Sequence[Result], bounds: Gate) -> list[list[str]]:
    rows = [["", "mean error", "max error", "min cosine", "worst joint", "loop mean", "loop max",
             "distance [m]", "falls", "velocity RMSE", "yaw bias"]]  # fmt: skip
    for result in results:
        error, loop = result.action_error, result.closed_loop
        worst = error.joints.worst(error.joints.largest, bounds.joint_max(result.name))
        row = [result.name, f"{error.mean:.5f}", f"{error.max:.4f}", f"{error.cosine_min:.5f}",
               f"{worst.error:.4f} {error.joints.units[worst.joint]}"]  # fmt: skip
        if loop is not None:
            row += [f"{loop.action_mean:.5f}", f"{loop.action_max:.4f}", f"{loop.distance_m:.2f}",
                    str(loop.falls), f"{loop.velocity_rmse:.3f}", f"{loop.yaw_bias:+.4f}"]  # fmt: skip
        rows.append([*row, *["-"] * (len(rows[0]) - len(row))])
    return rows
