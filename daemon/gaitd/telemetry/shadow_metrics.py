"""What the newest shadow has told, as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gaitd.policy.limits import LIMIT_NAMES
from gaitd.shared.shadow import QUANTILES, ShadowReport, Verdict
from gaitd.telemetry.shadow_desk import ShadowDesk


class ShadowCollector(Collector):
    """Of a shadow that has ended, what it told last, until another one begins."""

    def __init__(self, desk: ShadowDesk) -> None:
        self._desk = desk

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        yield GaugeMetricFamily("gaitd_shadow_runs", "1 while a shadow runs.", value=float(self._desk.runs))
        report = self._desk.report
        if report is not None:
            yield from _of(report)


def _of(report: ShadowReport) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "gaitd_shadow",
        "The policy that is compared.",
        {"shadow": report.policy, "shadow_id": report.policy_id},
    )
    for name, text, count in (
        ("gaitd_shadow_steps", "Steps compared.", report.compared),
        ("gaitd_shadow_steps_missed", "Steps that the shadow came too late for.", report.missed),
        ("gaitd_shadow_steps_left_out", "Steps whose messages or past it did not know.", report.left_out),
        ("gaitd_shadow_another_policy", "Steps in which another policy walked.", report.another_policy),
        ("gaitd_shadow_one_only", "Steps in which only one of the two had a target.", report.one_only),
        ("gaitd_shadow_not_finite", "Actions of the shadow that were not finite.", report.not_finite),
        ("gaitd_shadow_errors", "Inferences of the shadow that failed.", report.errors),
        (
            "gaitd_shadow_refused",
            "Steps in which the shadow's own limits refuse the state or the action.",
            sum(report.refused.values()),
        ),
    ):
        yield CounterMetricFamily(name, text, value=count)
    clamped = CounterMetricFamily(
        "gaitd_shadow_joints_clamped", "Joint targets that its own limits would have held.", labels=["limit"]
    )
    for limit in LIMIT_NAMES:
        clamped.add_metric([limit], report.clamped.get(limit, 0))
    yield clamped
    for name, text, durations_s in (
        ("gaitd_shadow_step_seconds", "From a state to the shadow's target.", report.step_s),
        ("gaitd_shadow_cpu_seconds", "So much of a step the shadow computed.", report.cpu_s),
    ):
        duration = GaugeMetricFamily(name, text, labels=["quantile"])
        for quantile, value in zip(QUANTILES, durations_s, strict=True):
            duration.add_metric([f"{quantile:g}"], value)
        yield duration
    difference = GaugeMetricFamily(
        "gaitd_shadow_target_difference_radians",
        "Between the shadow's target and the one that was sent.",
        labels=["joint", "quantile"],
    )
    for joint, values in report.joints.items():
        for quantile, value in zip(QUANTILES, values, strict=True):
            difference.add_metric([joint, f"{quantile:g}"], value)
    yield difference
    verdict = GaugeMetricFamily("gaitd_shadow_verdict", "1 for the verdict that holds.", labels=["verdict"])
    for candidate in get_args(Verdict):
        verdict.add_metric([candidate.replace(" ", "_")], float(report.verdict == candidate))
    yield verdict
