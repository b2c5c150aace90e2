"""Physics runs where nothing can be drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.reference import EXAMPLE_BUNDLE


def simulate(platform: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "gaitforge.cli",
        "simulate",
        "--bundle",
        EXAMPLE_BUNDLE,
        "--seconds",
        "1",
    ]
    return subprocess.run(
        [*map(str, command), *map(str, options)],
        capture_output=True,
        text=True,
        env={**os.environ, "MUJOCO_GL": platform},
    )


@pytest.mark.parametrize("platform", ["osmesa", "egl", "glfw", "no such platform", ""])
def test_walking_needs_no_platform_to_draw_on(platform: str) -> None:
    done = simulate(platform)
    assert (done.returncode, done.stderr) == (0, "")
    assert "kept walking" in done.stdout


def test_what_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    done = simulate("no such platform", "--png", tmp_path / "walk.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot draw offscreen with MUJOCO_GL=no such platform: ")
    assert done.stderr.count("\n") == 1
