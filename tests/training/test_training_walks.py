"""Three minutes of training on two processors, from nothing, give a robot that walks."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")

from gaitforge.train import finish
from gaitforge.train.evaluate import Evaluation, onnx_policy
from gaitforge.train.run import read_task, train
from gaitforge.train.worker import Task

SETTINGS = Path(__file__).parents[2] / "examples" / "lite3_trained" / "train.yaml"
ITERATIONS = 175

pytestmark = pytest.mark.trainers


def shortened(task: Task) -> Task:
    curriculum = msgspec.structs.replace(task.config.curriculum, iterations=100)
    config = msgspec.structs.replace(task.config, iterations=ITERATIONS, curriculum=curriculum)
    return replace(task, config=config)


def test_a_robot_walks_after_three_minutes(tmp_path: Path) -> None:
    task = shortened(read_task(SETTINGS, tmp_path, 2))
    start = time.monotonic()
    checkpoint = train(task, tmp_path)
    print(f"{ITERATIONS} iterations in {time.monotonic() - start:.0f} s")
    model = finish.export_policy(task, checkpoint, tmp_path / "policy.onnx")
    judged = Evaluation(task.config, task.parameters, task.mjcf, 2).judge(
        onnx_policy(model), task.manifest, 100
    )
    print(judged)
    assert judged.velocity_rmse_m_per_s < 0.25
    assert judged.falls <= 10
