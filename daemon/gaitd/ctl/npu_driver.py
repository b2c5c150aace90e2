"""gaitctl doctor: why the kernel made no device node for the NPU."""

from __future__ import annotations

from gaitd.backends.rknn_host import RknnHost
from gaitd.ctl.check import Check, System, fail

VENDOR_KERNEL = "install the board vendor's kernel with the RKNPU driver, then reboot"
UNTIL_THEN = 'until then backend = "auto" runs policies on the CPU'
_BUILT = ("CONFIG_ROCKCHIP_RKNPU=y", "CONFIG_ROCKCHIP_RKNPU=m")


def check_absence(system: System, host: RknnHost) -> Check:
    """The one cause that fits best."""
    name = "NPU node"
    if status := host.disabled():
        found = f"the device tree has the NPU disabled ({status.parent.name}/status)"
        return fail(name, found, "enable the NPU's overlay with the board's setup tool, then reboot")
    if rocket := host.rocket_node():
        found = f"/dev/accel/{rocket.name} is of mainline's rocket driver, which librknnrt.so cannot use"
        return fail(name, found, f"{VENDOR_KERNEL}; {UNTIL_THEN}")
    running = system.text("/proc/sys/kernel/osrelease")
    if system.path("/sys/module/rknpu").is_dir():
        found = "the RKNPU driver is loaded, but made no device node"
        return fail(name, found, "journalctl --dmesg --grep=rknpu says why; update kernel and device tree")
    if _has_module(system, running):
        found = f"kernel {running} has the module rknpu, but it is not loaded"
        fix = "sudo modprobe rknpu; echo rknpu | sudo tee /etc/modules-load.d/rknpu.conf; restart gaitd"
        return fail(name, found, fix)
    others = [release for release in _releases(system) if release != running and _has_driver(system, release)]
    if others:
        found = f"kernel {running} has no RKNPU driver, but {', '.join(others)} has: an update lost it"
        fix = f"boot {others[-1]} again and keep it (apt-mark hold its linux-image package); {UNTIL_THEN}"
        return fail(name, found, fix)
    return fail(name, f"kernel {running} has no RKNPU driver", f"{VENDOR_KERNEL}; {UNTIL_THEN}")


def _releases(system: System) -> list[str]:
    """Kernels that are installed."""
    configs = {path.name.removeprefix("config-") for path in system.glob("/boot/config-*")}
    return sorted(configs | {path.name for path in system.glob("/lib/modules/*")})


def _has_driver(system: System, release: str) -> bool:
    config = system.text(f"/boot/config-{release}")
    return any(line in config for line in _BUILT) or _has_module(system, release)


def _has_module(system: System, release: str) -> bool:
    return bool(release) and any(system.glob(f"/lib/modules/{release}/**/rknpu.ko*"))
