"""Anybody's robot in the simulator, from its MJCF file and a contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gaitd.backends.onnx import OnnxBackend
from gaitd.errors import GateError, InputError
from gaitd.policy.manifest import Float32Array, Model
from gaitforge.common.manifest import checked_manifest
from gaitforge.simulate.body import find, from_mjcf
from gaitforge.simulate.direct import Step, run_direct
from gaitforge.simulate.measure import Outcome
from gaitforge.simulate.physics import mujoco
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript
from gaitforge.verify.evaluation import closed_loop
from gaitforge.verify.gate import Floor, floor_failures
from gaitforge.verify.landing import land
from support.bundles import LITE3_JOINTS, lite3_manifest, mlp_onnx, mlp_weights
from support.robots import HEIGHT_M, JOINTS, stool_contract, stool_manifest, write_stool

STILL = CommandScript.constant(0.0)
KNEES = [joint for joint in JOINTS if joint.endswith("knee")]


def standing_backend() -> OnnxBackend:
    observation = 9 + 3 * len(JOINTS)
    weights = [np.zeros_like(weight) for weight in mlp_weights(observation, len(JOINTS))]
    return OnnxBackend(mlp_onnx(weights), Model(), observation, len(JOINTS))


def rest(observation: Float32Array) -> Float32Array:
    """The action of a policy that wants the default pose."""
    return np.zeros(len(JOINTS), np.float32)


def test_it_stands_where_the_default_pose_puts_it(tmp_path: Path) -> None:
    body = from_mjcf(write_stool(tmp_path), stool_contract())
    assert body.stature.standing_m == pytest.approx(HEIGHT_M, abs=1e-4)
    run = run_direct(stool_contract(), rest, script=STILL, seconds=1.0, body=body)
    assert run.measures.outcome is Outcome.KEPT_UP
    held = run.trace.time_s < run.trace.handover_s
    np.testing.assert_allclose(run.trace.base_position[held, 2], HEIGHT_M, atol=0.003)
    assert HEIGHT_M - 0.06 < run.measures.height_m[0] < HEIGHT_M - 0.001, "its weight is on its legs now"


def test_joints_are_found_by_name(tmp_path: Path) -> None:
    """One joint is asked to move; the policy's order is the reverse of the model's."""
    moved, readings = JOINTS[2], list[np.ndarray]()
    contract = stool_contract()
    index = contract.joints.index(moved)

    def infer(observation: Float32Array) -> Float32Array:
        action = rest(observation)
        action[index] = 0.8
        return action

    def keep(step: Step) -> None:
        readings.append(step.reading.joint_position)

    body = from_mjcf(write_stool(tmp_path), contract)
    run = run_direct(contract, infer, script=STILL, seconds=0.4, on_step=keep, body=body)
    change = readings[-1] - readings[0]
    assert change[index] > 0.1
    assert np.abs(np.delete(change, index)).max() < change[index] / 2
    assert run.joints[index] == moved


def test_its_motors_are_the_manifests_up_to_the_smaller_torque(tmp_path: Path) -> None:
    most = {joint: 10.0 if joint == JOINTS[0] else 50.0 for joint in JOINTS}
    limits = {"position": {"min_rad": -2.5, "max_rad": 1.5}, "torque": {"max_nm": most}}
    contract = stool_contract(limits=limits)
    body = from_mjcf(write_stool(tmp_path), contract)
    expected = [10.0 if joint == JOINTS[0] else 40.0 for joint in contract.joints]
    np.testing.assert_array_equal(body.torque_limit_nm, expected)
    np.testing.assert_array_equal(body.stand_up_stiffness, 80.0)


def test_the_files_own_floor_is_taken(tmp_path: Path) -> None:
    plane = '<geom name="ground" type="plane" size="5 5 0.1" friction="0.2 0.005 0.0001"/>'
    body = from_mjcf(write_stool(tmp_path, world=plane), stool_contract())
    planes = np.flatnonzero(body.model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    assert len(planes) == 1
    assert 0.7 <= Robot(1, body).model.geom_friction[planes[0], 0] <= 1.1, "a seed's, as on every floor"


def test_a_seed_is_one_robot_and_the_body_is_nobodys(tmp_path: Path) -> None:
    body = from_mjcf(write_stool(tmp_path), stool_contract(), "rough")
    before = body.model.hfield_data.copy()

    def walk(seed: int) -> np.ndarray:
        run = run_direct(stool_contract(), rest, script=STILL, seconds=0.2, seed=seed, body=body)
        return run.trace.joint_position

    first = walk(3)
    np.testing.assert_array_equal(first, walk(3))
    assert np.abs(first - walk(4)).max() > 1e-6
    np.testing.assert_array_equal(body.model.hfield_data, before)


def test_the_gate_walks_it_and_judges(tmp_path: Path) -> None:
    """A policy that only stands is found out on any robot."""
    backend = standing_backend()
    contract = stool_contract()
    body = from_mjcf(write_stool(tmp_path), contract)

    def zero(rows: Float32Array) -> Float32Array:
        return np.zeros((len(rows), len(JOINTS)), np.float32)

    loop = closed_loop(contract, backend, zero, None, (0.5, 0.0, 0.0), 2.0, 1, body)
    assert loop.falls == 0
    (failure,) = floor_failures(loop.walks, Floor())
    assert failure.startswith("float: asked to walk forward at 0.50 m/s, it stood")
    assert not body.sinks
    (landing,) = land(contract, backend, None, seeds=[0], body=body)
    assert landing.down
    assert 0.1 < landing.speed_m_per_s < 2.0


def test_without_a_file_only_the_lite3_is_known() -> None:
    assert find(stool_contract(), None) is None


@pytest.mark.parametrize("robot", ["lite3", "mine"])
def test_a_misspelt_joint_of_the_lite3_is_named(robot: str) -> None:
    joints = ["FL_hip_joint", *LITE3_JOINTS[1:]]
    with pytest.raises(
        InputError, match="FL_hip_joint is no joint of the Lite3; its joints are FL_HipX_joint, "
    ):
        find(checked_manifest(lite3_manifest(robot=robot, joints=joints), "here"), None)


def test_a_policy_that_drops_it_falls(tmp_path: Path) -> None:
    def fold(observation: Float32Array) -> Float32Array:
        return np.array([-6.0 if joint.endswith("knee") else 0.0 for joint in stool_contract().joints], "f4")

    body = from_mjcf(write_stool(tmp_path), stool_contract())
    run = run_direct(stool_contract(), fold, script=STILL, seconds=1.5, body=body)
    assert run.measures.outcome is Outcome.FELL


WHEEL = """
      <body name="wheel" pos="0 0 0.1"><joint name="wheel" axis="0 1 0"/>
        <geom type="sphere" size="0.02" mass="0.1"/></body>"""
SHANK = '<geom type="box" size="0.05 0.05 0.05" pos="0.25 0.15 -0.33" mass="0.1"/>'


@pytest.mark.parametrize(
    ("model", "manifest", "words"),
    [
        (
            {},
            {"joints": [*JOINTS[:-1], "tail"]},
            "joint 'tail' of the manifest is not in it; it has front_left_hip",
        ),
        (
            {"base": ""},
            {},
            "expected one free joint, the base's, before all others; it has none: add <freejoint",
        ),
        (
            {"assets": '<mesh name="shell" file="shell.stl"/>', "more": '<geom type="mesh" mesh="shell"/>'},
            {},
            "shell.stl",
        ),
        ({"more": WHEEL}, {"joints": [*JOINTS, "wheel"]}, "joint 'wheel' has no range: if it is a wheel"),
        (
            {},
            {"joints": JOINTS[:-1]},
            "joint 'hind_right_knee' has a motor, but the manifest has no joint of that",
        ),
        (
            {},
            {"default_joint_position_rad": dict.fromkeys(JOINTS, -1.6)},
            "joint 'hind_right_hip': the manifest's default_joint_position_rad is -1.6, but its range",
        ),
        ({"more": SHANK}, {}, "the bodies 'front_left_shank' and 'trunk' are"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, model: dict[str, str], manifest: dict[str, Any], words: str
) -> None:
    names = manifest.get("joints", JOINTS[::-1])
    default = {name: 0.5 if name.endswith("hip") else -1.0 for name in names}
    contract = stool_contract(**{"default_joint_position_rad": default, **manifest})
    path = write_stool(tmp_path, **model)
    with pytest.raises(InputError) as refusal:
        from_mjcf(path, contract)
    assert words in str(refusal.value)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_a_robot_that_nothing_holds_up_is_refused(tmp_path: Path) -> None:
    path = write_stool(tmp_path)
    untouched = 'contype="0" conaffinity="0"'
    path.write_text(
        path.read_text().replace('mass="0.05"', untouched + ' mass="0.05"').replace('mass="6"', untouched)
    )
    with pytest.raises(InputError, match="none of the robot's geoms can touch the floor"):
        from_mjcf(path, stool_contract())


def test_a_base_that_sinks_through_the_floor_is_known(tmp_path: Path) -> None:
    path = write_stool(tmp_path)
    path.write_text(path.read_text().replace('mass="6"', 'mass="6" contype="0" conaffinity="0"'))
    assert from_mjcf(path, stool_contract()).sinks


def test_motors_without_a_limit_are_refused(tmp_path: Path) -> None:
    path = write_stool(tmp_path)
    path.write_text(path.read_text().replace('actuatorfrcrange="-40 40"', ""))
    with pytest.raises(InputError, match="joint 'hind_right_knee' has no torque limit: add actuatorfrcrange"):
        from_mjcf(path, stool_contract())


def test_a_robot_that_does_not_get_into_its_default_pose_is_refused(tmp_path: Path) -> None:
    """Springs fold its knees, against which its motors are too weak."""
    path = write_stool(tmp_path)
    path.write_text(path.read_text().replace('range="-2.5', 'stiffness="60" springref="-2.4" range="-2.5'))
    with pytest.raises(InputError, match=r"does not get into its default pose: after 3.0 s joint '\w+knee'"):
        run_direct(stool_contract(), rest, script=STILL, seconds=0.1, body=from_mjcf(path, stool_contract()))


def test_physics_that_diverges_ends_in_a_clear_line(tmp_path: Path, workplace: Path) -> None:
    robot = Robot(0, from_mjcf(write_stool(tmp_path), stool_contract()))
    robot.step(10)
    robot.data.qvel[:] = np.nan
    with pytest.raises(GateError, match=r"its physics is not finite any more after 0\.011 s"):
        robot.step()


def test_every_command_takes_the_model(
    workplace: Path, forge: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """From an ONNX file to a bundle that is simulated, without the NPU's toolkit."""
    import graphs

    write_stool(workplace)
    Path("manifest.yaml").write_text(yaml.safe_dump(stool_manifest()))
    graphs.dense(Path("policy.onnx"), (9 + 3 * len(JOINTS), 16, len(JOINTS)))
    given = ("--manifest", "manifest.yaml")
    pack = ("pack", *given, "--onnx", "policy.onnx", "--output", "stool.gaitd")
    assert forge(*pack) == 2
    assert "give its model with --mjcf" in capsys.readouterr().err
    assert forge(*pack, "--mjcf", "stool.xml") == 0
    walk = ("simulate", "--bundle", "stool.gaitd", "--seconds", "0.5", "--report", "run.json")
    assert forge(*walk) == 2
    assert "give its model with --mjcf" in capsys.readouterr().err
    assert forge(*walk, "--mjcf", "stool.xml", "--terrain", "steps") == 0
    assert '"terrain": "steps"' in Path("run.json").read_text()
    collect = ("calibrate", "--simulate", *given, "--policy", "policy.onnx", "--samples", "50")
    assert forge(*collect, "--mjcf", "stool.xml") == 0
    assert np.load("calib_obs.npy").shape == (50, 9 + 3 * len(JOINTS))
