"""What the kernel tells of the NPU: its clock, and how busy its cores are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LOADS = ("sys/kernel/debug/rknpu/load", "proc/rknpu/load")
"""The first needs root, the second a kernel with CONFIG_ROCKCHIP_RKNPU_PROC_FS."""
_CORE = re.compile(r"Core(\d+):\s*(\d+)%")


class NpuCollector(Collector):
    """Read at each scrape; what the kernel does not tell is left out."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        for name, text, file in (
            ("gaitd_npu_frequency_hertz", "The NPU's clock.", "cur_freq"),
            ("gaitd_npu_frequency_max_hertz", "The highest clock that is permitted.", "max_freq"),
        ):
            device = next(iter(sorted(self._root.glob(f"sys/class/devfreq/*.npu/{file}"))), None)
            value = _text(device) if device is not None else ""
            if value.isdigit():
                yield GaugeMetricFamily(name, text, value=float(value))
        load = next(filter(None, (_text(self._root / name) for name in LOADS)), "")
        cores = _CORE.findall(load)
        if cores:
            family = GaugeMetricFamily(
                "gaitd_npu_load_ratio", "How busy a core of the NPU is, as its driver says.", labels=["core"]
            )
            for core, percent in cores:
                family.add_metric([core], int(percent) / 100)
            yield family


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
