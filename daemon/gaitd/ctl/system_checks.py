"""gaitctl doctor: cores, clocks, real time, memory, disk."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator

from gaitd.ctl.check import Check, System, cpu_list, fail, ok, warn
from gaitd.system.config import Config

CPU = "/sys/devices/system/cpu"
GOOD_CLOCKS = {"arch_sys_counter", "tsc", "kvm-clock"}
HOT_C, TOO_HOT_C = 80.0, 95.0
LOW_MEMORY_MIB = 400
LOW_DISK_MIB, NO_DISK_MIB = 500, 50
LONG_UPTIME_DAYS = 14


def check_system(system: System, config: Config) -> Iterator[Check]:
    """All checks of the machine under gaitd."""
    cpus = sorted({*config.realtime.worker_cpus, *config.realtime.guardian_cpus})
    yield _check_cores(system, config)
    yield _check_isolation(system, cpus)
    yield _check_governors(system, cpus)
    yield _check_kernel(system)
    yield _check_throttling(system)
    yield _check_wakefulness(system)
    yield _check_clock_source(system)
    yield _check_temperature(system)
    yield _check_memory(system)
    yield _check_memory_limits(system)
    yield _check_disk(system)
    yield _check_uptime(system)


def _check_cores(system: System, config: Config) -> Check:
    online = cpu_list(system.text(f"{CPU}/online"))
    wanted = set(config.realtime.worker_cpus)
    fix = "set realtime.worker_cpus and guardian_cpus in gaitd.toml to fast cores that are there"
    if not wanted:
        return warn("cores", "no core is set for the worker", fix)
    if missing := (wanted | set(config.realtime.guardian_cpus)) - online:
        return warn("cores", f"{_cpus(missing)} not among the {len(online)} online", fix)
    speed = {cpu: system.number(f"{CPU}/cpu{cpu}/cpu_capacity") or 0 for cpu in online}
    slow = {cpu for cpu in wanted if speed[cpu] < max(speed.values())}
    if slow:
        return warn("cores", f"{_cpus(slow)} for the worker: not one of the fast ones", fix)
    return ok("cores", f"worker on {_cpus(wanted)}, of the fastest kind here")


def _check_isolation(system: System, cpus: list[int]) -> Check:
    isolated = cpu_list(system.text(f"{CPU}/isolated"))
    shared = set(cpus) - isolated
    if not cpus:
        return warn(
            "isolation", "no core is gaitd's alone", "set its cores first, then isolate them (docs: realtime)"
        )
    if shared:
        fix = f"add isolcpus={','.join(map(str, cpus))} to the kernel's command line and reboot"
        return warn("isolation", "other programs share gaitd's cores", f"{fix} (docs: realtime)")
    return ok("isolation", f"{_cpus(set(cpus))} are gaitd's alone")


def _check_governors(system: System, cpus: list[int]) -> Check:
    slow = {
        cpu: governor
        for cpu in cpus
        if (governor := system.text(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor")) not in ("", "performance")
    }
    if slow:
        text = ", ".join(f"cpu{cpu} {governor}" for cpu, governor in slow.items())
        return warn("CPU clock", text, "sudo systemd-tmpfiles --create gaitd.conf")
    return ok("CPU clock", "not scaled down")


def _check_kernel(system: System) -> Check:
    if system.text("/sys/kernel/realtime") == "1":
        return ok("kernel", "PREEMPT_RT")
    if "PREEMPT" in system.text("/proc/version"):
        return ok("kernel", "preemptible, not PREEMPT_RT: late steps of some ms are possible under load")
    fix = "use the board vendor's kernel with PREEMPT or PREEMPT_RT (docs: realtime)"
    return warn("kernel", "not preemptible", fix)


def _check_throttling(system: System) -> Check:
    runtime = system.number("/proc/sys/kernel/sched_rt_runtime_us")
    period = system.number("/proc/sys/kernel/sched_rt_period_us")
    if runtime is None or period is None or runtime < 0 or runtime >= period * 0.9:
        return ok("RT budget", "real-time threads may use their core")
    fix = "sudo sysctl kernel.sched_rt_runtime_us=950000"
    return warn("RT budget", f"real-time threads get {runtime} of {period} us", fix)


def _check_wakefulness(system: System) -> Check:
    node = system.path("/dev/cpu_dma_latency")
    fix = "install /usr/lib/udev/rules.d/60-gaitd.rules, then `sudo udevadm trigger --subsystem-match=misc`"
    try:
        status = node.stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return warn("sleep states", "no /dev/cpu_dma_latency", "the kernel lacks CONFIG_CPU_IDLE or PM QoS")
    if stat.S_IMODE(status.st_mode) & 0o020 and group == "gaitd":
        return ok("sleep states", "gaitd may keep the cores awake")
    return warn("sleep states", f"/dev/cpu_dma_latency is of group {group}", fix)


def _check_clock_source(system: System) -> Check:
    source = system.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source in GOOD_CLOCKS:
        return ok("clock", source)
    return warn(
        "clock", source or "unknown", f"boot with clocksource={sorted(GOOD_CLOCKS)[0]} on ARM, tsc on x86"
    )


def _check_temperature(system: System) -> Check:
    zones = {}
    for zone in system.glob("/sys/class/thermal/thermal_zone*"):
        name = f"/sys/class/thermal/{zone.name}"
        millidegrees = system.number(f"{name}/temp")
        if millidegrees is not None:
            zones[system.text(f"{name}/type").removesuffix("-thermal")] = millidegrees / 1000
    if not zones:
        return warn("temperature", "no thermal zones", "nothing watches the heat; check the kernel's config")
    text = ", ".join(f"{name} {degrees:.0f}" for name, degrees in zones.items()) + " C"
    hottest = max(zones.values())
    if hottest >= TOO_HOT_C:
        return fail("temperature", text, "let it cool down and fix the cooling")
    if hottest >= HOT_C:
        return warn("temperature", text, "better cooling: the clocks go down soon")
    return ok("temperature", text)


def _check_memory(system: System) -> Check:
    lines = system.text("/proc/meminfo").splitlines()
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
    text = f"{kib // 1024} MiB available"
    if kib // 1024 < LOW_MEMORY_MIB:
        return warn("memory", text, "stop what is not needed; gaitd takes about 250 MiB")
    return ok("memory", text)


def _check_memory_limits(system: System) -> Check:
    """MemoryHigh=, of the service or of its slice: a process above it stands still again and again."""
    for unit, group in (("system.slice", "system.slice"), ("gaitd.service", "system.slice/gaitd.service")):
        limit = system.text(f"/sys/fs/cgroup/{group}/memory.high")
        if limit not in ("", "max"):
            fix = f"take MemoryHigh= out of {unit}; systemctl cat {unit} says where it is"
            return warn("memory limit", f"{unit} is slowed down above {limit} bytes", fix)
    return ok("memory limit", "nothing slows gaitd down")


def _check_disk(system: System) -> Check:
    try:
        status = os.statvfs(system.path("/var/lib/gaitd"))
    except OSError as error:
        return fail("disk", f"/var/lib/gaitd: {error.strerror}", "sudo systemd-tmpfiles --create gaitd.conf")
    free_mib = status.f_bavail * status.f_frsize // 2**20
    text = f"{free_mib} MiB free for policies and recordings"
    fix = "gaitctl list, gaitctl remove ID; delete old recordings in /var/lib/gaitd/recordings"
    if free_mib < NO_DISK_MIB:
        return fail("disk", text, fix)
    if free_mib < LOW_DISK_MIB:
        return warn("disk", text, fix)
    return ok("disk", text)


def _check_uptime(system: System) -> Check:
    seconds = float((system.text("/proc/uptime").split() or ["0"])[0])
    text = f"{seconds / 86400:.1f} days since boot"
    if seconds > LONG_UPTIME_DAYS * 86400:
        fix = "reboot at the next occasion: NPU drivers were reported to hang after weeks"
        return warn("uptime", text, fix)
    return ok("uptime", text)


def _cpus(cpus: set[int]) -> str:
    return ", ".join(f"cpu{cpu}" for cpu in sorted(cpus))
