"""A tally as a report: for telemetry, files and people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gaitd.bundle.read import Bundle
from gaitd.ctl.shadow.tally import Tally
from gaitd.ctl.shadow.terms import TermComparison
from gaitd.ctl.shadow.verdict import Bound, judge
from gaitd.errors import InputError, printable
from gaitd.policy.manifest import Manifest
from gaitd.shared.shadow import QUANTILES, ShadowReport

MAX_NAME = 100


class Pair(NamedTuple):
    """Who is compared with whom, and against what."""

    candidate: Bundle
    of: str
    """Name and version of the policy that walks."""
    of_id: str
    bound: Bound

    @property
    def name(self) -> str:
        """Name and version of the candidate."""
        manifest = self.candidate.manifest
        return printable(f"{manifest.name} {manifest.version}", MAX_NAME)


def check_pair(bundle: Bundle, walking: Manifest) -> None:
    """Raise InputError when the candidate's steps are none of the policy's that walks."""
    own_s, their_s = bundle.manifest.control_period_s, walking.control_period_s
    if bundle.manifest.robot != walking.robot or own_s != their_s:
        raise InputError(
            f"{bundle.path}: is for robot {bundle.manifest.robot!r} with a control period of {own_s:g} s, "
            f"{walking.name} is for {walking.robot!r} with {their_s:g} s"
        )


def report_of(pair: Pair, tally: Tally, terms: TermComparison) -> ShadowReport:
    """All that is known."""
    verdict, why = judge(tally, pair.bound)
    differences, mean = tally.differences.quantiles, tally.differences.mean
    step_s, cpu_s = tally.durations.quantiles.tolist()
    return ShadowReport(
        policy=pair.name,
        policy_id=pair.candidate.policy_id,
        of=printable(pair.of, MAX_NAME),
        of_id=pair.of_id[:MAX_NAME],
        verdict=verdict,
        why=printable(why),
        against=printable(pair.bound.source),
        compared=tally.compared,
        missed=tally.missed,
        left_out=tally.left_out,
        another_policy=tally.another_policy,
        one_only=tally.one_only,
        not_finite=tally.not_finite,
        errors=tally.errors,
        refused=dict(tally.refused),
        clamped=dict(tally.clamped),
        step_s=step_s,
        cpu_s=cpu_s,
        joints={joint: differences[place].tolist() for place, joint in enumerate(tally.joints)},
        mean_rad={joint: float(mean[place]) for place, joint in enumerate(tally.joints)},
        term=printable(terms.describe()),
    )


def one_line(report: ShadowReport) -> str:
    """How it does, while it runs."""
    late = f", {report.missed} MISSED" if report.missed else ""
    late += f", {report.another_policy} of another policy" if report.another_policy else ""
    return (
        f"{report.compared} steps compared{late}, {report.step_s[-2] * 1e3:.2f} ms for 99 of 100: "
        f"{report.verdict}: {report.why}"
    )


def in_words(report: ShadowReport, period_s: float) -> str:
    """The whole report."""
    return "\n".join(map(printable, _lines(report, period_s)))


def _lines(report: ShadowReport, period_s: float) -> Iterator[str]:
    who = f"{report.policy} ({report.policy_id}) beside {report.of} ({report.of_id})"
    yield f"{who}: {report.verdict.upper()}"
    yield f"  {report.why}"
    yield f"  against {report.against}"
    if report.term and report.verdict not in ("equivalent", "too few"):
        yield f"  {report.term}"
    yield (
        f"steps        {report.compared} compared, {report.missed} missed, {report.left_out} left out (their "
        f"messages or their past are not known), {report.one_only} in which only one of the two has a target"
    )
    if report.another_policy:
        another = f"another policy than {report.of} walked"
        yield f"             {report.another_policy} more left out, in which {another}"
    yield f"failures     {report.not_finite} actions not finite, {report.errors} inferences failed"
    refused = ", ".join(f"{name} {count}" for name, count in sorted(report.refused.items()))
    yield f"refused      {refused or 'nothing'} (by the candidate's own limits)"
    clamped = ", ".join(f"{name} {count}" for name, count in sorted(report.clamped.items()) if count)
    yield f"clamped      {clamped or 'nothing'} (joints that its own limits would have held back)"
    yield f"one step     {_times(report.step_s)} ms here, of {period_s * 1e3:g} ms ({_quantile_names()})"
    yield f"  computing  {_times(report.cpu_s)} ms of it; the rest it waited for the CPU"
    yield f"difference of the targets, rad: mean, {_quantile_names()}"
    for joint, values in report.joints.items():
        numbers = " ".join(f"{value:10.4g}" for value in (report.mean_rad[joint], *values))
        yield f"  {joint:20} {numbers}"


def _times(durations_s: Sequence[float]) -> str:
    return " ".join(f"{value * 1e3:8.3f}" for value in durations_s)


def _quantile_names() -> str:
    names = [f"{100 * quantile:g} %" for quantile in QUANTILES[:-1]]
    return ", ".join([*names, "largest"])
