"""The package's version, of a checkout of its own making."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from rootfs import ROOT

sys.path.insert(0, str(ROOT / "packaging"))
from version import package_version


def git(checkout: Path, *arguments: str, day: int = 1) -> None:
    date = f"2026-01-{day:02}T03:04:05+0000"
    identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    command = ["git", "-C", str(checkout), *arguments]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **identity, **dates})


def sorts_before(one: str, other: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", one, "lt", other]).returncode == 0


def test_the_version_says_the_commit_and_sorts_with_it(tmp_path: Path) -> None:
    assert package_version(tmp_path, "1.2.0") == "1.2.0"  # a source archive
    git(tmp_path, "init", "--quiet")
    found = []
    for day in (1, 2, 3, 4):
        (tmp_path / "file").write_text(str(day))
        git(tmp_path, "add", "file")
        git(tmp_path, "commit", "--quiet", "--message", "x", day=day)
        if day == 3:
            git(tmp_path, "tag", "v1.2.0")
        found.append(package_version(tmp_path, "1.2.0"))
    (tmp_path / "file").write_text("changed")
    found.append(package_version(tmp_path, "1.2.0"))
    assert found[0].startswith("1.2.0~git20260101030405.")
    assert found[2] == "1.2.0"
    assert found[3].startswith("1.2.0+git20260104030405.")
    assert found[4] == f"{found[3]}.dirty"
    assert all(sorts_before(*pair) for pair in pairwise(found))


def test_a_checkout_that_git_cannot_read_is_no_release(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    with pytest.raises(SystemExit, match="git failed"):
        package_version(tmp_path, "1.2.0")
