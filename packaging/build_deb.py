"""Build the Debian package: python packaging/build_deb.py --arch arm64"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from runtime import PREFIX, PYTHON, compile_python, ensure_runtime

import gaitd
from gaitd.system.config_doc import documented
from gaitd.system.config_files import DROP_INS, PACKAGED, load_config

REPOSITORY = Path(__file__).resolve().parents[1]
DEB = REPOSITORY / "packaging/deb"
SYSTEMD = REPOSITORY / "systemd"
CACHE = Path(os.environ.get("GAITD_DEB_CACHE") or Path.home() / ".cache/gaitd/deb")
MAX_INSTALLED_KIB = 120_000_000 // 1024
"""What a package may take on the robot's disk."""
PROGRAM = """\
#!{prefix}/bin/{python} -I
import sys

from {module} import main

sys.exit(main())
"""
CONFIG_HEAD = """\
# Part of the package: an upgrade replaces this file. What shall differ on this robot goes into
# /etc/gaitd/gaitd.toml, or in parts into /etc/gaitd/gaitd.toml.d/*.toml: only the fields that differ.
"""
SYSTEM_FILES = {
    "gaitd.service": "usr/lib/systemd/system/gaitd.service",
    "gaitd-metrics.service": "usr/lib/systemd/system/gaitd-metrics.service",
    "gaitd-metrics.socket": "usr/lib/systemd/system/gaitd-metrics.socket",
    "gaitd.sysusers": "usr/lib/sysusers.d/gaitd.conf",
    "gaitd.tmpfiles": "usr/lib/tmpfiles.d/gaitd.conf",
    "60-gaitd.rules": "usr/lib/udev/rules.d/60-gaitd.rules",
    "examples/network.conf": "usr/share/doc/gaitd/examples/network.conf",
}


def build_deb(arch: str, output: Path, compression: str) -> Path:
    """Write gaitd_VERSION_ARCH.deb into a directory and return its path."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "gaitd"
        _lay_out(root, ensure_runtime(arch, CACHE))
        _describe(root, arch)
        output.mkdir(parents=True, exist_ok=True)
        package = output / f"gaitd_{gaitd.__version__}_{arch}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", root, package],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return package


def _lay_out(root: Path, runtime: Path) -> None:
    """All files, with their permissions."""
    tree = root / str(PREFIX).lstrip("/")
    shutil.copytree(runtime, tree, symlinks=True)
    package = tree / "lib/python3/dist-packages/gaitd"
    shutil.copytree(REPOSITORY / "daemon/gaitd", package, ignore=shutil.ignore_patterns("__pycache__"))
    compile_python(tree, package)
    for name, module in (("gaitd", "gaitd.cli"), ("gaitctl", "gaitd.ctl.cli")):
        program = tree / "bin" / name
        program.write_text(PROGRAM.format(prefix=PREFIX, python=PYTHON, module=module))
        _link(root / "usr/bin" / name, PREFIX / "bin" / name)
    for source, target in SYSTEM_FILES.items():
        _copy(SYSTEMD / source, root / target)
    documents = root / "usr/share/doc/gaitd"
    for example in sorted((SYSTEMD / "examples").iterdir()):
        _copy(example, documents / "examples" / example.name)
    for guide in sorted((REPOSITORY / "docs").glob("*.md")):
        _copy(guide, documents / guide.name)
    _copy(DEB / "copyright", documents / "copyright")
    (documents / "changelog.gz").write_bytes(gzip.compress((DEB / "changelog").read_bytes(), mtime=0))
    _copy(DEB / "lintian-overrides", root / "usr/share/lintian/overrides/gaitd")
    config = root / PACKAGED
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG_HEAD + documented(load_config(REPOSITORY / "packaging/robot.toml")))
    (root / DROP_INS).mkdir(parents=True)
    for path in root.rglob("*"):
        if not path.is_symlink():
            runs = path.is_dir() or path.parent == tree / "bin" or path.name.startswith("ld-linux-")
            path.chmod(0o755 if runs else 0o644)


def _describe(root: Path, arch: str) -> None:
    """The DEBIAN directory."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files)
    if size_kib > MAX_INSTALLED_KIB:
        raise SystemExit(
            f"gaitd for {arch} would take {size_kib} KiB on the robot, {MAX_INSTALLED_KIB} at most"
        )
    control = root / "DEBIAN"
    control.mkdir()
    text = (DEB / "control").read_text()
    (control / "control").write_text(
        text.format(version=gaitd.__version__, arch=arch, installed_size=size_kib)
    )
    (control / "md5sums").write_text(
        "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)
    )
    for script in ("postinst", "prerm", "postrm"):
        _copy(DEB / script, control / script)
        (control / script).chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Build the Debian package.")
    parser.add_argument("--arch", choices=("amd64", "arm64"), nargs="+", default=["arm64"])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "dist")
    parser.add_argument("--compression", choices=("xz", "gzip", "none"), default="xz")
    options = parser.parse_args()
    for arch in options.arch:
        package = build_deb(arch, options.output, options.compression)
        print(f"{package} ({package.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
