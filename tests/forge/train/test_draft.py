"""Drafts of a training for anybody's robot, from its model alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")

from gaitd.errors import InputError
from gaitforge.simulate.body import from_mjcf
from gaitforge.train.draft import draft
from gaitforge.train.environment import Environment
from gaitforge.train.mirror import mirror
from gaitforge.train.run import read_task
from support.robots import JOINTS, write_stool

WHEEL = """
      <body name="wheel" pos="0.4 0 -0.2"><joint name="wheel" axis="0 1 0"/>
        <geom name="wheel" type="sphere" size="0.02" mass="0.1"/></body>"""


def test_a_draft_is_a_training_that_runs(tmp_path: Path) -> None:
    settings = draft(write_stool(tmp_path), tmp_path / "stool")
    task = read_task(settings, tmp_path / "out", processes=1)
    assert sorted(task.manifest.joints) == sorted(JOINTS)
    robots = Environment(
        task.config, task.parameters, task.manifest, task.mjcf, count=4, seed=(task.config.seed, 0)
    )
    for _ in range(10):
        actor, _ = robots.observe()
        step = robots.step(np.zeros((4, len(JOINTS)), np.float32))
    assert np.isfinite(actor).all()
    assert not step.fell.any()
    names = task.manifest.joints
    source, _ = mirror(robots.robot, robots.manifest, robots.observer).action
    assert names[source[names.index("front_left_knee")]] == "front_right_knee"


def test_what_was_guessed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft(write_stool(tmp_path), tmp_path / "stool")
    assert "no keyframe" in capsys.readouterr().out


def test_the_robot_that_is_trained_is_the_one_that_the_simulator_walks(tmp_path: Path) -> None:
    task = read_task(draft(write_stool(tmp_path), tmp_path / "stool"), tmp_path / "out", processes=1)
    assert task.mjcf is not None
    trained = Environment(task.config, task.parameters, task.manifest, task.mjcf, count=1, seed=(0,)).robot
    walked = from_mjcf(task.mjcf, task.manifest)
    assert walked.stature.standing_m == pytest.approx(trained.height_m, abs=1e-6)
    np.testing.assert_allclose(walked.torque_limit_nm, task.parameters.torque_limit_nm)
    np.testing.assert_array_equal(walked.position, trained.position)


def test_wheels_are_refused_by_name(tmp_path: Path) -> None:
    path = write_stool(tmp_path, more=WHEEL)
    path.write_text(path.read_text().replace("<actuator>", '<actuator><motor name="w" joint="wheel"/>'))
    with pytest.raises(InputError, match="joint 'wheel' has no range: if it is a wheel"):
        draft(path, tmp_path / "stool")
    assert not (tmp_path / "stool").exists()
