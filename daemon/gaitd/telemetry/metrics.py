"""The processes' memory as Prometheus metrics, in base units."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import gaitd
from gaitd.backends.base import NPU_MEMORY
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.policy.stream import FrameFault
from gaitd.shared.guard_memory import FailoverKind, GuardMemory, occasions
from gaitd.shared.launch import TelemetryLaunch
from gaitd.shared.memory import Words
from gaitd.shared.processes import POLICY_SLOTS, STANDBY_SLOT, policy_in
from gaitd.shared.step_ring import StepRing
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.memory import resident_bytes
from gaitd.wire.generated import CauseKind, Mode, Reason

BUCKETS_OF_PERIOD = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Histogram buckets as multiples of the control period."""
STATE_CAUSES = [kind for kind in CauseKind if CauseKind.NONE < kind < CauseKind.ACTION_NOT_FINITE]
REASONS = [reason for reason in Reason if reason is not Reason.NONE]
ACTION_CAUSES = [kind for kind in CauseKind if kind >= CauseKind.ACTION_NOT_FINITE]


class StepHistograms:
    """Fed from the ring of step records."""

    def __init__(self, registry: CollectorRegistry, period_s: float) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # seven families that say when gaitd began

        def histogram(name: str, text: str) -> Histogram:
            buckets = [float(f"{period_s * factor:.6g}") for factor in BUCKETS_OF_PERIOD]
            return Histogram(name, text, buckets=buckets, registry=registry)

        self._age = histogram(
            "gaitd_command_age_seconds", "From the state's own stamp to the command's publication."
        )
        self._transport = histogram(
            "gaitd_state_transport_seconds", "From the state's own stamp to its reception."
        )
        self._waiting = histogram(
            "gaitd_state_waiting_seconds", "From a state's reception to the beginning of its inference."
        )
        self._inference = histogram("gaitd_inference_seconds", "Inference.")
        self._answer = histogram(
            "gaitd_answer_seconds", "From the end of the inference to the command's publication."
        )
        self._jitter = histogram(
            "gaitd_state_jitter_seconds",
            "How far the time between two successive states' stamps is from the control period.",
        )
        self._period_s = period_s
        self._interval = histogram(
            "gaitd_step_interval_seconds", "Between commands of one session and one worker."
        )
        self._last = (0, 0, 0, 0)

    def feed(self, steps: StepRing, index: int, more: Callable[[npt.NDArray[Any]], None]) -> int:
        """Observe the commands sent after ``index``; returns the index to go on from.

        ``more``: who else wants the records.
        """
        records, newest = steps.read_since(index)
        for record in records[records["sent_ns"] != 0]:
            stamp, sent = int(record["state_stamp_ns"]), int(record["sent_ns"])
            epoch = int(record["epoch"])  # of one session and one worker
            self._age.observe((sent - stamp) / 1e9)
            received, seq = int(record["receive_ns"]), int(record["seq"])
            begun, ended = int(record["infer_start_ns"]), int(record["infer_end_ns"])
            self._transport.observe((received - stamp) / 1e9)
            self._waiting.observe((begun - received) / 1e9)
            self._inference.observe((ended - begun) / 1e9)
            self._answer.observe((sent - ended) / 1e9)
            last_epoch, last_sent, last_seq, last_stamp = self._last
            if epoch == last_epoch:
                self._interval.observe((sent - last_sent) / 1e9)
                if seq == last_seq + 1:
                    self._jitter.observe(abs((stamp - last_stamp) / 1e9 - self._period_s))
            self._last = (epoch, sent, seq, stamp)
        more(records)
        return newest


