"""How the machine does, from /proc and /sys: clocks, load, temperatures, and what the worker had to bear."""

from __future__ import annotations

import re
from pathlib import Path

from gaitd.telemetry.npu import npu_frequencies, npu_loads

_STATUS_LINE = re.compile(r"^(VmRSS|voluntary_ctxt_switches|nonvoluntary_ctxt_switches):\s*(\d+)", re.M)


def read_machine(worker_pid: int, root: Path = Path("/")) -> dict[str, float]:
    """One sample by name, in base units; what the kernel does not tell is left out.

    ``preemptions`` and ``page_faults`` (major ones) count from the worker process's start.
    """
    values = {f"npu_{name}_hertz": value for name, value in npu_frequencies(root).items()}
    values |= {f"npu_core{core}_load": load for core, load in npu_loads(root).items()}
    values |= {f"temperature_{zone}": value for zone, value in temperatures(root).items()}
    for path in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq")):
        if (frequency := _number(path)) is not None:
            values[f"cpu_{path.parent.name}_hertz"] = frequency * 1000
    values |= thread_usage(worker_pid, root)
    return values


def temperatures(root: Path = Path("/")) -> dict[str, float]:
    """Degrees Celsius by thermal zone."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        value = _number(zone / "temp")
        if value is not None:
            name = _text(zone / "type") or zone.name
            found[name if name not in found else f"{name}-{zone.name[12:]}"] = value / 1000
    return found


def cooling(root: Path = Path("/")) -> dict[str, float]:
    """How hard each cooling device works, 0 to 1: fans, and clocks that are held down."""
    found: dict[str, float] = {}
    for device in sorted(root.glob("sys/class/thermal/cooling_device*")):
        now, most = _number(device / "cur_state"), _number(device / "max_state")
        if now is not None and most:
            name = _text(device / "type") or device.name
            found[name if name not in found else f"{name}-{device.name[14:]}"] = now / most
    return found


def parent_of(pid: int) -> int:
    """The parent of that process; 0 when it is gone."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def thread_usage(pid: int, root: Path = Path("/")) -> dict[str, float]:
    """Resident bytes, preemptions, waits and major page faults of that process's main thread."""
    if pid == 0:
        return {}
    task = root / f"proc/{pid}/task/{pid}"
    lines = dict(_STATUS_LINE.findall(_text(task / "status")))
    found = {}
    for name, key, factor in (
        ("resident_bytes", "VmRSS", 1024),
        ("preemptions", "nonvoluntary_ctxt_switches", 1),
        ("waits", "voluntary_ctxt_switches", 1),
    ):
        if key in lines:
            found[name] = float(lines[key]) * factor
    stat = _text(task / "stat").rpartition(")")[2].split()
    if len(stat) > 9:
        found["page_faults"] = float(stat[9])
    return found


def _number(path: Path) -> float | None:
    text = _text(path)
    return float(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
