"""A whole training in small: gone on with after a kill, and what ends it."""

from __future__ import annotations

import json
import multiprocessing
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from forge.conftest import Forge
from forge.train.conftest import EXAMPLE
from gaitd.errors import GaitdError, GateError, InputError, ResourceError

pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")
pytest.importorskip("rsl_rl", reason="rsl_rl is absent: make test-trainers installs it")

from gaitforge.train import run
from gaitforge.train.checkpoints import Checkpoint
from gaitforge.train.draft.write import draft
from gaitforge.train.environment import Environment
from gaitforge.train.learner import Learner
from gaitforge.train.warm import begin_with
from gaitforge.train.worker import Task
from support.deploy import ROBOTS

pytestmark = pytest.mark.trainers


def settings(folder: Path, **changes: Any) -> Path:
    """Write the example's settings, small, with changes by the key's path."""
    raw = yaml.safe_load((EXAMPLE / "train.yaml").read_text())
    raw |= {"environments": 8, "iterations": 4, "checkpoint_every": 2} | changes
    raw["manifest"], raw["robot"] = str(EXAMPLE / "manifest.yaml"), str(EXAMPLE / "robot.yaml")
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def task(folder: Path, processes: int = 2, **changes: Any) -> tuple[Task, Path]:
    folder.mkdir(exist_ok=True)
    return run.read_task(settings(folder, **changes), folder / "run", processes), folder / "run"


def networks(checkpoint: Checkpoint) -> list[torch.Tensor]:
    saved = torch.load(checkpoint.model, weights_only=True)
    assert saved["iter"] == checkpoint.iteration
    return [tensor for role in ("actor", "critic") for tensor in saved[f"{role}_state_dict"].values()]


def kill_a_process(checkpoint: Checkpoint) -> None:
    multiprocessing.active_children()[-1].kill()


def test_after_a_kill_it_goes_on_to_the_same_result(tmp_path: Path) -> None:
    whole = run.train(*task(tmp_path / "whole"))
    cut, output = task(tmp_path / "cut")
    with pytest.raises(ResourceError, match="killed"):
        run.train(cut, output, kill_a_process)
    left = output / "checkpoints" / ".000004.part"  # as a kill while writing leaves it
    left.mkdir(exist_ok=True)
    resumed = run.train(cut, output)
    assert resumed.iteration == whole.iteration == 4
    for expected, got in zip(networks(whole), networks(resumed), strict=True):
        assert torch.equal(expected, got)

    def rows(folder: str) -> list[dict[str, float]]:
        lines = (tmp_path / folder / "run" / run.LOG).read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]

    assert rows("cut") == rows("whole")
    with pytest.raises(InputError, match="other settings"):
        run.train(task(tmp_path / "cut", seed=1)[0], output)


def test_it_begins_with_the_networks_of_a_training_that_saw_less(tmp_path: Path) -> None:
    begun = run.train(*task(tmp_path, iterations=1))
    steps = EXAMPLE.parent / "lite3_steps" / "train.yaml"

    def learner(settings: Path) -> Learner:
        read = run.read_task(settings, tmp_path, 1)
        robots = Environment(read.config, read.parameters, read.manifest, read.mjcf, count=8, seed=(0, 0))
        return Learner(read.config, robots)

    less, more = learner(tmp_path / "train.yaml"), learner(steps)
    begin_with(begun.model, less)
    begin_with(begun.model, more)
    seen = more.observations.clone()
    for role in ("policy", "critic"):
        seen[role] = torch.randn_like(seen[role])
    dim = less.observations["policy"].shape[1]
    added = seen["policy"].shape[1] - dim
    narrow = less.observations.clone()
    narrow["policy"] = seen["policy"][:, :dim]
    narrow["critic"] = torch.cat((seen["critic"][:, :dim], seen["critic"][:, dim + added :]), dim=1)
    for network in ("actor", "critic"):
        wide, was = getattr(more.ppo, network), getattr(less.ppo, network)
        assert torch.allclose(wide(seen), was(narrow), atol=1e-5)
    with pytest.raises(InputError, match="it must see the same terms first"):
        begin_with(_saved(more, tmp_path / "wide.pt"), less)
    (tmp_path / "none.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no checkpoint of gaitforge train"):
        begin_with(tmp_path / "none.pt", less)


def _saved(learner: Learner, path: Path) -> Path:
    torch.save(learner.ppo.save(), path)
    return path


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"environments": 20_000_000}, ResourceError, "not enough memory"),
        ({"learning": {"rate": 1e20}}, GateError, "the training diverged: .*; lower learning.rate"),
    ],
)
def test_what_ends_a_training_ends_it_in_a_clear_line(
    tmp_path: Path, changes: dict[str, Any], kind: type[GaitdError], words: str
) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (10 << 30, before[1]))  # which the training's processes inherit
    try:
        with pytest.raises(kind, match=words):
            run.train(*task(tmp_path, processes=1, **changes))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_settings_that_cannot_be_are_refused_by_name(tmp_path: Path, forge: Forge, capsys: Any) -> None:
    for changes, words in (
        ({"environment": 8}, "environment"),
        ({"rewards": {"speed": 1.0}}, "'speed' is unknown"),
        ({"environments": 7}, "7 robots are not a whole number for each of 2"),
        ({"commands": {"forward": [1, -1], "left": [0, 0], "turn": [0, 0]}}, "commands: forward"),
    ):
        command = ("train", settings(tmp_path, **changes), "--processes", 2, "--output", tmp_path / "out")
        assert forge(*command) == 2
        assert words in capsys.readouterr().err


@pytest.mark.skipif(not ROBOTS.is_dir(), reason="the robots' models are not here (../shared)")
@pytest.mark.parametrize("robot", ["go1/go1", "m20/m20", "g1/g1_12dof"])
def test_a_draft_of_a_published_robot_trains(tmp_path: Path, robot: str) -> None:
    path = draft(ROBOTS / f"{robot}.xml", tmp_path / "draft")
    raw = yaml.safe_load(path.read_text()) | {"environments": 8, "iterations": 3}
    path.write_text(yaml.safe_dump(raw))
    output = tmp_path / "run"
    assert run.train(run.read_task(path, output, processes=1), output).iteration == 3
    rows = [json.loads(line) for line in (output / run.LOG).read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert np.isfinite([row["reward"] for row in rows]).all()
