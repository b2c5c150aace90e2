"""The demo with the policy in the controller's own process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaitforge.cli import main
from gaitforge.stack.embedded import REASONS

ROOT = Path(__file__).parents[3]
CONTROLLER = ROOT / "build/cpp/lite3_controller"
EXAMPLE = ROOT / "examples/lite3_walk/lite3_walk.gaitd"


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("fault", REASONS)
def test_it_walks_until_the_runtime_fails_and_damps_within_the_deadline(fault: str, tmp_path: Path) -> None:
    robot = ["--bundle", str(EXAMPLE), "--controller", str(CONTROLLER)]
    assert main(["demo", *robot, "--output", str(tmp_path), "--embedded", fault]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["fault"]["reason"] == REASONS[fault]
    assert summary["fault"]["to_damping_ms"] < 65
    assert summary["falls"] == 0
