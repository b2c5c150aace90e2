"""The parts of the emulated board: disk, kernel, device tree, and what to compile its programs against.

Made once, in about two minutes, into a cache outside the tree ($GAITD_TARGET_CACHE, default
~/.cache/gaitd/target).
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine import cache_directory, require_tools
from rootfs import TargetUnavailableError

TOOLS = ("aarch64-linux-gnu-g++", "arch-test", "cmake", "cpio", "debugfs", "depmod", "fdtput", "mke2fs",
         "mmdebstrap", "qemu-aarch64-static", "qemu-system-aarch64")  # fmt: skip
SYSTEM = ["dbus", "kmod", "libzmq5", "procps", "systemd", "systemd-sysv", "udev"]
KERNEL = ["busybox-static", "cppzmq-dev", "libmsgpack-cxx-dev", "libzmq3-dev", "linux-image-arm64"]
"""What it boots with, and what the controller is compiled against."""
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
CORES = 8
"""As many as the chip has, so that gaitd's own cores are there."""
TRIAL_UNIT = """\
[Unit]
After=gaitd.service
[Service]
Type=oneshot
ExecStart=/trial/run
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""
INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in {modules}; do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
"""
BINFMT = Path("/proc/sys/fs/binfmt_misc")


def ensure_board() -> Path:
    """The cached directory with the board's parts. Raises TargetUnavailableError saying what is missing."""
    require_tools()
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise TargetUnavailableError(f"{', '.join(missing)} not found; make test-target installs them")
    recipe = Path(__file__).read_bytes()
    cache = cache_directory()
    board = cache / f"board-{hashlib.sha256(recipe).hexdigest()[:12]}"
    with (cache / "lock-board").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not board.exists():
            draft = Path(tempfile.mkdtemp(dir=cache, prefix="draft-"))
            draft.chmod(0o755)
            try:
                _build(draft)
            except subprocess.CalledProcessError as error:
                shutil.rmtree(draft)
                lines = (error.stderr or "").strip().splitlines() or [str(error)]
                raise TargetUnavailableError(f"the board could not be built: {lines[-1]}") from error
            for outdated in cache.glob("board-*"):
                shutil.rmtree(outdated)
            draft.rename(board)
    return board


def machine_options() -> list[str]:
    """What the emulator is told about the hardware."""
    # Without a network card no firmware of one is needed, which Debian has in another package.
    return ["-M", "virt", "-cpu", "cortex-a76", "-smp", str(CORES), "-m", "2048", "-nic", "none"]


DEVICES = """\
c /dev/rknpu 0660 root render - 10:230
d /dev/dma_heap 0755 root root -
c /dev/dma_heap/system 0660 root render - 1:3
"""
"""Device nodes, for systemd-tmpfiles."""


def _build(board: Path) -> None:
    root, kernel = board / "root", board / "kernel"
    with _foreign_programs():
        _debian("minbase", SYSTEM, root)
    _debian("extract", KERNEL, kernel, "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 0\n/dev/vdb /trial ext4 defaults 0 0\n")
    (root / "etc/hostname").write_text("board\n")
    # What the vendor's driver and the rule for udev make together.
    (root / "etc/tmpfiles.d/npu.conf").write_text(DEVICES)
    unit = root / "etc/systemd/system/trial.service"
    unit.write_text(TRIAL_UNIT)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / unit.name).symlink_to(unit.relative_to(root))
    (root / "trial").mkdir()
    run("mke2fs", "-q", "-t", "ext4", "-d", root, "-F", board / "board.img", "2G")
    shutil.rmtree(root)
    _write_initrd(kernel, board / "initrd")
    shutil.rmtree(kernel / "usr/lib/modules")
    _write_device_tree(board / "rk3588.dtb")


def _debian(variant: str, packages: list[str], target: Path, *options: str) -> None:
    include = f"--include={','.join(packages)}"
    run("mmdebstrap", f"--variant={variant}", "--arch=arm64", include, *options, "bookworm", target)


def _write_initrd(kernel: Path, initrd: Path) -> None:
    """Just enough to mount the disk."""
    modules = next((kernel / "lib/modules").iterdir())
    run("depmod", "-b", kernel, modules.name)
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        needs[Path(path).stem] = [*reversed(needed.split()), path]
    order = list(dict.fromkeys(path for name in MODULES for path in needs.get(name, [])))
    tree = initrd.with_name("initrd.d")
    for directory in ("bin", "dev", "modules", "root"):
        (tree / directory).mkdir(parents=True)
    shutil.copy(kernel / "bin/busybox", tree / "bin")
    for path in order:
        shutil.copy(modules / path, tree / "modules")
    (tree / "init").write_text(INIT.format(modules=" ".join(Path(path).name for path in order)))
    (tree / "init").chmod(0o755)
    run("sh", "-c", f"cd {tree} && find . | cpio --quiet -o -H newc | gzip -1 > {initrd}")
    shutil.rmtree(tree)


def _write_device_tree(target: Path) -> None:
    """qemu's own, with the names of a real board and its NPU."""
    machine, *options = machine_options()[1:]
    run("qemu-system-aarch64", "-M", f"{machine},dumpdtb={target}", *options)
    for node, name, *values in (
        ("/", "compatible", "radxa,rock-5b", "rockchip,rk3588", "linux,dummy-virt"),
        ("/npu@fdab0000", "compatible", "rockchip,rk3588-rknpu"),
        ("/npu@fdab0000", "status", "okay"),
    ):
        if node != "/":
            run("fdtput", "-c", "-p", target, node)
        run("fdtput", "-t", "s", target, node, name, *values)


@contextmanager
def _foreign_programs() -> Iterator[None]:
    """Have the kernel run programs of the other architecture, if it does not do so anyway."""
    if (BINFMT / "qemu-aarch64").exists():
        yield
        return
    mounted = not (BINFMT / "register").exists()
    if mounted:
        run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    try:
        (BINFMT / "register").write_bytes(Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_bytes())
        yield
    finally:
        (BINFMT / "qemu-aarch64").write_text("-1")
        if mounted:
            run("umount", BINFMT)


def run(*command: object) -> str:
    """Run a program and return its output. Raises CalledProcessError."""
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return done.stdout
