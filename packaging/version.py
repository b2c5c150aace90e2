"""The package's version, which says what checkout it was built from and sorts as the commits do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def package_version(checkout: Path, release: str) -> str:
    """``release`` at its tag v... and in an archive; ``release~git...`` before, ``release+git...`` after.

    Raises SystemExit when git does not tell.
    """
    if not (checkout / ".git").exists():
        return release
    commit = _git(
        checkout, "show", "--no-patch", "--format=%cd.%h", "--date=format-local:%Y%m%d%H%M%S", "HEAD"
    )
    dirty = ".dirty" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else ""
    tag = f"v{release}"
    if tag not in _git(checkout, "tag", "--merged", "HEAD").split():
        return f"{release}~git{commit}{dirty}"
    if not dirty and tag in _git(checkout, "tag", "--points-at", "HEAD").split():
        return release
    return f"{release}+git{commit}{dirty}"


def _git(checkout: Path, *arguments: str) -> str:
    if shutil.which("git") is None:
        raise SystemExit(f"the version of {checkout}: git not found: sudo apt-get install git")
    command = ["git", "-C", str(checkout), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"})
    if done.returncode:
        raise SystemExit(f"the version of {checkout}: git failed: {done.stderr.strip()}")
    return done.stdout.strip()
