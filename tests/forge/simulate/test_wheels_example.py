"""The example on wheels: what its bundle holds, how it drives, and that it stops when it is let go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gaitd.bundle.read import Bundle, open_bundle
from gaitforge.cli import main
from gaitforge.faults.catalog import FAULTS
from gaitforge.faults.runner import run_faults
from gaitforge.simulate.body import from_mjcf
from gaitforge.simulate.direct import DirectRun, onnx_backend, run_direct
from gaitforge.simulate.measure import Outcome
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/wheels"
CONTROLLER = ROOT / "build/cpp/lite3_controller"
MJCF = EXAMPLE / "robot.xml"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(EXAMPLE / "wheels.gaitd")


def drive(bundle: Bundle, command: tuple[float, float], slope_rad: float = 0.0, **more: Any) -> DirectRun:
    robot = Robot(0, from_mjcf(MJCF, bundle.manifest))
    robot.model.opt.gravity[:] = 9.81 * np.array([np.sin(slope_rad), 0.0, -np.cos(slope_rad)])
    forward, turn = command
    script = CommandScript.constant(forward, 0.0, turn)
    return run_direct(bundle.manifest, onnx_backend(bundle), script=script, robot=robot, **more)


def test_the_bundle_was_trained_under_what_stands_beside_it(bundle: Bundle) -> None:
    manifest, packed = (
        yaml.safe_load(text)
        for text in ((EXAMPLE / "manifest.yaml").read_text(), bundle.files["manifest.yaml"])
    )
    for key in ("model", "provenance", "files", "golden"):
        packed.pop(key)
    assert packed == manifest


@pytest.mark.parametrize("forward", [1.0, -0.5])
def test_it_drives_as_far_as_it_is_asked_to(bundle: Bundle, forward: float) -> None:
    run = drive(bundle, (forward, 0.0), seconds=5.0)
    assert run.measures.outcome is Outcome.KEPT_UP
    assert run.measures.displacement_m == pytest.approx(5.0 * abs(forward), rel=0.06)
    assert run.rejected == 0
    assert set(run.clamped) <= {"acceleration"}, "only where it sets off"


def test_it_turns_on_the_spot(bundle: Bundle) -> None:
    run = drive(bundle, (0.0, 1.0), seconds=4.0)
    assert run.measures.outcome is Outcome.KEPT_UP
    assert run.measures.displacement_m < 0.1
    assert float(run.trace.base_angular_velocity[-250:, 2].mean()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("slope_deg", [0.0, 10.0])
def test_let_go_it_stops_and_stays(bundle: Bundle, slope_deg: float) -> None:
    """Downhill, too."""
    run = drive(bundle, (1.0, 0.0), np.deg2rad(slope_deg), seconds=7.0, let_go_s=2.0)
    assert run.measures.outcome is Outcome.LAID_DOWN
    position = run.trace.base_position[:, :2]
    since = np.searchsorted(run.trace.time_s - run.trace.handover_s, 2.1)
    assert np.linalg.norm(position[-1] - position[since]) < 1.0
    assert np.linalg.norm(position[-1] - position[-500]) < 0.01


needs_controller = pytest.mark.skipif(
    not CONTROLLER.exists(), reason=f"the example controller is not built: {CONTROLLER}; `make cpp` builds it"
)


@needs_controller
@pytest.mark.thorough
def test_the_demo_drives_it(tmp_path: Path) -> None:
    options = [
        "--bundle",
        str(EXAMPLE / "wheels.gaitd"),
        "--mjcf",
        str(MJCF),
        "--controller",
        str(CONTROLLER),
    ]
    assert main(["demo", *options, "--output", str(tmp_path)]) == 0
    summary = yaml.safe_load((tmp_path / "summary.json").read_text())
    assert (summary["falls"], summary["outcome"]) == (0, "lay down softly")


ROWS = ("worker: kill -9", "same answer for every input", "guardian: kill -9 (all of gaitd goes)")


@needs_controller
@pytest.mark.thorough
def test_faults_stop_it(tmp_path: Path) -> None:
    faults = [fault for fault in FAULTS if fault.name in ROWS]
    judged = list(run_faults(faults, 1, EXAMPLE / "wheels.gaitd", CONTROLLER, tmp_path, MJCF))
    found = {each.trial.fault.name: each for each in judged}
    assert set(found) == set(ROWS)
    for each in found.values():
        assert each.misses == []
        assert each.outcome in ("lay down softly", "stopped")
