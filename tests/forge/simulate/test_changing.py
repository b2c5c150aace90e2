"""Two walking policies that take turns in mid-stride: the robot does not fall, and no target jumps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.together import check_together
from gaitd.system.config import Config
from gaitforge.bundle.write import write_bundle
from gaitforge.simulate.changing import ChangingRun, run_changing
from gaitforge.simulate.script import CommandScript
from support.reference import EXAMPLE_BUNDLE, reference_bundle

GOLDEN = 0.5 * (5**0.5 - 1)
STRIDE, APART = 42, 80
"""Control steps: 0.5 s, and between two changes at least."""
BLEND_STEPS = Config().switch.blend_steps


def stiffer(source: Path, target: Path) -> Bundle:
    """The same model with other gains."""
    bundle = open_bundle(source)
    manifest: dict[str, Any] = yaml.safe_load(bundle.files["manifest.yaml"])
    manifest["name"] += "_stiffer"
    manifest["action"] |= {"stiffness_nm_per_rad": 34.0, "damping_nms_per_rad": 1.15}
    del manifest["files"]
    files = {name: bundle.read_bytes(name) for name in ("model.onnx", "golden.npz")}
    return open_bundle(write_bundle(target, manifest, files))


def walk(other: Bundle, changes: int) -> ChangingRun:
    """At command 1.0, from the example to the other one and back, at as many phases of the gait."""
    bundles = [open_bundle(EXAMPLE_BUNDLE), other]
    check_together(bundles, Config())
    at = [200 + APART * number + round(STRIDE * (number * GOLDEN % 1)) for number in range(changes)]
    return run_changing(
        bundles,
        script=CommandScript.constant(1.0),
        seconds=(at[-1] + 2 * APART) * 0.012,
        change_at=at,
        blend_steps=BLEND_STEPS,
    )


def good(found: ChangingRun, changes: int) -> None:
    assert found.changes == changes
    assert found.run.falls == 0
    assert found.run.rejected == 0
    assert 0 < found.largest_step_of_slew <= 1.0
    assert found.fade_steps == BLEND_STEPS
    assert found.run.measures.max_tilt_deg < 10
    seconds = found.run.steps * 0.012
    assert found.run.distance_m > 0.7 * seconds, "it stumbles"


def test_a_few_changes(tmp_path: Path) -> None:
    good(walk(stiffer(EXAMPLE_BUNDLE, tmp_path / "stiffer.gaitd"), 6), 6)


@pytest.mark.thorough
def test_fifty_phases_of_the_gait(tmp_path: Path) -> None:
    other = stiffer(reference_bundle(tmp_path / "reference.gaitd"), tmp_path / "stiffer.gaitd")
    good(walk(other, 50), 50)
