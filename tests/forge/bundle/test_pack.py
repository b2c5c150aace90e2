"""Bundles: what goes in comes out, golden vectors included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphs
import nets
import numpy as np
import onnx
import pytest
import torch
import yaml
from torch import nn

from gaitd.backends import open_backend
from gaitd.bundle.describe import describe_bundle
from gaitd.bundle.read import open_bundle
from gaitforge.common.files import sha256
from gaitforge.model.onnx_policy import run_rows
from support.bundles import mlp, mlp_onnx, mlp_weights
from support.reference import EXAMPLE_DIR

Forge = Callable[..., int]
Refused = Callable[..., str]

MANIFEST = EXAMPLE_DIR / "manifest.yaml"


def write_manifest(**changes: Any) -> None:
    manifest = {**yaml.safe_load(MANIFEST.read_text()), **changes}
    Path("manifest.yaml").write_text(yaml.safe_dump(manifest))


def test_golden_vectors_come_from_the_closed_loop(forge: Forge) -> None:
    graphs.dense(Path("policy.onnx"))
    assert forge("pack", "--manifest", MANIFEST, "--onnx", "policy.onnx", "--training-commit", "abc123",
                 "--output", "walk.gaitd") == 0  # fmt: skip
    bundle = open_bundle(Path("walk.gaitd"))
    observation, action = bundle.golden()
    assert observation.shape == (128, 45)
    # A robot that stands and moves: gravity points down, and the commands of the tour are there.
    assert observation[0, 5] < -0.9
    assert observation[:, 6].max() == pytest.approx(0.8)
    np.testing.assert_allclose(run_rows(open_backend("onnx", bundle), observation), action, atol=1e-6)
    provenance = bundle.manifest.provenance
    assert provenance["sha256_onnx"] == sha256(Path("policy.onnx"))
    assert provenance["training_commit"] == "abc123"
    assert {"gaitforge", "onnx", "numpy", "sha256_manifest"} <= set(provenance)


def test_normalization_and_recorded_observations(forge: Forge) -> None:
    graphs.dense(Path("policy.onnx"))
    write_manifest(normalization={"std_floor": 0.001}, robot="other", joints=[f"joint{i}" for i in range(12)])
    mean, std = np.full(45, 0.5, np.float32), np.full(45, 2.0, np.float32)
    np.savez("stats.npz", mean=mean, std=std)
    rows = np.random.default_rng(0).standard_normal((500, 45), dtype=np.float32)
    np.save("rows.npy", rows)
    assert forge("pack", "--manifest", "manifest.yaml", "--onnx", "policy.onnx", "--obs-stats", "stats.npz",
                 "--observations", "rows.npy", "--output", "bundle") == 0  # fmt: skip
    bundle = open_bundle(Path("bundle"))
    observation, action = bundle.golden()
    backend = open_backend("onnx", bundle)
    np.testing.assert_allclose(run_rows(backend, (observation - mean) / std), action, atol=1e-5)


def test_recurrent_policy_gets_one_sequence(forge: Forge) -> None:
    torch.manual_seed(0)
    torch.save(nets.recurrent(nn.GRU(nets.OBS, 16), nets.mlp(16, nets.ACT)), "policy.pt")
    assert forge("export", "policy.pt") == 0
    assert forge("pack", "--manifest", MANIFEST, "--onnx", "policy.onnx", "--output", "walk.gaitd") == 0
    bundle = open_bundle(Path("walk.gaitd"))
    assert [state.shape for state in bundle.manifest.model.recurrent] == [[1, 1, 16]]
    observation, action = bundle.golden()
    np.testing.assert_allclose(run_rows(open_backend("onnx", bundle), observation), action, atol=1e-6)
    shuffled = run_rows(open_backend("onnx", bundle), observation[::-1].copy())
    assert np.abs(shuffled[::-1] - action).max() > 1e-3


def write_two_models(**changes: Any) -> None:
    """An encoder that runs every fifth step, and what it leaves beside the observation to the walker."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    for term in manifest["observation"]["terms"]:
        term["part"] = "now"
    manifest["observation"]["parts"] = [{"name": "now"}]
    encoder = {"name": "encoder", "inputs": {"obs": ["now"]}, "size": 4, "every_steps": 5}
    walker = {"name": "walker", "inputs": {"obs": ["now", "encoder"]}, "backend": "onnx"}
    write_manifest(format=2, observation=manifest["observation"], models=[encoder, walker], **changes)
    Path("models").mkdir(exist_ok=True)
    Path("models/encoder.onnx").write_bytes(mlp_onnx(mlp_weights(45, 4)))
    Path("models/walker.onnx").write_bytes(mlp_onnx(mlp_weights(49, 12)))


