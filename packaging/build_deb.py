"""Build the Debian packages: python packaging/build_deb.py --arch arm64"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from deb_file import Package, copy
from runtime import PREFIX, PYTHON, compile_python, ensure_runtime
from version import package_version

import gaitd
from gaitd.system.config_doc import documented
from gaitd.system.config_files import DROP_INS, PACKAGED, load_config

REPOSITORY = Path(__file__).resolve().parents[1]
SYSTEMD = REPOSITORY / "systemd"
CACHE = Path(os.environ.get("GAITD_DEB_CACHE") or Path.home() / ".cache/gaitd/deb")
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
}


def robot_package(arch: str, version: str) -> Package:
    """gaitd with its interpreter; arch amd64 or arm64."""

    def runs(path: Path) -> bool:
        return path.parent.name == "bin" or path.name.startswith("ld-linux-")

    return Package("gaitd", version, arch, partial(_lay_out, arch=arch, version=version), runs)


def client_package(version: str) -> Package:
    """The C++ client, for whoever builds a controller."""
    return Package("gaitd-dev", version, "all", _lay_out_client)


def _lay_out(root: Path, arch: str, version: str) -> None:
    tree = root / str(PREFIX).lstrip("/")
    shutil.copytree(ensure_runtime(arch, CACHE), tree, symlinks=True)
    package = tree / "lib/python3/dist-packages/gaitd"
    shutil.copytree(REPOSITORY / "daemon/gaitd", package, ignore=shutil.ignore_patterns("__pycache__"))
    own = package / "__init__.py"
    own.write_text(own.read_text().replace(f'"{gaitd.__version__}"', f'"{version}"'))
    compile_python(tree, package)
    for name, module in (("gaitd", "gaitd.cli"), ("gaitctl", "gaitd.ctl.cli")):
        program = tree / "bin" / name
        program.write_text(PROGRAM.format(prefix=PREFIX, python=PYTHON, module=module))
        link = root / "usr/bin" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(PREFIX / "bin" / name)
    for source, target in SYSTEM_FILES.items():
        copy(SYSTEMD / source, root / target)
    documents = root / "usr/share/doc/gaitd"
    for example in sorted((SYSTEMD / "examples").iterdir()):
        copy(example, documents / "examples" / example.name)
    for guide in sorted((REPOSITORY / "docs").rglob("*.md")):
        copy(guide, documents / guide.relative_to(REPOSITORY / "docs"))
    copy(REPOSITORY / "CHANGELOG.md", documents / "CHANGELOG.md")
    subprocess.run([sys.executable, REPOSITORY / "tools/reference/manual.py", root, version], check=True)
    config = root / PACKAGED
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG_HEAD + documented(load_config(REPOSITORY / "packaging/robot.toml")))
    (root / DROP_INS).mkdir(parents=True)


def _lay_out_client(root: Path) -> None:
    client = REPOSITORY / "proto/cpp"
    with tempfile.TemporaryDirectory() as build:
        settings = {"PREFIX": "/usr", "LIBDIR": "share"}
        definitions = [f"-DCMAKE_INSTALL_{name}={value}" for name, value in settings.items()]
        _cmake("-S", client, "-B", build, "-DGAITD_CLIENT_EXAMPLES=OFF", *definitions)
        _cmake("--install", build, DESTDIR=str(root))
    documents = root / "usr/share/doc/gaitd-dev"
    copy(client / "README.md", documents / "README.md")
    copy(REPOSITORY / "proto/README.md", documents / "contract.md")
    for example in sorted((client / "examples").iterdir()):
        copy(example, documents / "examples" / example.name)


def _cmake(*arguments: object, **environment: str) -> None:
    command = ["cmake", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise SystemExit(f"cmake failed:\n{done.stderr}")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Build the Debian packages.")
    parser.add_argument("--arch", choices=("amd64", "arm64", "all"), nargs="+", default=["arm64"])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "dist")
    parser.add_argument("--compression", choices=("xz", "gzip", "none"), default="xz")
    options = parser.parse_args()
    version = package_version(REPOSITORY, gaitd.__version__)
    for arch in options.arch:
        package = client_package(version) if arch == "all" else robot_package(arch, version)
        file = package.build(options.output, options.compression)
        print(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
