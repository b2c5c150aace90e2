"""The whole way in five commands, as users of scripts have typed them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Forge = Callable[..., int]
Refused = Callable[..., str]

COMMANDS = """\
example
export demo_policy.pt --config example_actor_config.yaml --output policy.onnx --dynamic-batch
calibrate --env gaitforge.example:make_env --samples 2048 --output calib_obs.npy
convert policy.onnx --dataset calib_obs.npy --output policy.rknn --do-quant --quant-dtype asymmetric_affine-u8
agent policy.rknn --obs-stats demo_obs_stats.npz --env gaitforge.example:make_env --steps 200
"""


@pytest.mark.usefixtures("rknn_venv")
def test_five_commands(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS.splitlines():
        assert forge(*command.split()) == 0, command
    assert np.load("calib_obs.npy").shape == (2048, 108)
    printed = capsys.readouterr().out
    assert "step 200: " in printed
    assert "latency: mean " in printed
    assert "reward: mean " in printed
    # The third command knows nothing of the statistics that the fifth normalizes with.
    assert "were the calibration observations normalized" in printed


def test_agent_with_onnxruntime(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    assert forge("example") == 0
    assert forge("export", "demo_policy.pt") == 0
    agent = ["agent", "policy.onnx", "--obs-stats", "demo_obs_stats.npz"]
    assert forge(*agent, "--env", "gaitforge.example:make_env", "--steps", "300", "--quiet") == 0
    printed = capsys.readouterr().out
    assert "over 300 steps" in printed
    assert "episodes finished: 1" in printed
    assert "step 1:" not in printed


def test_agent_refuses_what_does_not_fit(forge: Forge, refused: Refused) -> None:
    assert forge("example") == 0
    assert forge("export", "demo_policy.pt") == 0
    agent = ["agent", "policy.onnx", "--env"]
    assert "takes 108 values, but the environment gives 45" in refused(2, *agent, "environments:Base")
    assert "--steps 0" in refused(2, *agent, "gaitforge.example:make_env", "--steps", "0")
    Path("policy.bin").touch()
    assert ".onnx or .rknn" in refused(2, "agent", "policy.bin", "--env", "gaitforge.example:make_env")
