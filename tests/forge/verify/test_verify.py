"""The reference policy, converted by the real toolkit, is still the reference policy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import graphs
import numpy as np
import pytest
import yaml

from support.reference import EXAMPLE_DIR, REFERENCE_POLICY

Forge = Callable[..., int]
Refused = Callable[..., str]

pytestmark = pytest.mark.usefixtures("rknn_venv")

MANIFEST = EXAMPLE_DIR / "manifest.yaml"


@pytest.mark.thorough
@pytest.mark.skipif(
    not REFERENCE_POLICY.is_file(), reason=f"the reference policy is absent: {REFERENCE_POLICY}"
)
def test_reference_policy(forge: Forge) -> None:
    """fp16 is float but for rounding; int8, calibrated on closed-loop observations, walks as far."""
    walk = ["--manifest", MANIFEST]
    assert forge("calibrate", "--simulate", *walk, "--policy", REFERENCE_POLICY, "--samples", "2048") == 0
    assert forge("verify", REFERENCE_POLICY, *walk, "--dataset", "calib_obs.npy") == 0
    report = json.loads(Path("verify/report.json").read_text())
    precisions = report["precisions"]
    assert set(precisions) == {"float", "fp16", "int8"}
    for part in precisions.values():
        assert set(part["action_error"]) == {"mean", "max", "cosine_min"}
        assert {"distance_m", "falls", "velocity_rmse", "yaw_bias"} <= set(part["closed_loop"])
        assert part["closed_loop"]["falls"] == 0
    floating, fp16, int8 = (precisions[name]["closed_loop"] for name in ("float", "fp16", "int8"))
    assert floating["distance_m"] > 7.5
    assert fp16["action_error"]["max"] < 0.005
    assert int8["action_error"]["mean"] < 0.08
    assert abs(int8["distance_m"] / floating["distance_m"] - 1.0) < 0.05
    assert report["gate"] == {"passed": True, "failures": [], "other_bounds": []}
    assert len(report["joints"]["int8"]["error_rad"]) == 12


@pytest.mark.thorough
def test_a_policy_that_stands_still_fails_whatever_its_conversion(
    forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the report that says so needs no other file."""
    graphs.dense(Path("policy.onnx"))
    contract = ["--manifest", MANIFEST]
    assert forge("calibrate", "--simulate", *contract, "--policy", "policy.onnx", "--samples", "200") == 0
    walks = ["--seeds", "1", "--seconds", "4", "--dataset", "calib_obs.npy"]
    assert forge("verify", "policy.onnx", *contract, *walks) == 3
    printed, error = capsys.readouterr()
    assert re.search(r"^error: the gate failed, as said above and in verify/report.html$", error, re.M)
    assert printed.count("failed: float: asked to walk forward at 0.80 m/s, it stood") == 1
    assert printed.count("look at the order of joints and terms") == 1
    assert "gate: failed" in printed
    assert "float, seed 0: kept walking; in 4 s " in printed
    report = json.loads(Path("verify/report.json").read_text())
    assert report["gate"]["passed"] is False
    assert report["bounds"]["floor"]["tracking_fraction"] == 0.5
    (walk,) = report["precisions"]["fp16"]["closed_loop"]["walks"]
    assert abs(walk["forward_m"]) < 1.0
    assert len(report["tour"]["legs"]) == 6
    page = Path("verify/report.html").read_text()
    assert "viewport" in page
    assert "walk left at 0.40 m/s" in page
    assert "floor tracking fraction" in page
    assert report["made_from"]["date"] in page
    assert len(re.findall(r'<img alt="[^"]+" src="data:image/png;base64,', page)) == 5
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    assert "http" not in page
    for joint in yaml.safe_load(MANIFEST.read_text())["joints"]:
        assert joint in page