class MemoryCollector(Collector):
    """Counters and gauges, read from the memory files at each scrape."""

    def __init__(
        self,
        guard: GuardMemory,
        workers: Sequence[WorkerMemory],
        progress: Words,
        launch: TelemetryLaunch,
    ) -> None:
        """``workers``: their memory by slot; what they count is added up.

        ``progress``: telemetry's own words (gaitd.shared.telemetry_memory).
        """
        self._progress = progress
        self._ring = workers[0].shape.records
        self._guard = guard.words
        self._workers = [worker.words for worker in workers]
        self._launch = launch

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        workers, guard = self._workers, self._guard
        slots, holder = self._launch.slots, workers[self._launch.place_of(guard["holder"])]
        yield InfoMetricFamily(
            "gaitd",
            "What runs.",
            {
                "version": gaitd.__version__,
                "policy": self._launch.policy["name"],
                "policy_version": self._launch.policy["version"],
                "policy_id": self._launch.policy["id"],
                "bundle": self._launch.bundle,
                "backend": self._launch.backends[guard["backend"]],
            },
        )
        for name, word, text in (
            ("gaitd_states_received", "received", "State messages received, of any kind."),
            ("gaitd_states_standby", "standby", "States received before activate."),
            ("gaitd_states_followed", "followed", "States taken by the standby; the worker answered them."),
            ("gaitd_states_missed", "missed", "Sequence numbers that never came."),
            ("gaitd_states_superseded", "superseded", "States taken into the history; a newer was answered."),
            ("gaitd_commands_withheld", "withheld", "Commands not published because the lease was gone."),
            ("gaitd_steps", "steps", "Commands published."),
            (
                "gaitd_late_steps",
                "late_steps",
                "Commands published more than a period after the state's stamp.",
            ),
        ):
            yield CounterMetricFamily(name, text, value=sum(worker[word] for worker in workers))
        refused = _sums(workers, "refused")
        for name, text, causes in (
            ("gaitd_states_refused", "States refused.", STATE_CAUSES),
            ("gaitd_actions_rejected", "Actions rejected.", ACTION_CAUSES),
        ):
            yield _by(name, text, "why", _names(causes), (refused[cause] for cause in causes))
        yield _by(
            "gaitd_joints_clamped", "Joint targets held.", "limit", LIMIT_NAMES, _sums(workers, "clamped")
        )
        yield _by(
            "gaitd_damping",
            "Times damping began.",
            "reason",
            _names(REASONS),
            (guard.row("damping_by_reason")[reason] for reason in REASONS),
        )
        yield CounterMetricFamily(
            "gaitd_control_requests", "Requests on the control channel.", value=guard["control_requests"]
        )
        yield CounterMetricFamily(
            "gaitd_control_refused", "Requests refused.", value=guard["control_refused"]
        )
        yield _by(
            "gaitd_peers_disconnected",
            "Times that peers were disconnected because they asked for too much.",
            "process",
            ["guardian", "worker"],
            [guard["peers_disconnected"], sum(worker["peers_disconnected"] for worker in workers)],
        )
        yield CounterMetricFamily(
            "gaitd_worker_starts", "Worker processes started.", value=guard["worker_starts"]
        )
        if (resident := _resident_bytes(guard["worker_pid"])) is not None:
            yield GaugeMetricFamily(
                "gaitd_worker_resident_bytes",
                "Memory of the worker process; it starts over with each.",
                value=resident,
            )
        npu = GaugeMetricFamily(
            "gaitd_npu_memory_bytes",
            "What the model takes of the NPU's memory, as the runtime says; 0 on the CPU.",
            labels=["kind"],
        )
        for kind in NPU_MEMORY:
            npu.add_metric([kind], float(workers[0][f"npu_{kind}_bytes"]))
        yield npu
        yield GaugeMetricFamily(
            "gaitd_backend_fallback",
            "1 while a policy for the NPU runs on the CPU, because the NPU does not work.",
            value=float(guard["backend"] > 0),
        )
        mode = GaugeMetricFamily("gaitd_mode", "1 for the mode that holds.", labels=["mode"])
        for candidate in Mode:
            mode.add_metric([candidate.name.lower()], float(guard["mode"] == candidate))
        yield mode
        yield GaugeMetricFamily(
            "gaitd_state_interval_seconds",
            "How far apart the controller samples its states, over the last second; 0: not known.",
            value=holder["state_interval_ns"] / 1e9,
        )
        yield GaugeMetricFamily(
            "gaitd_control_period_seconds", "How far apart they are due.", value=self._launch.period_s
        )
        yield from self._recorder()
        yield GaugeMetricFamily("gaitd_worker_ready", "The worker is ready.", value=guard["worker_ready"])
        if STANDBY_SLOT in slots[: len(workers)]:
            yield from self._standby()
        if self._launch.beside:
            yield from self._policies()
        if names := self._launch.streams.get(slots[self._launch.place_of(guard["holder"])]):
            yield from _streams(names, holder)

    def _standby(self) -> Iterable[Metric]:
        """Of the standby, where there is one."""
        guard = self._guard
        names = [kind.name.lower() for kind in FailoverKind]
        yield _by("gaitd_failovers", "Times the standby took over.", "why", names, guard.row("failovers"))
        yield CounterMetricFamily(
            "gaitd_standby_starts",
            "Standby processes started.",
            value=guard.row("worker_starts")[STANDBY_SLOT],
        )
        for name, text, value in (
            (
                "ready",
                "The standby could take over from the first policy's worker: it is ready, and keeps up.",
                guard.row("worker_ready")[STANDBY_SLOT],
            ),
            (
                "holds",
                "1 while the session is with the standby, the last worker.",
                int(guard["holder"] == STANDBY_SLOT),
            ),
        ):
            yield GaugeMetricFamily(f"gaitd_standby_{name}", text, value=value)
        yield GaugeMetricFamily(
            "gaitd_last_worker",
            "1 while the robot walks and no other worker could go on: a failure ends in damping.",
            value=guard["last_worker"],
        )
        if (resident := _resident_bytes(guard.row("worker_pid")[STANDBY_SLOT])) is not None:
            yield GaugeMetricFamily(
                "gaitd_standby_resident_bytes", "Memory of the standby process.", value=resident
            )

    def _policies(self) -> Iterable[Metric]:
        """Of further policies, where there are some."""
        guard = self._guard
        yield CounterMetricFamily(
            "gaitd_policy_switches", "Times a session went on with another policy.", value=guard["switches"]
        )
        ready = GaugeMetricFamily(
            "gaitd_policy_ready", "A policy's worker is ready; the first one has number 0.", labels=["number"]
        )
        walks = GaugeMetricFamily(
            "gaitd_policy_walks", "1 for the policy that the robot walks on.", labels=["number", "name", "id"]
        )
        walking = policy_in(guard["holder"]) if guard["mode"] == Mode.ACTIVE else None
        titles = [self._launch.policy, *(each.policy for each in self._launch.beside)]
        for number, (title, slot) in enumerate(zip(titles, POLICY_SLOTS, strict=False)):
            ready.add_metric([str(number)], float(guard.row("worker_ready")[slot]))
            walks.add_metric([str(number), title["name"], title["id"]], float(number == walking))
        yield from (ready, walks)

    def _recorder(self) -> Iterator[Metric]:
        words = self._progress
        for name, text, word in (
            ("gaitd_recordings", "Recordings written.", "recordings"),
            ("gaitd_recordings_failed", "Recordings that could not be written.", "recordings_failed"),
            ("gaitd_recording_bytes", "Bytes of recordings written.", "bytes_written"),
        ):
            yield CounterMetricFamily(name, text, value=words[word])
        yield GaugeMetricFamily(
            "gaitd_recorder_steps", "Steps that the flight recorder's memory has room for.", value=self._ring
        )
        pending = occasions(self._guard) - words["occasions"]
        yield GaugeMetricFamily(
            "gaitd_recorder_pending",
            "Dampings and failovers whose recording is still to be written.",
            value=pending if self._launch.recorder.wanted else 0,
        )


