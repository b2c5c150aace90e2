"""The Debian package on the systems that robots run, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import UNSIGNED, Layer, build_package, repack, system_root, until
from rootfs import ROOT, TargetUnavailableError

import gaitd
from gaitd.ctl.client import read_status
from support.bundles import write_small_bundle

pytestmark = pytest.mark.target

SYSTEMS = [
    pytest.param(("bullseye", ()), id="Debian-11"),
    pytest.param(("trixie", ()), id="Debian-13", marks=pytest.mark.board),
    pytest.param(("focal", UNSIGNED), id="Ubuntu-20.04", marks=pytest.mark.board),
    pytest.param(("jammy", UNSIGNED), id="Ubuntu-22.04", marks=pytest.mark.board),
    pytest.param(("noble", UNSIGNED), id="Ubuntu-24.04", marks=pytest.mark.board),
]
"""The quick run takes the one with the oldest C library: 2.31, that of Ubuntu 20.04."""
STILL = ("run/", "tmp/", "var/lib/dpkg/", "var/log/", "var/cache/", "etc/.pwd.lock", "delivery")
"""Where every installation of any package leaves traces."""


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path: Path, amd64_package: Path) -> Iterator[Layer]:
    """A root of that system, with the package and a bundle laid into it."""
    suite, apt_options = request.param
    try:
        base = system_root(suite, ["procps", "systemd", "udev"], apt_options)
    except TargetUnavailableError as error:
        pytest.skip(str(error))
    layer = Layer(base, tmp_path)
    try:
        delivery = layer.root / "delivery"
        delivery.mkdir()
        shutil.copy(amd64_package, delivery / "gaitd.deb")
        write_small_bundle(delivery / "small.gaitd")
        yield layer
    finally:
        layer.close()


def test_installs_without_network_runs_and_purges_without_a_trace(system: Layer, tmp_path: Path) -> None:
    before = _files(system.root)
    system.run("dpkg", "--install", "/delivery/gaitd.deb", network=False)
    version = system.run("dpkg-query", "--show", "--showformat=${Version}", "gaitd").stdout
    assert version.startswith(gaitd.__version__)
    assert system.run("gaitd", "--version", network=False).stdout == f"gaitd {version}\n"
    system.run("gaitctl", "install", "/delivery/small.gaitd", "--activate", network=False)
    for manual in ("man1/gaitctl.1.gz", "man5/gaitd.toml.5.gz", "man8/gaitd.8.gz"):
        assert ".TH " in gzip.decompress((system.root / "usr/share/man" / manual).read_bytes()).decode()
    assert "worker_cpus = [6]" in system.run("gaitd", "config", network=False).stdout
    report = json.loads(system.run("gaitctl", "selftest", "--json", "--seconds", "0.5", network=False).stdout)
    assert report["max_error"] <= report["tolerance"]
    _assert_ready(["chroot", str(system.root), "/opt/gaitd/bin/gaitd", "run"], system.root)

    loaded = system.run(
        "/opt/gaitd/bin/python3.11", "-c",
        "import ctypes, numpy, onnxruntime, prometheus_client, zmq; ctypes.CDLL('libstdc++.so.6');"
        "print(open('/proc/self/maps').read())",
    ).stdout  # fmt: skip
    assert set(re.findall(r"/\S+\.so\S*", loaded)) >= {"/opt/gaitd/lib/libc.so.6"}
    assert [path for path in re.findall(r"/\S+\.so\S*", loaded) if not path.startswith("/opt/gaitd/")] == []

    system.run("dpkg", "--remove", "gaitd")
    assert (system.root / "var/lib/gaitd/selection.json").is_file()
    system.run("dpkg", "--purge", "gaitd")
    assert _files(system.root) - before == set()
    assert "gaitd" not in (system.root / "etc/passwd").read_text() + (system.root / "etc/group").read_text()


@pytest.mark.thorough
def test_an_upgrade_keeps_config_policies_and_the_active_one(system: Layer, amd64_package: Path) -> None:
    repack(amd64_package, system.root / "delivery/newer.deb", version="999")
    system.run("dpkg", "--install", "/delivery/gaitd.deb")
    system.run("gaitctl", "install", "/delivery/small.gaitd", "--activate")
    config = system.root / "etc/gaitd/gaitd.toml"
    config.write_text("[metrics]\nport = 9999\n")
    policies = system.run("gaitctl", "list").stdout
    assert "active" in policies
    older = system.run("dpkg-query", "--show", "--showformat=${Version}", "gaitd").stdout
    for package, version in (("newer", "999"), ("gaitd", older)):  # there and back
        system.run("dpkg", "--install", f"/delivery/{package}.deb")
        assert system.run("dpkg-query", "--show", "--showformat=${Version}", "gaitd").stdout == version
        assert system.run("gaitctl", "list").stdout == policies
        assert config.read_text() == "[metrics]\nport = 9999\n"


@pytest.mark.thorough
def test_the_arm64_package_runs_in_an_otherwise_empty_root(arm64_package: Path, tmp_path: Path) -> None:
    """It brings all it needs: nothing but the package, the kernel's file systems and the emulator."""
    emulator = shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("qemu-aarch64-static not found: sudo apt-get install qemu-user-static")
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "--extract", arm64_package, root], check=True)
    shutil.copy(emulator, root / "qemu")
    (root / "tmp").mkdir()
    write_small_bundle(root / "small.gaitd")
    launcher = root / "launch"
    launcher.write_text(
        "#!/qemu /opt/gaitd/bin/python3.11\n"
        "import runpy, sys\n"
        "sys.executable = '/launch'\n"  # what gaitd starts its children with; the kernel starts the emulator
        "del sys.argv[:2]\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    launcher.chmod(0o755)
    mounts = " && ".join(
        ["mkdir -p {0}/proc {0}/dev", "mount -t proc proc {0}/proc", "mount --rbind /dev {0}/dev"]
    ).format(root)
    private = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    command = [*private, f'{mounts} && exec chroot {root} /launch -m "$@"', "sh"]
    options = ["--bundle", "/small.gaitd", "--seconds", "0.5", "--json"]
    done = subprocess.run(
        [*command, "gaitd.ctl.cli", "selftest", *options], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["max_error"] < 1e-4
    _assert_ready([*command, "gaitd.cli", "run", "--bundle", "/small.gaitd"], root, timeout_s=60)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake not found: sudo apt-get install cmake")
def test_a_controller_is_built_with_the_client_package(tmp_path: Path) -> None:
    build = [sys.executable, ROOT / "packaging/build_deb.py", "--arch", "all", "--compression", "none"]
    subprocess.run([*build, "--output", tmp_path], check=True, stdout=subprocess.DEVNULL)
    (package,) = tmp_path.glob("gaitd-dev_*_all.deb")
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path / "root"], check=True)
    headers = {path.name for path in (tmp_path / "root/usr/include/gaitd").glob("*.hpp")}
    assert headers == {path.name for path in (ROOT / "proto/cpp/include/gaitd").glob("*.hpp")}
    source = ROOT / "tests/cpp/package"
    find = [f"-DCMAKE_PREFIX_PATH={tmp_path / 'root/usr'}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    subprocess.run(["cmake", "-S", source, "-B", tmp_path / "build", *find], check=True, capture_output=True)
    assert f"{tmp_path}/root/usr/include" in (tmp_path / "build/compile_commands.json").read_text()


def _assert_ready(command: list[str], root: Path, timeout_s: float = 15) -> None:
    """Run gaitd in the foreground until its worker is ready, and stop it."""
    runtime_dir = root / "tmp/g"
    log = root.parent / "gaitd.log"
    command = [*command, "--runtime-dir", "/tmp/g", "--metrics-port", "0"]
    with log.open("wb") as output:
        program = subprocess.Popen(command, stdout=output, stderr=output)
    try:

        def ready() -> bool:
            assert program.poll() is None, log.read_text()
            status = read_status(runtime_dir)
            return status is not None and bool(status["worker"]["ready"])

        until(ready, timeout_s, f"not ready in {timeout_s} s; see {log}")
    finally:
        program.terminate()
        program.wait(20)
        shutil.rmtree(runtime_dir, ignore_errors=True)


def _files(root: Path) -> set[str]:
    """Everything below a root but what any package's installation changes."""
    output = subprocess.run(
        ["find", root, "-xdev", "-mindepth", "1", "-printf", "%P\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {name for name in output.splitlines() if not name.startswith(STILL)}


@pytest.mark.board
def test_lintian_has_nothing_to_say(tmp_path: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian not found; make test-target installs it")
    package = build_package(tmp_path, "arm64", compression="gzip")
    done = subprocess.run(
        ["lintian", "--fail-on=error,warning,info", "--allow-root", package], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
