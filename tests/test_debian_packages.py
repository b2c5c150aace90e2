"""tools/debian-packages: what a target needs is there afterwards, or it fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools/debian-packages"
APT_GET = """#!/bin/sh
[ "$1" = install ] || exit 0
for name; do case $name in -*|install) ;; cmake|new-name) ;; *) echo "E: no $name" >&2; exit 100;; esac; done
echo "$@" >> "$APT_LOG"
"""
APT_CACHE = """#!/bin/sh
case $2 in cmake|new-name) ;; *) exit 100;; esac
"""


@pytest.mark.parametrize(
    ("wanted", "code", "installed"),
    [
        (["cmake"], 0, "cmake"),
        (["old-name|new-name", "cmake"], 0, "new-name cmake"),
        (["cmake", "nowhere"], 100, ""),
        (["nowhere"], 100, ""),
        (["nowhere|neither"], 100, ""),
    ],
)
def test_a_package_that_the_distribution_does_not_have_is_a_failure(
    tmp_path: Path, wanted: list[str], code: int, installed: str
) -> None:
    """On a machine where nothing is installed, whose distribution has two packages."""
    for name, script in {
        "apt-get": APT_GET,
        "apt-cache": APT_CACHE,
        "dpkg-query": "#!/bin/sh\nexit 1\n",
        "id": "#!/bin/sh\necho 0\n",
    }.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    log.touch()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "APT_LOG": str(log)}
    done = subprocess.run([TOOL, *wanted], env=environment, capture_output=True, check=False)
    assert done.returncode == code
    assert log.read_text().strip().endswith(installed)
    assert bool(log.read_text()) == bool(installed)
