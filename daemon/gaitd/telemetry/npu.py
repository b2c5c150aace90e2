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
        frequencies = npu_frequencies(self._root)
        for name, text, key in (
            ("gaitd_npu_frequency_hertz", "The NPU's clock.", "frequency"),
            ("gaitd_npu_frequency_max_hertz", "The highest clock that is permitted.", "frequency_max"),
        ):
            if key in frequencies:
                yield GaugeMetricFamily(name, text, value=frequencies[key])
        loads = npu_loads(self._root)
        if loads:
            family = GaugeMetricFamily(
                "gaitd_npu_load_ratio", "How busy a core of the NPU is, as its driver says.", labels=["core"]
            )
            for core, load in loads.items():
                family.add_metric([core], load)
            yield family


def npu_frequencies(root: Path) -> dict[str, float]:
    """``frequency`` and ``frequency_max``, Hz."""
    found = {}
    for key, file in (("frequency", "cur_freq"), ("frequency_max", "max_freq")):
        device = next(iter(sorted(root.glob(f"sys/class/devfreq/*.npu/{file}"))), None)
        value = _text(device) if device is not None else ""
        if value.isdigit():
            found[key] = float(value)
    return found


def npu_loads(root: Path) -> dict[str, float]:
    """0 to 1 by the number of the core."""
    load = next(filter(None, (_text(root / name) for name in LOADS)), "")
    return {core: int(percent) / 100 for core, percent in _CORE.findall(load)}


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