PACK_TWO = ("pack", "--manifest", "manifest.yaml", "--onnx", "models", "--output", "two.gaitd")


def test_several_models_are_packed_together(forge: Forge) -> None:
    write_two_models()
    assert forge(*PACK_TWO) == 0
    bundle = open_bundle(Path("two.gaitd"))
    assert {"encoder.onnx", "walker.onnx"} <= set(bundle.files)
    assert bundle.manifest.provenance["sha256_encoder.onnx"] == sha256(Path("models/encoder.onnx"))
    observation, action = bundle.golden()
    assert observation.shape == (128, 45)
    latent = np.zeros(4, np.float32)
    for step, (row, answer) in enumerate(zip(observation, action, strict=True)):
        if step % 5 == 0:
            latent = mlp(mlp_weights(45, 4), row)
        expected = mlp(mlp_weights(49, 12), np.concatenate((row, latent)))
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_what_is_wrong_with_one_of_several_models_is_said_of_it(refused: Refused) -> None:
    write_two_models()
    Path("models/walker.onnx").write_bytes(mlp_onnx(mlp_weights(48, 12)))
    assert "walker.onnx" in refused(2, *PACK_TWO)
    Path("models/walker.onnx").unlink()
    assert "models/walker.onnx" in refused(2, *PACK_TWO)
    write_two_models()
    Path("npu").mkdir()
    assert "npu/encoder.rknn" in refused(2, *PACK_TWO, "--rknn", "npu")
    Path("npu/encoder.rknn").write_bytes(b"no model")
    assert "npu/encoder.rknn" in refused(2, *PACK_TWO, "--rknn", "npu")
    Path("report.json").write_text("{}")
    assert "verify judges a single model" in refused(2, *PACK_TWO, "--report", "report.json")


def test_a_chain_and_a_verification_of_several_models_are_refused(refused: Refused) -> None:
    write_two_models()
    graphs.dense(Path("policy.onnx"))
    torch.save({}, "policy.pt")
    assert "models: a checkpoint becomes one model" in refused(2, "chain", "policy.pt")
    assert "the manifest has several: encoder, walker" in refused(
        2, "verify", "policy.onnx", "--manifest", "manifest.yaml"
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"observation": {"terms": [{"term": "last_action"}]}}, "terms make 12"),
        (
            {"joints": ["a", "b"], "default_joint_position_rad": 0.0},
            "manifest.yaml: action.scale: expected 2",
        ),
        ({"fallback_damping_nms_per_rad": 0.0}, "manifest.yaml: fallback_damping_nms_per_rad: joint"),
        ({"robot": 3}, "robot"),
        ({"speed": 3}, "speed"),
        ({"normalization": {}}, "obs_stats.npz"),
        (
            {"format": 2, "models": [{"name": "walker", "inputs": {"obs": ["observation"]}}]},
            "--onnx policy.onnx: the manifest has several models: name the directory that holds walker.onnx",
        ),
        (
            {"format": 2, "held_joints": {"joints": ["FL_HipX_joint"]}},
            "held_joints",
        ),
    ],
)
def test_manifest_must_fit(refused: Refused, changes: dict[str, Any], named: str) -> None:
    graphs.dense(Path("policy.onnx"))
    write_manifest(**changes)
    error = refused(
        2, "pack", "--manifest", "manifest.yaml", "--onnx", "policy.onnx", "--output", "walk.gaitd"
    )
    assert named in error
    assert sorted(path.name for path in Path().iterdir()) == ["manifest.yaml", "policy.onnx"]


def test_robot_without_simulation_needs_observations(refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"))
    write_manifest(robot="other", joints=[f"joint{i}" for i in range(12)])
    pack = ["pack", "--manifest", "manifest.yaml", "--onnx", "policy.onnx", "--output", "walk.gaitd"]
    assert "--observations" in refused(2, *pack)
    np.save("one.npy", np.zeros((1, 45), np.float32))
    assert "at least two" in refused(2, *pack, "--observations", "one.npy")
    assert "the rknn file nowhere.rknn does not exist" in refused(2, *pack, "--rknn", "nowhere.rknn")


@pytest.mark.usefixtures("rknn_venv")
def test_model_for_the_npu_must_be_of_this_policy(forge: Forge, refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"))
    assert forge("convert", "policy.onnx") == 0
    np.save("rows.npy", np.zeros((9, 45), np.float32))
    pack = ["pack", "--manifest", MANIFEST, "--rknn", "policy.rknn", "--observations", "rows.npy"]
    assert forge(*pack, "--onnx", "policy.onnx", "--output", "walk.gaitd") == 0
    bundle = open_bundle(Path("walk.gaitd"))
    assert bundle.has("model.rknn")
    assert "for rk3588, float16" in bundle.manifest.provenance["rknn"]
    write_manifest(model={"npu_memory_kib": 1.0})
    within = [
        "pack",
        "--manifest",
        "manifest.yaml",
        *pack[3:],
        "--onnx",
        "policy.onnx",
        "--output",
        "x.gaitd",
    ]
    assert "manifest's npu_memory_kib is 1" in refused(2, *within)
    graphs.dense(Path("other.onnx"), widths=(45, 20, 12))
    error = refused(2, *pack, "--onnx", "other.onnx", "--output", "other.gaitd")
    assert "was not made from other.onnx but from policy.onnx" in error


@pytest.fixture
def verified(forge: Forge, rknn_venv: Path) -> list[object]:
    """A command line that packs a small policy with its report, whose gate passed."""
    graphs.dense(Path("policy.onnx"))
    write_manifest()
    np.save("rows.npy", np.random.default_rng(0).standard_normal((100, 45), dtype=np.float32))
    assert forge("verify", "policy.onnx", "--manifest", "manifest.yaml", "--seeds", "0",
                 "--inputs", "rows.npy") == 0  # fmt: skip
    return ["pack", "--manifest", "manifest.yaml", "--onnx", "policy.onnx", "--observations", "rows.npy",
            "--report", "verify/report.json", "--output", "walk.gaitd"]  # fmt: skip


def shown() -> str:
    return describe_bundle(open_bundle(Path("walk.gaitd"))).splitlines()[1].strip()


def test_a_report_that_passed_is_shown(forge: Forge, refused: Refused, verified: list[object]) -> None:
    assert forge(*verified) == 0
    assert shown() == "gate: passed, without walking in simulation"
    assert "nothing to accept" in refused(2, *verified, "--accept-failed-gate", "why not")
    bare = [*verified[: verified.index("--report")], "--output", "walk.gaitd"]
    assert "needs the report" in refused(2, *bare, "--accept-failed-gate", "why not")
    assert forge(*bare) == 0
    assert shown() == "gate: not run"


def test_bounds_that_were_loosened_are_shown(
    forge: Forge, verified: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    loose = "fp16.joint_max_rad 0.05 (default 0.005)"
    Path("gate.yaml").write_text("fp16: {joint_max_rad: 0.05}\n")
    assert forge("verify", "policy.onnx", "--manifest", "manifest.yaml", "--seeds", "0",
                 "--inputs", "rows.npy", "--gate", "gate.yaml") == 0  # fmt: skip
    assert f"gate: passed, with other bounds: {loose}" in capsys.readouterr().out
    assert f"gate: pass, with other bounds: {loose}" in Path("verify/report.html").read_text()
    assert forge(*verified) == 0
    assert shown() == f"gate: passed, without walking in simulation, with other bounds: {loose}"
    assert shown() in capsys.readouterr().out


def test_a_failed_gate_is_packed_only_with_a_reason(
    forge: Forge, refused: Refused, verified: list[object]
) -> None:
    path = Path("verify/report.json")
    report = json.loads(path.read_text())
    report["gate"] = {"passed": False, "failures": ["float: it falls"]}
    path.write_text(json.dumps(report))
    for reason in ([], ["--accept-failed-gate", ""]):
        assert "float: it falls" in refused(3, *verified, *reason)
    assert not Path("walk.gaitd").exists()
    assert forge(*verified, "--accept-failed-gate", "only for the\nbench") == 0
    assert shown() == "gate: failed, accepted because only for the bench (float: it falls)"
    packed = json.loads(open_bundle(Path("walk.gaitd")).read_bytes("report.json"))
    assert packed == {**report, "gate": {**report["gate"], "accepted": "only for the\nbench"}}


def test_a_report_of_something_else_is_refused(refused: Refused, verified: list[object]) -> None:
    write_manifest(description="another one")
    told = refused(2, *verified)
    assert "was made from another manifest" in told
    assert "gate" not in told
    path = Path("verify/report.json")
    passed = path.read_text()
    path.write_text(
        json.dumps({**json.loads(passed), "gate": {"passed": False, "failures": ["float: it falls"]}})
    )
    assert "was made from another manifest" in (told := refused(2, *verified))
    assert "its gate failed (1 failures)" in told
    path.write_text(passed)
    write_manifest()
    graphs.dense(Path("policy.onnx"), widths=(45, 8, 12))
    assert "was made from another model" in refused(2, *verified)
    graphs.dense(Path("policy.onnx"))
    write_manifest(normalization={})
    report = json.loads(Path("verify/report.json").read_text())
    report["made_from"]["sha256 of manifest"] = sha256(Path("manifest.yaml"))
    Path("verify/report.json").write_text(json.dumps(report))
    np.savez("stats.npz", mean=np.zeros(45, np.float32), std=np.ones(45, np.float32))
    assert "was made from another statistics" in refused(2, *verified, "--obs-stats", "stats.npz")
    report["made_from"]["sha256 of statistics"] = sha256(Path("stats.npz"))
    Path("verify/report.json").write_text(json.dumps(report))
    assert "give --obs-stats" in refused(2, *verified)
    Path("verify/report.json").write_text("{}")
    assert "no report of gaitforge verify" in refused(2, *verified)


def test_only_models_for_the_robots_npu_are_packed(refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"))
    Path("pointer.rknn").write_text("version https://git-lfs.github.com/spec/v1\n")
    error = refused(2, "pack", "--manifest", MANIFEST, "--onnx", "policy.onnx", "--rknn", "pointer.rknn",
                    "--output", "walk.gaitd")  # fmt: skip
    assert error.startswith("error: pointer.rknn: model.rknn does not begin with RKNN")


def test_external_data_are_packed_into_the_model(
    forge: Forge, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs.dense(Path("policy.onnx"))
    onnx.save(onnx.load("policy.onnx"), "outside.onnx", save_as_external_data=True, location="outside.bin",
              size_threshold=0)  # fmt: skip
    (workplace / "elsewhere").mkdir()
    monkeypatch.chdir(workplace / "elsewhere")
    np.save("rows.npy", np.zeros((9, 45), np.float32))
    assert forge("pack", "--manifest", MANIFEST, "--onnx", workplace / "outside.onnx",
                 "--observations", "rows.npy", "--output", "walk.gaitd") == 0  # fmt: skip
    Path(workplace / "outside.bin").unlink()
    bundle = open_bundle(Path("walk.gaitd"))
    observation, action = bundle.golden()
    np.testing.assert_allclose(run_rows(open_backend("onnx", bundle), observation), action, atol=1e-6)