class LabelledRegistry(CollectorRegistry):
    """A registry whose every sample has the same few labels more, so that a fleet can be sliced by them."""

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._inner = registry
        self._more = dict(labels)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        for family in self._inner.collect():
            family.samples = [
                sample._replace(labels={**sample.labels, **self._more}) for sample in family.samples
            ]
            yield family


def _resident_bytes(pid: int) -> int | None:
    try:
        return resident_bytes(pid)
    except OSError:  # it has just died
        return None


def _sums(workers: Sequence[Words], name: str) -> list[int]:
    """Of a row of words, over all workers."""
    return [sum(counts) for counts in zip(*(worker.row(name) for worker in workers), strict=True)]


def _streams(names: Sequence[str], words: Words) -> Iterable[Metric]:
    """Of the streams of the policy that walks, or would."""
    stale_since, frames = words.row("stream_stale_since_ns"), words.row("stream_frames")
    now_ns = time.monotonic_ns()
    stale = GaugeMetricFamily(
        "gaitd_stream_stale_seconds",
        "For how long a stream has been stale; 0: it is fresh.",
        labels=["stream"],
    )
    for index, name in enumerate(names):
        since_ns = stale_since[index]
        stale.add_metric([name], max(1, now_ns - since_ns) / 1e9 if since_ns else 0.0)
    yield stale
    yield _by("gaitd_stream_frames", "Frames of a stream taken.", "stream", names, frames[: len(names)])
    refused = CounterMetricFamily(
        "gaitd_stream_frames_refused", "Frames of a stream not taken.", labels=["stream", "why"]
    )
    counts = words.row("stream_refused")
    for index, name in enumerate(names):
        for fault in FrameFault:
            refused.add_metric([name, fault.name.lower()], counts[index * len(FrameFault) + fault])
    yield refused


def _names(members: Sequence[CauseKind] | Sequence[Reason]) -> list[str]:
    return [member.name.lower() for member in members]


def _by(name: str, text: str, label: str, names: Iterable[str], values: Iterable[int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for member, value in zip(names, values, strict=True):
        family.add_metric([member], value)
    return family
