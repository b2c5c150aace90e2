"""A directory tree as a Debian package."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

DEB = Path(__file__).parent / "deb"
MAINTAINER = "The gaitd developers <maintainers@gaitd.invalid>"
MAX_INSTALLED_KIB = 120_000_000 // 1024
"""What a package may take on the robot's disk."""


@dataclass(frozen=True)
class Package:
    """One package; its control file and scripts are in packaging/deb/NAME."""

    name: str
    version: str
    arch: str
    lay_out: Callable[[Path], None]
    """Writes its files below a root."""
    programs: Callable[[Path], bool] = lambda path: False
    """Which of its files may be executed."""

    def build(self, output: Path, compression: str) -> Path:
        """Write NAME_VERSION_ARCH.deb into a directory and return its path."""
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch) / self.name
            root.mkdir()
            self.lay_out(root)
            self._document(root)
            for path in root.rglob("*"):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or self.programs(path) else 0o644)
            self._describe(root)
            output.mkdir(parents=True, exist_ok=True)
            package = output / f"{self.name}_{self.version}_{self.arch}.deb"
            subprocess.run(
                ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", root, package],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        return package

    def _document(self, root: Path) -> None:
        documents = root / "usr/share/doc" / self.name
        copy(DEB / "copyright", documents / "copyright")
        changelog = (
            f"{self.name} ({self.version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n"
            f" -- {MAINTAINER}  {formatdate()}\n"
        )
        (documents / "changelog.gz").write_bytes(gzip.compress(changelog.encode(), mtime=0))
        overrides = DEB / self.name / "lintian-overrides"
        if overrides.exists():
            copy(overrides, root / "usr/share/lintian/overrides" / self.name)

    def _describe(self, root: Path) -> None:
        """The DEBIAN directory."""
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        size_kib = sum(-(-path.stat().st_size // 1024) for path in files)
        if size_kib > MAX_INSTALLED_KIB:
            raise SystemExit(
                f"{self.name} for {self.arch} would take {size_kib} KiB on the robot, "
                f"{MAX_INSTALLED_KIB} at most"
            )
        control = root / "DEBIAN"
        control.mkdir()
        text = (DEB / self.name / "control").read_text()
        (control / "control").write_text(
            text.format(version=self.version, arch=self.arch, maintainer=MAINTAINER, installed_size=size_kib)
        )
        (control / "md5sums").write_text(
            "".join(
                f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files
            )
        )
        for script in ("postinst", "prerm", "postrm"):
            if (DEB / self.name / script).exists():
                copy(DEB / self.name / script, control / script)
                (control / script).chmod(0o755)


def copy(source: Path, target: Path) -> None:
    """Copy a file, with the directories above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
