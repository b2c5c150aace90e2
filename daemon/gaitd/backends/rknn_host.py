"""What this machine has of an NPU, and why it may not answer."""

from __future__ import annotations

import grp
import mmap
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from gaitd.errors import BackendError


@dataclass(frozen=True)
class RknnHost:
    """Where the NPU's parts are found; the defaults are those of every RK3588 system."""

    library: str = "librknnrt.so"
    """Name or path for the dynamic loader."""
    device_tree: Path = Path("/proc/device-tree")
    devices: Path = Path("/dev")
    sys: Path = Path("/sys")

    def chips(self) -> tuple[str, ...]:
        """What the device tree calls the chip, such as ("radxa,rock-5b", "rockchip,rk3588")."""
        try:
            text = (self.device_tree / "compatible").read_bytes()
        except OSError:
            return ()
        return tuple(entry.decode(errors="replace") for entry in text.split(b"\0") if entry)

    def check_chip(self, platforms: tuple[str, ...]) -> None:
        """Refuse a chip that the model was not converted for. Raises BackendError."""
        chips = self.chips()
        if not chips:
            raise BackendError(
                f"{self.device_tree / 'compatible'} cannot be read: this {platform.machine()} machine has no "
                "Rockchip NPU (use the onnx backend), or the service may not see it (ProcSubset must be all)"
            )
        vendor = [chip.removeprefix("rockchip,") for chip in chips if chip.startswith("rockchip,")]
        if not any(chip.startswith(name) for chip in vendor for name in platforms):
            raise BackendError(
                f"model.rknn was converted for {', '.join(platforms)}, but this machine is "
                f"{', '.join(chips)}; convert the policy for this chip"
            )

    def device_nodes(self) -> list[Path]:
        """The nodes that the NPU driver made: DRM render nodes, or /dev/rknpu."""
        found = self.sys.glob("devices/platform/*.npu/drm/*")
        nodes = [self.devices / "dri" / node.name for node in sorted(found)]
        other = self.devices / "rknpu"
        return [*nodes, other] if os.access(other, os.F_OK) else nodes

    def disabled(self) -> Path | None:
        """The device tree's word that the NPU, or the memory unit in front of it, is off."""
        for pattern in ("npu@*/status", "iommu@fda[b-d]*/status"):
            for status in sorted(self.device_tree.glob(pattern)):
                if os.access(status, os.R_OK) and status.read_bytes().rstrip(b"\0") not in (b"okay", b"ok"):
                    return status
        return None

    def rocket_node(self) -> Path | None:
        """The node of mainline's driver for this NPU, which the vendor's runtime cannot use."""
        for device in sorted(self.sys.glob("class/accel/accel*")):
            if (device / "device/driver").resolve().name == "rocket":
                return self.devices / "accel" / device.name
        return None

    def diagnosis(self) -> str:
        """Why the NPU may have refused, as far as it can be seen from here; empty if nothing stands out."""
        if status := self.disabled():
            return f"the device tree has the NPU disabled ({status}): enable it with the board's overlay"
        nodes = self.device_nodes()
        if not nodes:
            if rocket := self.rocket_node():
                return (
                    f"the kernel drives the NPU with rocket ({rocket}), which Rockchip's runtime cannot use: "
                    "it needs a kernel with Rockchip's RKNPU driver"
                )
            return "no device node of the NPU: the kernel lacks Rockchip's RKNPU driver, or has not loaded it"
        for node in nodes:
            if not os.access(node, os.F_OK):
                return f"{node} is missing: let the service see it (DeviceAllow, container devices)"
            if not os.access(node, os.R_OK | os.W_OK):
                return (
                    f"user {os.geteuid()} may not open {node} (group {_group(node)}): "
                    "add the user to the groups render and video"
                )
        return ""


def library_path(name: str) -> str:
    """The file behind a loaded library, or its name if it cannot be seen."""
    stem = Path(name).name
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return name
    paths = [line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6]
    return next((path for path in paths if Path(path).name.startswith(stem)), name)


def library_version(path: str) -> str:
    """The version that the library carries as a text, such as "2.3.2"; empty if it has none."""
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = re.search(rb"librknnrt version: (\d+\.\d+\.\d+)", content)
            return found[1].decode() if found else ""
    except (OSError, ValueError):
        return ""


def _group(node: Path) -> str:
    group = node.stat().st_gid
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)
