"""A whole board, emulated: arm64 kernel, systemd, a device tree that says RK3588, no network.

A second, small disk carries what a trial needs and brings back its report.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from board_parts import machine_options, run
from rootfs import ROOT


def build_controller(board: Path, build: Path) -> Path:
    """Cross-compile the example controller for the board."""
    include, libraries = board / "kernel/usr/include", board / "kernel/usr/lib/aarch64-linux-gnu"
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": "aarch64",
        "CMAKE_CXX_COMPILER": "aarch64-linux-gnu-g++",
        "CMAKE_EXE_LINKER_FLAGS": f"-Wl,-rpath-link,{libraries}",
        "CMAKE_SKIP_RPATH": "ON",
        "GAITD_CPPZMQ_INCLUDE_DIR": include,
        "GAITD_MSGPACK_INCLUDE_DIR": include,
        "GAITD_ZMQ_INCLUDE_DIR": include,
        "GAITD_ZMQ_LIBRARY": libraries / "libzmq.so",
    }
    definitions = [f"-D{name}={value}" for name, value in settings.items()]
    run("cmake", "-S", ROOT / "proto/cpp", "-B", build, *definitions)
    run("cmake", "--build", build, "--target", "lite3_controller")
    return build / "lite3_controller"


class Board:
    """One board with its two disks."""

    def __init__(self, parts: Path, trial: Path, scratch: Path) -> None:
        """``trial`` is what the second disk holds, with an executable ``run``."""
        self._parts = parts
        self._disk, self._trial = scratch / "board.img", scratch / "trial.img"
        run("cp", "--sparse=always", parts / "board.img", self._disk)
        run("mke2fs", "-q", "-t", "ext4", "-d", trial, "-F", self._trial, "1G")

    def boot(self, console: Path, timeout_s: float) -> None:
        """Power on, and wait until it has switched itself off."""
        kernel = next((self._parts / "kernel/boot").glob("vmlinuz-*"))
        disks = [
            option
            for image in (self._disk, self._trial)
            for option in ("-drive", f"file={image},format=raw,if=virtio,cache=unsafe")
        ]
        # The board's time is that of the instructions it has run: a busy machine here changes nothing there.
        time = ["-icount", "shift=0,sleep=off"]
        with console.open("wb") as output:
            subprocess.run(
                ["nice", "-n", "10", "qemu-system-aarch64", *time, *machine_options(),
                 "-dtb", self._parts / "rk3588.dtb", "-nographic", "-no-reboot", "-nodefaults",
                 "-serial", "stdio", *disks, "-kernel", kernel,
                 "-initrd", self._parts / "initrd",
                 "-append", "console=ttyAMA0 quiet loglevel=3 panic=-1 systemd.show_status=0"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=timeout_s, check=True,
            )  # fmt: skip

    def read(self, name: str) -> str:
        """A file of the second disk; empty when there is none."""
        return run("debugfs", "-R", f"cat /{name}", self._trial)
