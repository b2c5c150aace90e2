"""A PC in the role of a board with an RK3588: what gaitd looks at, and the stand-in runtime."""

from __future__ import annotations

import os
from pathlib import Path

from gaitd.backends.rknn_host import RknnHost

BOARD = "GAITD_STANDIN_BOARD"
"""Environment: the board's directory. The modules standin.daemon and standin.worker run on it."""


def make_board(directory: Path) -> None:
    """Lay out a board with one NPU node; its runtime belongs at ``directory``/librknnrt.so."""
    tree = directory / "device-tree"
    tree.mkdir()
    (tree / "compatible").write_bytes(b"radxa,rock-5b\0rockchip,rk3588\0")
    (directory / "sys/devices/platform/fdab0000.npu/drm/renderD129").mkdir(parents=True)
    (directory / "dev/dri").mkdir(parents=True)
    (directory / "dev/dri/renderD129").touch()


def host_of(directory: Path) -> RknnHost:
    """Where the board's parts are."""
    library = str(directory / "librknnrt.so")
    return RknnHost(library, directory / "device-tree", directory / "dev", directory / "sys")


def take_the_role() -> None:
    """From here on this process finds the board's parts instead of this machine's."""
    host = host_of(Path(os.environ[BOARD]))
    defaults = (host.library, host.device_tree, host.devices, host.sys)
    RknnHost.__init__.__defaults__ = defaults  # type: ignore[misc]
