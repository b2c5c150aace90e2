"""Prometheus: what the encoders of streams took and made, from their memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gaitd.policy.stream import FrameFault
from gaitd.shared.encoder_memory import EncoderMemory


class EncoderCollector(Collector):
    """Of all encoders; nothing where there are none."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        """``fds``: of their memory, by the stream that each makes. Raises ReplacedError."""
        self._words = {name: EncoderMemory(fd, writable=False).words for name, fd in fds.items()}

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        if not self._words:
            return
        frames = CounterMetricFamily(
            "gaitd_encoder_frames", "Frames that a stream's encoder took.", labels=["stream"]
        )
        refused = CounterMetricFamily(
            "gaitd_encoder_frames_refused",
            "Frames that a stream's encoder did not take.",
            labels=["stream", "why"],
        )
        encoded = CounterMetricFamily(
            "gaitd_encoder_encoded", "Frames that a stream's encoder made.", labels=["stream"]
        )
        took = GaugeMetricFamily("gaitd_encoder_seconds", "How long its newest took.", labels=["stream"])
        for name, words in self._words.items():
            frames.add_metric([name], words["frames"])
            for fault in FrameFault:
                refused.add_metric([name, fault.name.lower()], words.row("refused")[fault])
            encoded.add_metric([name], words["encoded"])
            took.add_metric([name], words["took_ns"] / 1e9)
        yield from (frames, refused, encoded, took)
