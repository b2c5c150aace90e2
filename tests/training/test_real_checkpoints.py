"""Checkpoints that the trainers themselves write give the actions that the trainers' own policies give."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gaitforge.cli import main
from gaitforge.model.onnx_policy import read_policy, run_rows

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "trainers"

pytestmark = pytest.mark.trainers


def train(directory: Path, script: str, *words: str, library: str = "") -> None:
    """Run a toy in the environment that ``make test-trainers`` makes."""
    python = BUILD / "venv" / "bin" / "python"
    assert python.exists(), "run make test-trainers"
    surroundings = {**os.environ, "PYTHONPATH": str(BUILD / library) if library else ""}
    command = [python, HERE / script, *words, directory]
    done = subprocess.run(
        command, cwd=directory, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def check(directory: Path, file: str, *options: str, tolerance: float = 1e-5) -> None:
    """Export, and compare with the trainer's own actions."""
    output = directory / "policy.onnx"
    assert main(["export", str(directory / file), "--output", str(output), *options]) == 0
    with np.load(directory / "reference.npz") as reference:
        actions = run_rows(read_policy(output).backend(), reference["obs"].astype(np.float32))
        np.testing.assert_allclose(actions, reference["action"], rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize(
    ("generation", "kind", "said"),
    [
        ("3", "mlp", []),
        ("3", "lstm", []),
        ("3", "gaussian", ["--head", "gaussian"]),
        ("5", "mlp", []),
        ("5", "lstm", []),
        ("5", "gaussian", ["--head", "gaussian"]),
    ],
)
def test_rsl_rl(tmp_path: Path, generation: str, kind: str, said: list[str]) -> None:
    train(tmp_path, "toy_rsl_rl.py", generation, kind, library=f"rsl_rl_{generation}")
    check(tmp_path, "model.pt", "--activation", "relu", *said)
    if generation == "5":
        check(tmp_path, "module.pt")


def test_rsl_rl_beta(tmp_path: Path) -> None:
    train(tmp_path, "toy_rsl_rl.py", "5", "beta", library="rsl_rl_5")
    agent = tmp_path / "params" / "agent.yaml"
    agent.parent.mkdir()
    agent.write_text(
        "actor:\n  activation: relu\n  distribution_cfg:\n    class_name: BetaDistribution\n"
        "    action_range: !!python/tuple [-2.0, 1.0]\n"
    )
    check(tmp_path, "model.pt")


@pytest.mark.parametrize("algorithm", ["PPO", "PPO+sde", "A2C", "SAC", "SAC+sde", "TD3"])
def test_stable_baselines3(tmp_path: Path, algorithm: str) -> None:
    train(tmp_path, "toy_stable_baselines3.py", algorithm)
    check(tmp_path, "model.zip")


@pytest.mark.parametrize(("epsilon", "clip"), [(1e-8, 5.0), (0.05, 1.5)])
def test_skrl(tmp_path: Path, epsilon: float, clip: float) -> None:
    train(tmp_path, "toy_skrl.py", str(epsilon), str(clip))
    if clip != 5.0:
        agent = tmp_path / "params" / "agent.yaml"
        agent.parent.mkdir()
        agent.write_text(
            "agent:\n  observation_preprocessor: RunningStandardScaler\n"
            f"  observation_preprocessor_kwargs: {{epsilon: {epsilon}, clip_threshold: {clip}}}\n"
        )
    check(tmp_path, "model.pt", "--activation", "elu")
