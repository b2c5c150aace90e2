"""An aarch64 user land with the vendor's real wheel, run under qemu-user.

Built once into a cache outside the tree ($GAITD_TARGET_CACHE, default ~/.cache/gaitd/target), in about 15 s.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from standin.build import build_standin

ROOT = Path(__file__).parents[2]
TOOLS = ("mmdebstrap", "qemu-aarch64-static", "aarch64-linux-gnu-gcc", "unshare", "chroot")
DEBIAN = ["python3", "libstdc++6"]
WHEELS = [
    "mcap",
    "msgpack",
    "msgspec",
    "numpy",
    "prometheus-client",
    "psutil",
    "pyyaml",
    "pyzmq",
    "rknn-toolkit-lite2==2.5.0",
    "ruamel.yaml",
    "setuptools<81",
    "structlog",
    "zstandard",
]
PURE = ["sdnotify"]
"""Published as source only."""
LAUNCHER = """\
#!/qemu /usr/bin/python3
import runpy, sys
sys.executable = "/opt/python"  # what a program here starts its children with
assert sys.argv[1] == "-m"
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs modules as `python -m` does; the kernel starts qemu for it, so no binfmt registration is needed."""
RECIPE = "bookworm " + " ".join([*DEBIAN, *WHEELS, *PURE, LAUNCHER])


class TargetUnavailableError(Exception):
    """Why there is no emulated target here."""


def ensure_rootfs() -> Path:
    """The cached root directory, built if need be. Raises TargetUnavailableError saying what is missing."""
    if os.geteuid() != 0:
        raise TargetUnavailableError("containers and mounts need root: sudo make test")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise TargetUnavailableError(f"{', '.join(missing)} not found; make test installs them when root")
    default = Path.home() / ".cache/gaitd/target"
    cache = Path(os.environ.get("GAITD_TARGET_CACHE") or default)
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"aarch64-{hashlib.sha256(RECIPE.encode()).hexdigest()[:12]}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            draft = Path(tempfile.mkdtemp(dir=cache, prefix="draft-"))
            try:
                _build(draft)
            except subprocess.CalledProcessError as error:
                lines = (error.stderr or "").strip().splitlines() or [str(error)]
                raise TargetUnavailableError(f"the aarch64 root could not be built: {lines[-1]}") from error
            draft.rename(root)
        build_standin("aarch64-linux-gnu-gcc", root / "usr/lib/librknnrt.so.new")
        (root / "usr/lib/librknnrt.so.new").replace(root / "usr/lib/librknnrt.so")
    return root


def _build(root: Path) -> None:
    hooks = "/usr/share/mmdebstrap/hooks/merged-usr"
    _run("mmdebstrap", "--variant=extract", "--arch=arm64", f"--hook-dir={hooks}",
         f"--include={','.join(DEBIAN)}", "bookworm", str(root))  # fmt: skip
    site = root / "opt/site"
    with tempfile.TemporaryDirectory() as wheels:
        platforms = ["manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"]
        _run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
             "--python-version=311", *(f"--platform={name}" for name in platforms), f"--dest={wheels}",
             *WHEELS)  # fmt: skip
        _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={wheels}", *PURE)
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    launcher = root / "opt/python"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    for directory in ("dev", "gaitd", "proc", "tmp", "with-npu/proc/device-tree"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "with-npu/proc/device-tree/compatible").write_bytes(b"radxa,rock-5b\0rockchip,rk3588\0")
    shutil.copy(shutil.which("qemu-aarch64-static") or "", root / "qemu")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def target_command(
    root: Path,
    *arguments: str,
    npu: bool = True,
    binds: Mapping[Path, str] = {},
    variables: Mapping[str, str] = {},
) -> list[str]:
    """Run the target's Python with this repository at /gaitd (read-only).

    With ``npu`` the device tree says RK3588; ``binds`` maps directories of this machine into the target;
    ``variables`` is added to its environment. Mounts are private and gone when it ends; the program is the
    command's own process, so signals reach it.
    """
    steps = [
        f"mount -t proc proc {root}/proc",
        f"mount --rbind /dev {root}/dev",
        f"mount -t tmpfs tmpfs {root}/tmp",
        f"mount --bind {ROOT} {root}/gaitd",
        f"mount -o remount,bind,ro {root}/gaitd",
        *(
            f"mkdir -p {root}{inside} && mount --bind {outside} {root}{inside}"
            for outside, inside in binds.items()
        ),
        "ulimit -c 0",
        f'exec chroot {root} /qemu /usr/bin/python3 "$@"',
    ]
    environment = {
        **variables,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": "/opt/site:/gaitd/daemon:/gaitd/tests/target",
        "OPENBLAS_NUM_THREADS": "1",
    }
    if npu:
        environment["QEMU_LD_PREFIX"] = "/with-npu"
    settings = [f"{name}={value}" for name, value in environment.items()]
    private = ["unshare", "--mount", "--propagation", "private"]
    return ["env", "-i", *settings, *private, "sh", "-c", " && ".join(steps), "sh", *arguments]


def run_python(root: Path, *arguments: str, npu: bool = True, timeout_s: float = 120) -> str:
    """Run to the end and return the output (see target_command). Raises AssertionError when it fails."""
    command = target_command(root, *arguments, npu=npu)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        raise AssertionError(f"the target's program ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout
