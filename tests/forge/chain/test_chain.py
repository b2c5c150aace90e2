"""From a checkpoint to a bundle in one go, and again without doing anything twice."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import graphs
import nets
import pytest
import torch
import yaml
from torch import nn

from gaitd.backends import open_backend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle.read import open_bundle
from gaitforge.model.onnx_policy import read_policy
from support.reference import EXAMPLE_DIR

Forge = Callable[..., int]
Refused = Callable[..., str]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("rknn_venv")]

STEPS = ("export", "contract", "calibrate", "verify", "convert", "pack")


def skipped(text: str) -> list[str]:
    return [step for step in STEPS if f"{step}: unchanged, skipped" in text]


def test_demo_policy_with_defaults(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    assert forge("example") == 0
    start = time.monotonic()
    assert forge("chain", "demo_policy.pt") == 0
    # A minute is asked for; a machine that does other things may take longer.
    assert time.monotonic() - start < 120.0
    bundle = open_bundle(Path("demo_policy/demo.gaitd"))
    assert {"model.onnx", "model.rknn", "obs_stats.npz", "golden.npz", "report.json"} <= set(bundle.files)
    assert run_selftest(open_backend("onnx", bundle), bundle, 1e-4).count == 128
    assert Path("demo_policy/verify/report.html").is_file()

    capsys.readouterr()
    assert forge("chain", "demo_policy.pt") == 0
    assert skipped(capsys.readouterr().out) == list(STEPS)
    assert forge("chain", "demo_policy.pt", "--training-commit", "abc123") == 0
    assert skipped(capsys.readouterr().out) == ["export", "contract", "calibrate", "verify", "convert"]
    Path("demo_policy/policy.rknn").write_bytes(b"altered")
    assert forge("chain", "demo_policy.pt", "--training-commit", "abc123") == 0
    assert skipped(capsys.readouterr().out) == ["export", "contract", "calibrate", "verify"]


def test_environment_and_the_checkpoints_own_normalizer(forge: Forge) -> None:
    """The statistics of training travel into the bundle; int8 is calibrated in the environment."""
    torch.manual_seed(0)
    torch.save(nets.new_rsl_rl(nets.mlp(nets.OBS, 32, nets.ACT)), "trained.pt")
    shutil.copy(EXAMPLE_DIR / "manifest.yaml", "manifest.yaml")
    options = [
        "--activation",
        "elu",
        "--env",
        "environments:Base",
        "--samples",
        "300",
        "--seeds",
        "0",
        "--do-quant",
    ]
    assert forge("chain", "trained.pt", *options, "--output", "out") == 0
    bundle = open_bundle(Path("out/lite3_walk.gaitd"))
    assert bundle.manifest.normalization is not None
    stats = bundle.obs_stats()
    assert stats is not None
    assert stats[1][0] == pytest.approx(0.51)
    report = json.loads(bundle.read_bytes("report.json"))
    largest = report["precisions"]["int8"]["action_error"]["max"]
    assert bundle.manifest.golden.rknn_tolerance >= max(0.05, largest)


@pytest.mark.thorough
def test_unsupported_operators_are_replaced_on_demand(forge: Forge, refused: Refused) -> None:
    torch.save(nets.actor_weights(nets.mlp(nets.OBS, 32, nets.ACT, activation=nn.SELU)), "trained.pt")
    shutil.copy(EXAMPLE_DIR / "manifest.yaml", "manifest.yaml")
    chain = ["chain", "trained.pt", "--activation", "selu", "--seeds", "0"]
    assert "no implementation of Selu" in refused(4, *chain)
    assert forge(*chain, "--replace-unsupported") == 0
    assert "Selu" not in read_policy(Path("trained/policy.onnx")).operators


def test_gate_stops_the_chain_before_a_bundle(forge: Forge, refused: Refused) -> None:
    assert forge("example") == 0
    Path("gate.yaml").write_text("fp16: {action_mean: 1.0e-9}\n")
    said = refused(3, "chain", "demo_policy.pt", "--seeds", "0", "--gate", "gate.yaml")
    assert "the gate failed, as said above" in said
    assert list(Path("demo_policy").glob("*.gaitd")) == []


def test_what_is_missing_is_named(forge: Forge, refused: Refused) -> None:
    assert "the checkpoint nowhere.pt does not exist" in refused(2, "chain", "nowhere.pt")
    assert forge("example") == 0
    Path("demo_obs_stats.npz").unlink()
    assert "give --obs-stats" in refused(2, "chain", "demo_policy.pt")
    manifest = yaml.safe_load(Path("manifest.yaml").read_text())
    manifest["joints"] = [f"joint{i}" for i in range(12)]
    manifest.pop("normalization")
    Path("manifest.yaml").write_text(yaml.safe_dump(manifest))
    assert "joint11 is no joint of the Lite3" in refused(2, "chain", "demo_policy.pt")
    Path("manifest.yaml").unlink()
    missing = refused(2, "chain", "demo_policy.pt")
    assert "manifest.yaml does not exist: write the policy's contract there" in missing


@pytest.mark.thorough
def test_an_onnx_file_goes_the_same_way(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    graphs.dense(Path("policy.onnx"))
    shutil.copy(EXAMPLE_DIR / "manifest.yaml", "manifest.yaml")
    chain = ["chain", "policy.onnx", "--seeds", "0", "--samples", "300", "--output", "walk"]
    assert forge(*chain) == 0
    assert "walk/lite3_walk.gaitd is ready; gate: passed, without walking in simulation" in (
        capsys.readouterr().out
    )
    bundle = open_bundle(Path("walk/lite3_walk.gaitd"))
    assert {"model.onnx", "model.rknn", "report.json"} <= set(bundle.files)
    assert bundle.read_bytes("model.onnx") == Path("policy.onnx").read_bytes()
    assert forge(*chain) == 0
    assert skipped(capsys.readouterr().out) == list(STEPS)
    graphs.dense(Path("policy.onnx"), (45, 16, 12))
    assert forge(*chain) == 0
    assert skipped(capsys.readouterr().out) == ["contract"]


def test_an_onnx_file_needs_no_description_and_is_not_written_over(forge: Forge, refused: Refused) -> None:
    Path("walk").mkdir()
    graphs.dense(Path("walk/policy.onnx"))
    shutil.copy(EXAMPLE_DIR / "manifest.yaml", "manifest.yaml")
    chain = ["chain", "walk/policy.onnx", "--manifest", "manifest.yaml"]
    assert "an ONNX file has its actor described" in refused(2, *chain, "--activation", "elu")
    assert "walk/policy.onnx would be written over" in refused(2, *chain, "--output", "walk")
