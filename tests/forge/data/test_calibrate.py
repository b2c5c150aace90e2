"""Collecting observations, and what environments can do wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graphs
import numpy as np
import pytest

from support.reference import EXAMPLE_DIR

Forge = Callable[..., int]
Refused = Callable[..., str]


@pytest.mark.parametrize("name", ["Base", "Gymnasium"])
def test_any_environment(forge: Forge, name: str) -> None:
    graphs.dense(Path("policy.onnx"))
    for policy in (
        ["--policy", "policy.onnx"],
        ["--policy", "environments:Policy"],
        ["--policy", "random"],
        [],
    ):
        command = ["calibrate", "--env", f"environments:{name}", "--samples", "70", "--output", "obs.npy"]
        assert forge(*command, *policy) == 0
        rows = np.load("obs.npy")
        assert rows.shape == (70, 45)
        assert rows.dtype == np.float32


def test_the_policy_acts_on_what_it_was_trained_on(forge: Forge) -> None:
    """With statistics both the policy's input and the file are normalized; the raw ones are kept apart."""
    assert forge("example") == 0
    assert forge("export", "demo_policy.pt") == 0
    command = [
        "calibrate",
        "--env",
        "gaitforge.example:make_env",
        "--policy",
        "policy.onnx",
        "--samples",
        "600",
    ]
    assert forge(*command, "--obs-stats", "demo_obs_stats.npz", "--raw-output", "raw.npy") == 0
    inputs, raw = np.load("calib_obs.npy"), np.load("raw.npy")
    with np.load("demo_obs_stats.npz") as stats:
        np.testing.assert_allclose(inputs, (raw - stats["mean"]) / stats["std"], rtol=1e-5, atol=1e-5)
    assert 0.8 < inputs.std() < 1.2


def test_simulated_walk(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    graphs.dense(Path("policy.onnx"))
    manifest = EXAMPLE_DIR / "manifest.yaml"
    assert forge("calibrate", "--simulate", "--manifest", manifest, "--policy", "policy.onnx",
                 "--samples", "300", "--output", "obs.npz") == 0  # fmt: skip
    with np.load("obs.npz") as data:
        assert data["obs"].shape == (300, 45)
    printed = capsys.readouterr().out
    assert "projected_gravity" in printed
    assert "coverage is thin: 300 samples" in printed


def test_says_what_is_constant_or_saturated(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dull.py").write_text(
        "import numpy as np\n"
        "class Dull:\n"
        "    action_dim = 2\n"
        "    def __init__(self): self.r = np.random.default_rng(0)\n"
        "    def reset(self): return np.array([1.0, min(0.5, self.r.normal()), self.r.normal()])\n"
        "    def step(self, action): return self.reset(), 0.0, False, {}\n"
    )
    assert forge("calibrate", "--env", "dull:Dull", "--samples", "600") == 0
    printed = capsys.readouterr().out
    assert "all: 1 of 3 values never change" in printed
    assert "all: 1 of 3 values stand at their limit often" in printed


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("environments:Raises", "step 4: raised ValueError: the robot fell apart"),
        ("environments:GivesNan", "step 1: observation value 7 is nan"),
        ("environments:ChangesSize", "step 1: the observation has 44 values, before it had 45"),
        ("environments:GivesThree", "step 1: expected (obs, reward, done, info)"),
        ("environments:NanReward", "step 1: the reward is nan"),
        ("environments:NoStep", "NoStep without the method step"),
        ("environments:Strings", "reset: the observation is no array"),
        ("environments:broken", "raised RuntimeError: no simulator"),
        ("environments:Missing", "the module environments has no Missing"),
        ("nowhere:make", "ModuleNotFoundError"),
        ("nowhere", "expected module:name"),
    ],
)
def test_bad_environments(refused: Refused, name: str, named: str) -> None:
    assert named in refused(2, "calibrate", "--env", name, "--policy", "random", "--samples", "50")
    assert list(Path().iterdir()) == []


def test_policy_and_environment_must_fit(refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"), widths=(30, 12))
    error = refused(2, "calibrate", "--env", "environments:Base", "--policy", "policy.onnx")
    assert "gives 45 values, but policy.onnx takes 30" in error
    np.savez("stats.npz", mean=np.zeros(9), std=np.ones(9))
    error = refused(
        2, "calibrate", "--env", "environments:Base", "--policy", "random", "--obs-stats", "stats.npz"
    )
    assert "9 values" in error
    np.savez("stats.npz", mean=np.zeros(45))
    error = refused(
        2, "calibrate", "--env", "environments:Base", "--policy", "random", "--obs-stats", "stats.npz"
    )
    assert "no array 'std'" in error
    assert "--samples 0" in refused(2, "calibrate", "--env", "environments:Base", "--samples", "0")
