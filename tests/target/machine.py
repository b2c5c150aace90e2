"""A machine that boots the real systemd in a container, with the package installed.

The Debian root is made once, in half a minute, into a cache outside the tree ($GAITD_TARGET_CACHE, default
~/.cache/gaitd/target); each machine is a throw-away layer above it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from rootfs import ROOT, TargetUnavailableError

from gaitd.system.config_files import PACKAGED

TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "patchelf", "readelf", "dpkg-deb")
PACKAGES = ["dbus", "kmod", "procps", "systemd", "systemd-sysv", "udev", "util-linux"]
BOOT_TIMEOUT_S = 30.0


def cache_directory() -> Path:
    """Where roots are kept between runs."""
    cache = Path(os.environ.get("GAITD_TARGET_CACHE") or Path.home() / ".cache/gaitd/target")
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def require_tools() -> None:
    """Raises TargetUnavailableError saying what is missing."""
    if os.geteuid() != 0:
        raise TargetUnavailableError("containers and mounts need root: sudo make test")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise TargetUnavailableError(f"{', '.join(missing)} not found; make test installs them when root")


UNSIGNED = ('APT::Get::AllowUnauthenticated "true"', 'Acquire::AllowInsecureRepositories "true"')
"""For distributions whose keys Debian does not package: their roots are tried on and trusted with nothing."""


def system_root(suite: str, packages: Sequence[str], apt_options: Sequence[str] = ()) -> Path:
    """A cached amd64 root of that Debian or Ubuntu suite, built if need be. Raises TargetUnavailableError."""
    require_tools()
    cache = cache_directory()
    root = cache / f"{suite}-amd64"
    with (cache / f"lock-{suite}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            draft = Path(tempfile.mkdtemp(dir=cache, prefix="draft-"))
            draft.chmod(0o755)
            done = subprocess.run(
                ["mmdebstrap", "--variant=minbase", "--arch=amd64", f"--include={','.join(packages)}",
                 *(f"--aptopt={option}" for option in apt_options), suite, str(draft)],
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                shutil.rmtree(draft, ignore_errors=True)
                lines = done.stderr.strip().splitlines() or ["mmdebstrap failed"]
                raise TargetUnavailableError(f"the {suite} root could not be built: {lines[-1]}")
            draft.rename(root)
    return root


def build_package(output: Path, arch: str, compression: str = "none") -> Path:
    """The package of this tree. Raises TargetUnavailableError when the tools are missing."""
    require_tools()
    command = [sys.executable, ROOT / "packaging/build_deb.py", "--arch", arch, "--output", output]
    done = subprocess.run([*command, "--compression", compression], capture_output=True, text=True)
    assert done.returncode == 0, f"the package could not be built:\n{done.stderr}"
    return next(output.glob(f"gaitd_*_{arch}.deb"))


def repack(package: Path, target: Path, *, version: str, preinst: str = "", config: str = "") -> None:
    """The same package under another version.

    With ``preinst`` that script runs before it is unpacked; ``config`` is its gaitd.toml.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(re.sub("(?m)^Version: .*$", f"Version: {version}", control.read_text()))
        if preinst:
            (tree / "DEBIAN/preinst").write_text(preinst)
            (tree / "DEBIAN/preinst").chmod(0o755)
        if config:
            (tree / PACKAGED).write_text(config)
        build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, target]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)


def probe_unit(unit: str, program: str) -> str:
    """A unit with all its protections that runs another program, once."""
    dropped = ("Restart=", "WatchdogS", "Wants=", "StartLimit", "RuntimeDirectory")
    kept = [line for line in unit.splitlines() if not line.startswith(dropped)]
    for key, value in {"ExecStart": program, "Type": "oneshot"}.items():
        kept = [f"{key}={value}" if line.startswith(f"{key}=") else line for line in kept]
    return "\n".join(kept) + "\n"


UNPROTECTED_UNIT = "[Service]\nType=notify\nExecStart=/x\n"
"""For the control of a probe: what it can do where nothing holds it back."""


class Layer:
    """A throw-away writable layer above a cached root, with proc and dev for programs run in it."""

    def __init__(self, base: Path, scratch: Path) -> None:
        self.root = scratch / "root"
        upper, work = scratch / "upper", scratch / "work"
        for directory in (self.root, upper, work):
            directory.mkdir(parents=True)
        options = f"lowerdir={base},upperdir={upper},workdir={work}"
        _mount("-t", "overlay", "overlay", "-o", options, self.root)
        for kind in ("proc", "sysfs"):
            _mount("-t", kind, kind, self.root / kind.removesuffix("fs"))

    def run(self, *command: str, network: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in it, without systemd."""
        alone = [] if network else ["unshare", "--net"]
        return _run([*alone, "chroot", str(self.root), *command], check=True)

    def before_boot(self) -> None:
        """systemd mounts its own."""
        for name in ("proc", "sys"):
            subprocess.run(["umount", self.root / name], check=True)

    def close(self) -> None:
        """Unmount all of it."""
        for path in (self.root / "proc", self.root / "sys", self.root):
            subprocess.run(["umount", "--lazy", path], capture_output=True)


class Machine:
    """A booted container; commands run in it as root."""

    def __init__(self, root: Path, console: Path) -> None:
        """Boot and wait until the system is up. Raises TargetUnavailableError when it does not come up."""
        self.root = root
        with console.open("wb") as log:
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", "--boot", "--register=no", "--keep-unit", f"--directory={root}",
                 "--console=pipe", "--capability=all", "--private-network", "--quiet"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_SECCOMP": "0"},
            )  # fmt: skip
        try:
            until(self._is_up, BOOT_TIMEOUT_S)
        except AssertionError:
            self.power_off()
            text = console.read_text(errors="replace")[-500:]
            raise TargetUnavailableError(f"systemd does not boot in a container here: {text}") from None

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program and return its standard output."""
        return self.attempt(*command, check=check).stdout

    def attempt(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a program and return how it went."""
        enter = ["nsenter", "--target", str(self._leader()), "--mount", "--uts", "--ipc", "--net", "--pid"]
        return _run([*enter, "--root", "--wd", *command], check=check)

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def start_to_ready_s(self, unit: str) -> float:
        """How long its last start took, by systemd's own clock."""
        begin_us, ready_us = (
            int(self.show(unit, f"{event}TimestampMonotonic")) for event in ("InactiveExit", "ActiveEnter")
        )
        return (ready_us - begin_us) / 1e6

    def journal(self, unit: str) -> str:
        """What a unit has logged."""
        return self.run("journalctl", f"--unit={unit}", "--output=cat", "--no-pager")

    def seen_from_here(self, path: str) -> Path:
        """A path in the running container; its sockets can be connected to through it."""
        return Path(f"/proc/{self._leader()}/root{path}")

    def power_off(self) -> None:
        """End the container, the hard way if need be."""
        if self._nspawn.poll() is None:
            self._nspawn.send_signal(signal.SIGTERM)
            try:
                self._nspawn.wait(5)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()

    def _leader(self) -> int:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0])

    def _is_up(self) -> bool:
        try:
            state = self.attempt("systemctl", "is-system-running").stdout.strip()
        except (IndexError, OSError):
            return False
        return state in ("running", "degraded")


def until(condition: Callable[[], bool], timeout_s: float, message: str = "") -> None:
    """Wait for a condition. Raises AssertionError when it does not come true in time."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, message or f"did not come true within {timeout_s} s"
        time.sleep(0.05)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=_ENVIRONMENT
    )
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
