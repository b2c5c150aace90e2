"""Drafts of a training for anybody's robot, from its model alone."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")

from forge.train.conftest import EXAMPLE
from gaitd.errors import InputError
from gaitforge.common.manifest import load_manifest
from gaitforge.simulate.body import from_mjcf
from gaitforge.train.config import read_config
from gaitforge.train.draft.write import draft
from gaitforge.train.environment import Environment
from gaitforge.train.mirror import mirror
from gaitforge.train.run import read_task
from gaitforge.train.worker import Task
from support.deploy import ROBOTS
from support.robots import JOINTS, LEGS, write_stool

WHEELS = [f"{leg}_wheel" for leg in LEGS]


def drafted(mjcf: Path, folder: Path) -> Task:
    return read_task(draft(mjcf, folder / "draft"), folder / "out", processes=1)


def robots_of(task: Task) -> Environment:
    return Environment(
        task.config, task.parameters, task.manifest, task.mjcf, count=4, seed=(task.config.seed, 0)
    )


def stand(robots: Environment, steps: int) -> np.ndarray:
    """Which of them fell while the policy said nothing."""
    fell = np.zeros(robots.count, np.bool_)
    for _ in range(steps):
        actor, critic = robots.observe()
        assert np.isfinite(actor).all()
        assert np.isfinite(critic).all()
        fell |= robots.step(np.zeros((robots.count, len(robots.manifest.joints)), np.float32)).fell
    return fell


def write_wheeled_stool(folder: Path) -> Path:
    """A stool with a wheel at each foot, which turns without end."""
    path = write_stool(folder)
    text = path.read_text()
    for leg in LEGS:
        foot = f'<geom name="{leg}_foot" type="sphere" size="0.025" pos="0 0 -0.2" mass="0.05"/>'
        assert foot in text
        wheel = (
            f'<body pos="0 0 -0.2"><joint name="{leg}_wheel" axis="0 1 0" actuatorfrcrange="-8 8" '
            f'armature="0.01"/><geom name="{leg}_tyre" type="sphere" size="0.05" mass="0.3"/></body>'
        )
        motor = f'<motor name="{leg}_wheel" joint="{leg}_wheel"/></actuator>'
        text = text.replace(foot, wheel).replace("</actuator>", motor)
    path.write_text(text)
    return path


def test_a_draft_is_a_training_that_runs(tmp_path: Path) -> None:
    task = drafted(write_stool(tmp_path), tmp_path)
    assert sorted(task.manifest.joints) == sorted(JOINTS)
    robots = robots_of(task)
    assert not stand(robots, 10).any()
    names = task.manifest.joints
    source, _ = mirror(robots.robot, robots.manifest, robots.observer).action
    assert names[source[names.index("front_left_knee")]] == "front_right_knee"


def test_a_draft_for_legs_is_what_the_example_walked_with(tmp_path: Path) -> None:
    task = drafted(write_stool(tmp_path), tmp_path)
    example, contract = read_config(EXAMPLE / "train.yaml"), load_manifest(EXAMPLE / "manifest.yaml")
    got = task.config
    weights = {name: weight for name, weight in example.rewards.items() if name != "torque"}
    assert {name: weight for name, weight in got.rewards.items() if name != "torque"} == weights
    assert got.rewards["torque"] < 0
    for part in ("environments", "iterations", "gait", "commands", "pushes", "curriculum", "learning"):
        assert getattr(got, part) == getattr(example, part), part
    assert list(task.manifest.phases.values()) == list(contract.phases.values())
    assert task.manifest.velocity_command == contract.velocity_command
    assert [term.term for term in task.manifest.observation.terms] == [
        term.term for term in contract.observation.terms
    ]


def test_without_a_keyframe_the_feet_stand_below_the_hips_on_bent_legs(tmp_path: Path) -> None:
    robots = robots_of(drafted(write_stool(tmp_path), tmp_path))
    model = robots.robot.model
    data = mujoco.MjData(model)
    data.qpos[:] = robots.robot.home
    mujoco.mj_forward(model, data)
    for leg in LEGS:
        thigh, foot = data.body(f"{leg}_thigh").xpos, data.geom(f"{leg}_foot").xpos
        np.testing.assert_allclose(foot - thigh, (0.0, 0.0, -0.8 * 0.4), atol=1e-3)


def test_a_keyframe_is_kept(tmp_path: Path) -> None:
    path = write_stool(tmp_path)
    pose = " ".join(["0 0 1 1 0 0 0", *["0.5 -1.0"] * 4])
    path.write_text(
        path.read_text().replace("</mujoco>", f'<keyframe><key qpos="{pose}"/></keyframe></mujoco>')
    )
    np.testing.assert_allclose(robots_of(drafted(path, tmp_path)).robot.default, [0.5, -1.0] * 4)


def test_what_collides_and_has_no_name_gets_one(tmp_path: Path) -> None:
    path = write_stool(tmp_path)
    text = path.read_text().replace('geom name="trunk"', "geom")
    path.write_text(text.replace('geom name="front_left_foot"', "geom"))
    parameters = drafted(path, tmp_path).parameters
    assert parameters.feet == ["front_left_shank_1", "front_right_foot", "hind_left_foot", "hind_right_foot"]
    assert parameters.terminal == ["trunk_1"]


def test_what_is_near_the_floor_in_the_pose_may_touch_it(tmp_path: Path) -> None:
    path = write_stool(tmp_path)
    path.write_text(path.read_text().replace(' contype="0" conaffinity="0"', ""))
    task = drafted(path, tmp_path)
    assert task.parameters.feet == [f"{leg}_foot" for leg in LEGS]
    assert sorted(task.parameters.terminal) == sorted(["trunk", *(f"{leg}_thigh_1" for leg in LEGS)])


def test_meshes_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "meshes").mkdir()
    corners = ("0 0 0", "0.1 0 0", "0 0.1 0", "0 0 0.1")
    faces = ("1 3 2", "1 2 4", "2 3 4", "1 4 3")
    lines = [*(f"v {corner}" for corner in corners), *(f"f {face}" for face in faces)]
    (tmp_path / "meshes" / "hat.obj").write_text("\n".join(lines))
    hat = '<geom type="mesh" mesh="hat" pos="0 0 0.05" mass="0.1"/>'
    path = write_stool(tmp_path, assets='<mesh name="hat" file="hat.obj"/>', more=hat)
    path.write_text(path.read_text().replace("<compiler", '<compiler meshdir="meshes"'))
    assert drafted(path, tmp_path).parameters.terminal == ["trunk", "trunk_1"]
    assert not stand(robots_of(read_task(tmp_path / "draft/train.yaml", tmp_path, 1)), 2).any()


def test_what_was_guessed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft(write_stool(tmp_path), tmp_path / "stool")
    assert "no keyframe" in capsys.readouterr().out


def test_the_robot_that_is_trained_is_the_one_that_the_simulator_walks(tmp_path: Path) -> None:
    task = drafted(write_stool(tmp_path), tmp_path)
    assert task.mjcf is not None
    trained = Environment(task.config, task.parameters, task.manifest, task.mjcf, count=1, seed=(0,)).robot
    walked = from_mjcf(task.mjcf, task.manifest)
    assert walked.stature.standing_m == pytest.approx(trained.height_m, abs=1e-6)
    np.testing.assert_allclose(walked.torque_limit_nm, task.parameters.torque_limit_nm)
    np.testing.assert_array_equal(walked.position, trained.position)


def test_wheels_are_driven_not_lifted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = drafted(write_wheeled_stool(tmp_path), tmp_path)
    assert "front_left_wheel, front_right_wheel" in capsys.readouterr().out
    assert task.manifest.joints == [*JOINTS, *WHEELS]
    assert task.manifest.continuous_joints == WHEELS
    assert task.config.gait is None
    robots = robots_of(task)
    robots.memory.command[:] = 0.0
    assert not stand(robots, 10).any()
    action = np.zeros((4, len(task.manifest.joints)), np.float32)
    action[:, len(JOINTS) :] = 0.5
    speeds = []
    for _ in range(50):
        robots.observe()
        speeds.append(robots.step(action).velocity[:, 0])
    # Half the raw action is half a metre a second.
    assert np.mean(speeds[-10:]) == pytest.approx(0.5, abs=0.15)


def test_a_model_without_torque_limits_is_refused_by_the_joint(tmp_path: Path) -> None:
    path = write_stool(tmp_path)
    path.write_text(path.read_text().replace('actuatorfrcrange="-40 40" ', ""))
    with pytest.raises(InputError, match="'front_left_hip' has no torque limit"):
        draft(path, tmp_path / "stool")
    assert not (tmp_path / "stool").exists()


@pytest.mark.skipif(not ROBOTS.is_dir(), reason="the robots' models are not here (../shared)")
@pytest.mark.parametrize(("robot", "feet"), [("go1/go1", 4), ("m20/m20", 4), ("g1/g1_12dof", 2)])
def test_published_robots_are_drafted_and_stand_in_their_pose(tmp_path: Path, robot: str, feet: int) -> None:
    task = drafted(ROBOTS / f"{robot}.xml", tmp_path)
    assert len(task.parameters.feet) == feet
    robots = robots_of(task)
    low, high = robots.robot.model.jnt_range[robots.robot.model.jnt_limited != 0].T
    pose = robots.robot.default[robots.robot.bounded]
    assert (pose > low).all()
    assert (pose < high).all()
    assert not stand(robots, 15).any()
    mirror(robots.robot, robots.manifest, robots.observer)
