"""The NPU's clock and load as metrics, from a system's files."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from gaitd.telemetry.npu import NpuCollector
from support.daemon import samples

LOAD = "NPU load:  Core0: 12%, Core1:  0%, Core2: 100%,\n"


def found(root: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(NpuCollector(root))
    return samples(generate_latest(registry).decode())


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_clock_and_load_of_each_core(tmp_path: Path) -> None:
    write(tmp_path, "sys/class/devfreq/fdab0000.npu/cur_freq", "600000000\n")
    write(tmp_path, "sys/class/devfreq/fdab0000.npu/max_freq", "1000000000\n")
    write(tmp_path, "proc/rknpu/load", LOAD)
    assert found(tmp_path) == {
        "gaitd_npu_frequency_hertz": 6e8,
        "gaitd_npu_frequency_max_hertz": 1e9,
        'gaitd_npu_load_ratio{core="0"}': 0.12,
        'gaitd_npu_load_ratio{core="1"}': 0.0,
        'gaitd_npu_load_ratio{core="2"}': 1.0,
    }


def test_what_the_kernel_does_not_tell_is_left_out(tmp_path: Path) -> None:
    assert found(tmp_path) == {}
    write(tmp_path, "sys/class/devfreq/fdab0000.npu/cur_freq", "unknown\n")
    write(tmp_path, "sys/kernel/debug/rknpu/load", "nothing of the kind\n")
    assert found(tmp_path) == {}
