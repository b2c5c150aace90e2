"""The machine as Prometheus metrics: temperatures, cooling, and what the hot threads had to bear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gaitd.shared.memory import Words
from gaitd.shared.processes import WORKERS
from gaitd.telemetry.machine import cooling, temperatures, thread_usage


class MachineCollector(Collector):
    """Read at each scrape; what the kernel does not tell is left out."""

    def __init__(self, guard: Words, guardian_pid: int, root: Path = Path("/")) -> None:
        """``guard``: the guardian's words, which name the workers' processes."""
        self._guard = guard
        self._guardian_pid = guardian_pid
        self._root = root

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield _gauges(
            "gaitd_temperature_celsius", "Temperature of a thermal zone.", "zone", temperatures(self._root)
        )
        yield _gauges(
            "gaitd_cooling_ratio",
            "How hard a cooling device works: a fan, or a clock that is held down; 0: not at all.",
            "device",
            cooling(self._root),
        )
        workers = {row.name: pid for row, pid in zip(WORKERS, self._guard.row("worker_pid"), strict=True)}
        pids = {"guardian": self._guardian_pid, **workers}
        usage = {name: thread_usage(pid, self._root) for name, pid in pids.items() if pid}
        for name, text, key in (
            (
                "gaitd_thread_preemptions",
                "Times that a hot thread lost its core to another one.",
                "preemptions",
            ),
            ("gaitd_thread_waits", "Times that a hot thread waited by itself.", "waits"),
            ("gaitd_thread_page_faults", "Times that a hot thread waited for the disk.", "page_faults"),
        ):
            family = CounterMetricFamily(f"{name}", text, labels=["process"])
            for process, values in usage.items():
                if key in values:
                    family.add_metric([process], values[key])
            yield family


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for member, value in values.items():
        family.add_metric([member], value)
    return family