def test_a_normalizing_contract_needs_its_statistics(refused: Refused, recorded: list[object]) -> None:
    manifest = {**yaml.safe_load(MANIFEST.read_text()), "normalization": {}}
    Path("normalizing.yaml").write_text(yaml.safe_dump(manifest))
    np.savez("stats.npz", mean=np.zeros(45, np.float32), std=np.ones(45, np.float32))
    given = ["--manifest", "normalizing.yaml"]
    assert "give --obs-stats" in refused(2, *recorded, *given)
    walk = ["calibrate", "--simulate", "--policy", "policy.onnx"]
    assert "give --obs-stats" in refused(2, *walk, *given)
    assert "has no normalization" in refused(2, *walk, "--manifest", MANIFEST, "--obs-stats", "stats.npz")
    assert "has no normalization" in refused(2, *recorded, "--obs-stats", "stats.npz")


@pytest.fixture
def recorded(workplace: Path) -> list[object]:
    """A command line that verifies a small policy without walking."""
    graphs.dense(Path("policy.onnx"))
    rows = np.random.default_rng(0).standard_normal((600, 45), dtype=np.float32)
    np.save("calib_obs.npy", rows[:500])
    np.save("inputs.npy", rows[500:])
    return ["verify", "policy.onnx", "--manifest", MANIFEST, "--seeds", "0", "--inputs", "inputs.npy",
            "--dataset", "calib_obs.npy"]  # fmt: skip


def test_the_console_says_that_the_gate_passed(
    forge: Forge, recorded: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert forge(*recorded) == 0
    printed = capsys.readouterr().out
    assert "gate: passed" in printed
    assert "parity: no capture, so the observation's terms are not proven" in printed
    assert json.loads(Path("verify/report.json").read_text())["parity"] is None
    assert (
        "No capture: what the observation is made of is not proven" in Path("verify/report.html").read_text()
    )


@pytest.mark.thorough  # the chain's gate says so in the normal run
def test_gate_names_the_number(refused: Refused, recorded: list[object]) -> None:
    Path("gate.yaml").write_text("int8: {action_mean: 1.0e-5}\n")
    error = refused(3, *recorded, "--gate", "gate.yaml")
    assert re.search(r"int8: mean action error is 0\.0\d+, allowed is 1e-05", error)
    report = json.loads(Path("verify/report.json").read_text())
    assert report["gate"]["passed"] is False
    assert "gate: fail" in Path("verify/report.html").read_text()


@pytest.mark.thorough
def test_search_keeps_as_few_layers_in_float16_as_it_takes(forge: Forge, recorded: list[object]) -> None:
    assert forge(*recorded) == 0
    error = json.loads(Path("verify/report.json").read_text())["precisions"]["int8"]["action_error"]["mean"]
    Path("gate.yaml").write_text(f"int8: {{action_mean: {0.85 * error}}}\n")
    assert forge(*recorded, "--gate", "gate.yaml") == 3
    assert forge(*recorded, "--gate", "gate.yaml", "--hybrid") == 0
    report = json.loads(Path("verify/report.json").read_text())
    assert report["precisions"]["hybrid"]["action_error"]["mean"] <= 0.85 * error
    layers = report["made_from"]["layers in float16"].split(", ")
    assert 1 <= len(layers) < 3
    assert forge("convert", "policy.onnx", "--do-quant", "--dataset", "calib_obs.npy",
                 "--fp16-layers", *layers) == 0  # fmt: skip


def test_search_says_when_nothing_helps(refused: Refused, recorded: list[object]) -> None:
    Path("gate.yaml").write_text("int8: {action_mean: 1.0e-7}\n")
    assert "wholly in float16" in refused(3, *recorded, "--gate", "gate.yaml", "--hybrid")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("int8: {mean: 1}", "mean"),
        ("int4: {}", "int4"),
        ("int8: 3", "keys and values"),
        ("[", "not valid YAML"),
    ],
)
def test_unreadable_gate(refused: Refused, recorded: list[object], text: str, named: str) -> None:
    Path("gate.yaml").write_text(text)
    assert named in refused(2, *recorded, "--gate", "gate.yaml")
