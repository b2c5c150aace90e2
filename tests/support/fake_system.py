"""A fake sysfs, procfs and /dev: a healthy board with an RK3588, for gaitctl doctor to look at."""

from __future__ import annotations

import os
from pathlib import Path

CAPACITY = {cpu: 530 if cpu < 4 else 1024 for cpu in range(8)}


class FakeSystem:
    """Files below a directory; ``write`` gives the board a defect."""

    def __init__(self, root: Path) -> None:
        self.root = root
        npu = "/sys/class/devfreq/fdab0000.npu"
        files = {
            "/proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0",
            "/proc/version": "Linux version 5.10.160 SMP PREEMPT",
            "/proc/sys/kernel/sched_rt_runtime_us": "950000",
            "/proc/sys/kernel/sched_rt_period_us": "1000000",
            "/proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n",
            "/proc/uptime": "3600.00 20000.00",
            "/sys/kernel/debug/rknpu/version": "RKNPU driver: v0.9.8",
            "/sys/devices/platform/fdab0000.npu/drm/renderD129/dev": "226:129",
            f"{npu}/governor": "performance",
            f"{npu}/cur_freq": "1000000000",
            f"{npu}/max_freq": "1000000000",
            "/sys/devices/system/cpu/online": "0-7",
            "/sys/devices/system/cpu/isolated": "5-6",
            "/sys/devices/system/clocksource/clocksource0/current_clocksource": "arch_sys_counter",
            "/sys/class/thermal/thermal_zone0/type": "soc-thermal",
            "/sys/class/thermal/thermal_zone0/temp": "45000",
            "/usr/lib/librknnrt.so": "\x7fELF librknnrt version: 2.3.2 (429f97ae6b@2025)",
            "/dev/dri/renderD129": "",
            "/etc/gaitd/gaitd.toml": "[realtime]\nworker_cpus = [6]\nguardian_cpus = [5]\n",
        }
        for cpu, capacity in CAPACITY.items():
            files[f"/sys/devices/system/cpu/cpu{cpu}/cpu_capacity"] = str(capacity)
            files[f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"] = "performance"
        for name, text in files.items():
            self.write(name, text)
        (root / "dev/dri/renderD129").chmod(0o666)
        self.store = root / "var/lib/gaitd"
        self.store.mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def remove(self, name: str) -> None:
        os.unlink(self.root / name.lstrip("/"))  # noqa: PTH108
