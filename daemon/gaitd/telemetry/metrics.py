"""The blackboard as Prometheus metrics, in base units."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import gaitd
from gaitd.policy.admission import Refusal
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.shared.blackboard import Blackboard
from gaitd.shared.telemetry_launch import TelemetryOrder
from gaitd.wire.contract import Mode, Reason

BUCKETS_OF_PERIOD = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Histogram buckets as multiples of the control period."""


class StepHistograms:
    """Fed from the ring of step records."""

    def __init__(self, registry: CollectorRegistry, period_s: float) -> None:
        def histogram(name: str, text: str) -> Histogram:
            buckets = [period_s * factor for factor in BUCKETS_OF_PERIOD]
            return Histogram(name, text, buckets=buckets, registry=registry)

        self._age = histogram(
            "gaitd_command_age_seconds", "From the state's own stamp to the command's publication."
        )
        self._transport = histogram(
            "gaitd_state_transport_seconds", "From the state's own stamp to its reception."
        )
        self._inference = histogram("gaitd_inference_seconds", "Observation and inference.")
        self._interval = histogram("gaitd_step_interval_seconds", "Between commands of one session.")
        self._last = (0, 0)

    def feed(self, board: Blackboard, index: int) -> int:
        """Observe the records after ``index``; returns the index to go on from."""
        records, newest = board.read_since(index)
        for record in records:
            stamp, publish = int(record["state_stamp_ns"]), int(record["publish_ns"])
            session = int(record["session"])
            self._age.observe((publish - stamp) / 1e9)
            self._transport.observe((int(record["receive_ns"]) - stamp) / 1e9)
            self._inference.observe((int(record["infer_end_ns"]) - int(record["infer_start_ns"])) / 1e9)
            if session == self._last[0]:
                self._interval.observe((publish - self._last[1]) / 1e9)
            self._last = (session, publish)
        return newest


class BlackboardCollector(Collector):
    """Counters and gauges, read from the blackboard at each scrape."""

    def __init__(self, board: Blackboard, order: TelemetryOrder) -> None:
        self._board = board
        self._order = order

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        worker, guard = self._board.worker, self._board.guard
        yield InfoMetricFamily(
            "gaitd",
            "What runs.",
            {
                "version": gaitd.__version__,
                "policy": self._order.policy["name"],
                "policy_version": self._order.policy["version"],
                "policy_id": self._order.policy["id"],
                "backend": self._order.backend,
            },
        )
        for name, word, text in (
            ("gaitd_states_received", "received", "State messages received, of any kind."),
            ("gaitd_states_standby", "standby", "States received before activate."),
            ("gaitd_states_missed", "missed", "Sequence numbers that never came."),
            ("gaitd_states_superseded", "superseded", "States taken into the history; a newer was answered."),
            ("gaitd_commands_withheld", "withheld", "Commands not published because the session was over."),
            ("gaitd_steps", "steps", "Commands published."),
            (
                "gaitd_late_steps",
                "late_steps",
                "Commands published more than a period after the state's stamp.",
            ),
        ):
            yield CounterMetricFamily(name, text, value=worker[word])
        yield _by("gaitd_states_refused", "States refused.", "why", _names(Refusal), worker.row("refused"))
        yield _by("gaitd_actions_rejected", "Rejected.", "reason", _names(Reason), worker.row("rejected"))
        yield _by("gaitd_joints_clamped", "Joint targets held.", "limit", LIMIT_NAMES, worker.row("clamped"))
        yield _by(
            "gaitd_damping", "Times damping began.", "reason", _names(Reason), guard.row("damping_by_reason")
        )
        yield CounterMetricFamily(
            "gaitd_control_requests", "Requests on the control channel.", value=guard["control_requests"]
        )
        yield CounterMetricFamily(
            "gaitd_control_refused", "Requests refused.", value=guard["control_refused"]
        )
        yield CounterMetricFamily(
            "gaitd_worker_starts", "Worker processes started.", value=guard["worker_starts"]
        )
        mode = GaugeMetricFamily("gaitd_mode", "1 for the mode that holds.", labels=["mode"])
        for candidate in Mode:
            mode.add_metric([candidate.name.lower()], float(guard["mode"] == candidate))
        yield mode
        yield GaugeMetricFamily("gaitd_worker_ready", "The worker is ready.", value=worker["ready"])


def _names(kind: type[Refusal] | type[Reason]) -> list[str]:
    return [member.name.lower() for member in kind]


def _by(name: str, text: str, label: str, names: Iterable[str], values: Iterable[int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for member, value in zip(names, values, strict=True):
        family.add_metric([member], value)
    return family
