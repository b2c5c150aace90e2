"""gaitctl doctor: the NPU, its driver, its runtime library and the model made for them."""

from __future__ import annotations

import grp
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from gaitd.backends.rknn_host import RknnHost, library_version
from gaitd.bundle.read import Bundle
from gaitd.bundle.rknn_file import check_runtime_fits, read_rknn_file
from gaitd.ctl.check import Check, System, fail, ok, warn
from gaitd.ctl.npu_driver import check_absence
from gaitd.errors import GaitdError

LIBRARY_PLACES = (
    "/usr/lib/librknnrt.so",
    "/usr/lib/aarch64-linux-gnu/librknnrt.so",
    "/lib/librknnrt.so",
    "/usr/local/lib/librknnrt.so",
)
SERVICE_GROUPS = {"gaitd", "render", "video"}
DRIVER_VERSIONS = ("/sys/kernel/debug/rknpu/version", "/proc/rknpu/version", "/sys/module/rknpu/version")
_TROUBLE = re.compile(r"rknpu.*(error|timeout|time out|fail|reset|abort)", re.IGNORECASE)


def check_npu(system: System, bundle: Bundle | None) -> Iterator[Check]:
    """All checks of the NPU; on other machines one line that says so."""
    host = RknnHost(
        device_tree=system.path("/proc/device-tree"),
        devices=system.path("/dev"),
        sys=system.path("/sys"),
    )
    chips = host.chips()
    if not any(chip.startswith("rockchip,rk3588") for chip in chips):
        what = ", ".join(chips) or "no device tree"
        yield warn("chip", f"{what}: no RK3588, no NPU", "the onnx backend runs policies on the CPU")
        return
    yield ok("chip", ", ".join(chips))
    yield from _check_nodes(system, host)
    yield _check_driver(system)
    yield from _check_library(system, bundle)
    yield _check_clock(system)
    yield _check_kernel_log(system)


def _check_nodes(system: System, host: RknnHost) -> Iterator[Check]:
    nodes = host.device_nodes()
    if not nodes:
        yield check_absence(system, host)
    for node in nodes:
        yield _check_node(node)
    if any(node.name == "rknpu" for node in nodes):  # without DRM, the NPU's memory is the DMA heaps'
        yield from _check_heaps(system)


def _check_heaps(system: System) -> Iterator[Check]:
    heaps = list(system.glob("/dev/dma_heap/*"))
    if not heaps:
        found = "/dev/dma_heap is missing: the runtime cannot allocate the NPU's memory"
        yield fail("NPU memory", found, "boot a kernel with CONFIG_DMABUF_HEAPS_SYSTEM, as the vendor's are")
    for heap in heaps:
        yield _check_node(heap)


def _check_node(node: Path) -> Check:
    fix = "install /usr/lib/udev/rules.d/60-gaitd.rules, then `sudo udevadm trigger`"
    try:
        status = node.stat()
    except OSError as error:
        return fail("NPU node", f"{node}: {error.strerror}", fix)
    group = _group_name(status.st_gid)
    mode = stat.S_IMODE(status.st_mode)
    text = f"{node} group {group} {mode:04o}"
    if mode & 0o006 == 0o006 or (mode & 0o060 == 0o060 and group in SERVICE_GROUPS):
        return ok("NPU node", text)
    return fail("NPU node", f"{text}: gaitd may not open it", fix)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _check_driver(system: System) -> Check:
    for name in DRIVER_VERSIONS:
        found = re.search(r"\d+\.\d+\.\d+", system.text(name))
        if found:
            return ok("NPU driver", found[0])
    return warn("NPU driver", "its version cannot be read", "run this with sudo: it is in debugfs")


def _check_library(system: System, bundle: Bundle | None) -> Iterator[Check]:
    place = next((place for place in LIBRARY_PLACES if system.path(place).is_file()), None)
    if place is None:
        yield fail(
            "NPU runtime",
            "librknnrt.so is not installed",
            "copy rknpu2/runtime/Linux/librknn_api/aarch64/librknnrt.so of "
            "https://github.com/airockchip/rknn-toolkit2 to /usr/lib, then `sudo ldconfig`",
        )
        return
    version = library_version(str(system.path(place)))
    if version:
        yield ok("NPU runtime", f"{version} at {place}")
    else:
        yield warn("NPU runtime", f"{place} carries no version", "install Rockchip's own librknnrt.so")
    if bundle is None or not bundle.has("model.rknn"):
        return
    try:
        model = read_rknn_file(bundle.read_bytes("model.rknn"))
        check_runtime_fits(model.toolkit, version, place)
    except GaitdError as error:
        yield fail("model", str(error), "see the NPU page of the troubleshooting guide")
    else:
        yield ok(
            "model", f"by rknn-toolkit2 {model.toolkit} for {', '.join(model.platforms)}; the runtime fits"
        )


def _check_clock(system: System) -> Check:
    device = next(system.glob("/sys/class/devfreq/*.npu"), None)
    if device is None:
        return warn("NPU clock", "no devfreq device", "the kernel does not scale the NPU; nothing to pin")
    name = f"/sys/class/devfreq/{device.name}"
    governor = system.text(f"{name}/governor")
    now_hz, max_hz = system.number(f"{name}/cur_freq"), system.number(f"{name}/max_freq")
    text = f"governor {governor}, {(now_hz or 0) / 1e6:.0f} of {(max_hz or 0) / 1e6:.0f} MHz"
    if governor == "performance" or (governor == "userspace" and now_hz == max_hz):
        return ok("NPU clock", text)
    return warn("NPU clock", text, f"echo performance | sudo tee {name}/governor")


def _check_kernel_log(system: System) -> Check:
    lines = [line for line in system.kernel_log().splitlines() if _TROUBLE.search(line)]
    if not lines:
        return ok("kernel log", "no word of NPU trouble since boot")
    found = f"{len(lines)} lines of NPU trouble since boot, last: {lines[-1][:120]}"
    return warn("kernel log", found, "journalctl --dmesg --grep=rknpu; update kernel and runtime together")
