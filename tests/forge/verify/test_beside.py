"""gaitforge shadow: two policies compared in simulation, as gaitctl shadow compares them on the robot."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from gaitd.bundle.read import MANIFEST, Bundle, open_bundle
from gaitd.ctl.shadow.bounds import simulated_bound
from gaitd.shared.shadow import ShadowReport
from gaitforge.bundle.write import write_bundle
from gaitforge.cli import main
from gaitforge.simulate.body import lite3
from gaitforge.verify.beside import compare_in_simulation

WALKING = Path(__file__).parents[3] / "examples/lite3_walk/lite3_walk.gaitd"


def one_scale_off(target: Path, term: str, factor: float = 1.1) -> Bundle:
    """The example's policy, one of whose terms is ``factor`` times what it should be."""
    bundle = open_bundle(WALKING)
    manifest = yaml.safe_load(bundle.files[MANIFEST])
    manifest.pop("files")
    manifest["version"] = "1.0.1"
    for entry in manifest["observation"]["terms"]:
        if entry["term"] == term:
            entry["scale"] = factor * entry.get("scale", 1.0)
    files = {name: data for name, data in bundle.files.items() if name != MANIFEST}
    return open_bundle(write_bundle(target, manifest, files))


def test_one_scale_a_tenth_off_is_different_and_the_policy_itself_is_not(tmp_path: Path) -> None:
    walking = open_bundle(WALKING)
    same = compare_in_simulation(walking, walking, seeds=1, seconds=3.0, body=lite3())
    assert (same.verdict, same.compared, same.one_only) == ("equivalent", 250, 0)
    assert max(same.joints["FL_Knee_joint"]) == 0.0
    wrong = one_scale_off(tmp_path / "wrong.gaitd", "base_angular_velocity")
    report = compare_in_simulation(walking, wrong, seeds=1, seconds=3.0, body=lite3())
    assert report.verdict == "different"
    assert "observation.terms[0] (base_angular_velocity) is 1.1 times" in report.term


def test_its_file_is_a_bound_for_the_robot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = one_scale_off(tmp_path / "other.gaitd", "velocity_command")
    output = tmp_path / "simulated.json"
    command = ["shadow", str(WALKING), str(other.path), "--seeds", "1", "--output", str(output)]
    assert main(command) == 0
    assert "DIFFERENT" in capsys.readouterr().out
    report = msgspec.json.decode(output.read_bytes(), type=ShadowReport)
    bound = simulated_bound(output, report.policy_id, report.of_id, "onnx")
    seen = report.mean_rad["FL_HipY_joint"]
    assert bound.of("FL_HipY_joint").mean == pytest.approx(1.5 * seen)
    assert report.compared == 1166
    assert main([*command[:2], str(tmp_path / "none.gaitd")]) == 2
    assert main([*command, "--seeds", "0"]) == 2
