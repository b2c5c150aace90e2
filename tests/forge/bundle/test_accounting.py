"""No key of a trainer's file is lost: taken, without meaning, refused, or ignored on purpose."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper, save
from test_importers import (
    COMMAND,
    DEPLOY,
    METADATA,
    MOTORS,
    POLICY,
    deploy,
    descriptors,
    imported,
    rl_sar,
    write_descriptors,
)

from gaitd.bundle.read import open_bundle
from gaitd.policy.pipeline import PolicyPipeline
from support.bundles import contract
from support.states import random_state

Forge = Callable[..., int]
Refused = Callable[..., str]
Imported = Callable[..., tuple[dict[str, Any], str]]

__all__ = ["imported"]

JOINTS = ["--joints", *MOTORS]


def edited(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one key, given by its path, set."""
    document = copy.deepcopy(document)
    *above, last = path.split(".")
    inner = document
    for key in above:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[last] = value
    return document


def write_yaml(name: str, document: dict[str, Any]) -> str:
    Path(name).write_text(yaml.safe_dump(document, sort_keys=False))
    return name


@pytest.mark.parametrize(
    "path",
    [
        "filter",
        "actions.JointPositionAction.delay",
        "actions.EffortAction",
        "observations.base_ang_vel.delay",
        "observations.base_ang_vel.params.window",
        "observations.joint_pos_rel.params.asset_cfg",
        "commands.gait",
        "commands.base_velocity.ranges.height",
    ],
)
def test_unknown_keys_are_named_by_path_and_may_be_ignored(
    refused: Refused, imported: Imported, path: str
) -> None:
    value = {"stiff": 1} if path.endswith("asset_cfg") else 5
    path_said = f"{path}.stiff" if path.endswith("asset_cfg") else path
    name = write_yaml("deploy.yaml", edited(DEPLOY, path, value))
    said = refused(2, "import", "unitree_rl_lab", name, *JOINTS)
    assert "deploy.yaml: not understood: " in said
    assert f"--ignore {path_said}" in said
    _, printed = imported("unitree_rl_lab", name, *JOINTS, "--ignore", path_said)
    assert f"not taken over: {path_said}: --ignore says so" in printed


def test_ignoring_what_is_not_there_is_refused(refused: Refused) -> None:
    said = refused(2, "import", "unitree_rl_lab", deploy(), *JOINTS, "--ignore", "stiffness")
    assert "--ignore stiffness" in said


def test_an_unknown_observation_is_refused_unless_the_terms_are_given(
    refused: Refused, imported: Imported
) -> None:
    name = write_yaml("deploy.yaml", edited(DEPLOY, "observations.height_scan", {"scale": None}))
    said = refused(2, "import", "unitree_rl_lab", name, *JOINTS)
    assert "the observation 'height_scan': a manifest has no such term" in said
    assert "give observation.terms with --complete" in said
    terms = [{"term": "projected_gravity"}]
    manifest, _ = imported("unitree_rl_lab", name, *JOINTS, observation={"terms": terms})
    assert manifest["observation"]["terms"] == terms


@pytest.mark.parametrize(
    "tagged", ["!!python/object/apply:builtins.slice [null, null, null]", "[0, 1, 2, 3]"]
)
def test_a_selection_of_all_joints(imported: Imported, tagged: str) -> None:
    text = Path(deploy()).read_text().replace("joint_ids: null", f"joint_ids: {tagged}")
    Path("deploy.yaml").write_text(text)
    manifest, _ = imported("unitree_rl_lab", "deploy.yaml", *JOINTS)
    assert manifest["joints"] == POLICY


@pytest.mark.parametrize("ids", ["[0, 1]", "!!python/object/apply:builtins.slice [null, null, -1]"])
def test_a_selection_of_some_joints_is_refused(refused: Refused, ids: str) -> None:
    text = Path(deploy()).read_text().replace("joint_ids: null", f"joint_ids: {ids}")
    Path("deploy.yaml").write_text(text)
    assert "actions.JointPositionAction.joint_ids" in refused(
        2, "import", "unitree_rl_lab", "deploy.yaml", *JOINTS
    )


def test_motors_that_the_policy_does_not_move(imported: Imported, refused: Refused) -> None:
    changes = {
        "joint_ids_map": [4, 0, 5, 1],
        "stiffness": [1.0, 2.0, 0.0, 0.0, 5.0, 6.0],
        "damping": [1.0] * 6,
    }
    motors = ["right_hip", "right_knee", "waist", "neck", "left_hip", "left_knee"]
    manifest, _ = imported("unitree_rl_lab", deploy(**changes), "--joints", *motors)
    assert manifest["joints"] == POLICY
    assert manifest["action"]["stiffness_nm_per_rad"] == [5.0, 1.0, 6.0, 2.0]
    short, printed = imported("unitree_rl_lab", "deploy.yaml", *JOINTS)
    assert short["joints"] == POLICY
    assert "taken as the names of the motors that the policy moves, [0, 1, 4, 5]" in printed
    five = ["--joints", *motors[:5]]
    assert "5 names for the 6 motors" in refused(2, "import", "unitree_rl_lab", "deploy.yaml", *five)


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ([[-1.0, 1.0]] * 4, {"min_rad": -1.0, "max_rad": 1.0}),
        ([[-1.0, 1.0]] * 3 + [[-2.0, 1.0]], {"min_rad": [-1.0, -1.0, -1.0, -2.0], "max_rad": 1.0}),
        ([-1.0, 1.5], {"min_rad": -1.0, "max_rad": 1.5}),
        ({".*": [-1.0, 1.5]}, {"min_rad": -1.0, "max_rad": 1.5}),
    ],
)
def test_a_clip_of_the_target_keeps_the_raw_action(imported: Imported, clip: Any, expected: Any) -> None:
    name = write_yaml("deploy.yaml", edited(DEPLOY, "actions.JointPositionAction.clip", clip))
    manifest, _ = imported("unitree_rl_lab", name, *JOINTS)
    assert manifest["action"]["target_clip"] == expected
    document = descriptors()
    document["actions"][0]["clip"] = clip
    manifest, _ = imported("isaaclab", write_descriptors(document), **COMMAND)
    assert manifest["action"]["target_clip"] == expected


def test_a_missing_offset_is_zero(imported: Imported) -> None:
    name = write_yaml("deploy.yaml", edited(DEPLOY, "actions.JointPositionAction.offset", None))
    assert imported("unitree_rl_lab", name, *JOINTS)[0]["action"]["offset"] == 0.0


def test_a_clip_before_different_scales_is_refused(refused: Refused) -> None:
    name = write_yaml("deploy.yaml", edited(DEPLOY, "observations.velocity_commands.clip", [-1.0, 1.0]))
    assert "observations.velocity_commands: a clip [-1.0, 1.0] before the scale" in refused(
        2, "import", "unitree_rl_lab", name, *JOINTS
    )


def test_rl_sar_clip_by_joint_becomes_the_range_of_targets(imported: Imported) -> None:
    lower, upper = [-1.0, -2.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]
    paths = rl_sar(clip_actions_lower=lower, clip_actions_upper=upper)
    Path("robot.yaml").write_text(yaml.safe_dump({"robot": "biped"}))
    manifest, _ = imported("rl_sar", *paths, limits={"slew": {"max_rad_per_step": 0.5}}, **COMMAND)
    assert "clip" not in manifest["action"]
    np.testing.assert_allclose(manifest["limits"]["position"]["min_rad"], [-0.025, -0.35, 0.55, 0.55])
    np.testing.assert_allclose(manifest["limits"]["position"]["max_rad"], [0.225, 0.025, 1.05, 1.05])
    assert manifest["limits"]["slew"] == {"max_rad_per_step": 0.5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wheel_indices": [4]}, "wheel_indices: [4]: expected places among the 4 joints"),
        ({"wheel_indices": [3]}, "right_knee: a stiffness 20.0, but wheels follow a velocity"),
        (
            {"rl_kp": [20.0, 20.0, 20.0, 0.0]},
            "right_knee: an action scale, but no stiffness, and the file does not say that they are wheels",
        ),
        ({"rl_kp": [0.0] * 4}, "all stiffnesses are 0"),
        ({"rl_kd": [0.5, 0.0, 0.5, 0.5]}, "action.damping_nms_per_rad: joint 'right_hip' is 0"),
        ({"rl_kd": [0.5, -0.5, 0.5, 0.5]}, "action.damping_nms_per_rad: joint 'right_hip' is -0.5"),
        ({"observations": ["ang_vel", "phase"]}, "the observation 'phase'"),
        ({"num_observations": 99}, "num_observations: 99, but the observations make 21"),
        ({"observations_history": [0, 2]}, "only consecutive frames"),
        ({"use_rnn": True}, "--ignore use_rnn"),
    ],
)
def test_rl_sar_refused(forge: Forge, changes: dict[str, Any], said: str, capsys: Any) -> None:
    robot = {
        "robot": "biped",
        "fallback_damping_nms_per_rad": 2.0,
        "limits": {"position": {"min_rad": -1.0, "max_rad": 2.5}},
        **COMMAND,
    }
    write_yaml("robot.yaml", robot)
    assert forge("import", "rl_sar", *rl_sar(**changes), "--complete", "robot.yaml") == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["JointVelocityAction", "NonHolonomicAction"])
def test_isaac_lab_takes_position_targets_and_wheels_beside_them(refused: Refused, kind: str) -> None:
    document = descriptors()
    document["actions"][0]["full_path"] = f"isaaclab.envs.mdp.actions.joint_actions.{kind}"
    said = refused(2, "import", "isaaclab", write_descriptors(document))
    assert "expected a JointPositionAction, and for wheels a JointVelocityAction beside it" in said


def test_isaac_lab_wheels(forge: Forge) -> None:
    document = descriptors()
    legs, wheels = copy.deepcopy(document["actions"][0]), document["actions"][0]
    names = legs["joint_names"]
    for entry, some in ((legs, names[:2]), (wheels, names[2:])):
        entry["joint_names"], entry["clip"] = some, None
        entry["scale"], entry["offset"] = 0.5, 0.0
    wheels["full_path"] = wheels["full_path"].replace("Position", "Velocity")
    document["actions"] = [legs, wheels]
    robot = document["articulations"]["robot"]
    for index, name in enumerate(robot["joint_names"]):
        if name in names[2:]:
            robot["default_joint_stiffness"][index] = robot["default_joint_pos"][index] = 0.0
    for entry in document["observations"]["policy"]:
        entry.pop("joint_pos_offsets", None)
    assert forge("import", "isaaclab", write_descriptors(document)) == 0
    manifest = yaml.safe_load(Path("manifest.yaml").read_text())
    assert manifest["format"] == 2
    assert manifest["continuous_joints"] == names[2:]
    assert [group["target"] for group in manifest["action"]] == ["position", "velocity"]
    assert [group["joints"] for group in manifest["action"]] == [names[:2], names[2:]]
    assert "stiffness_nm_per_rad" not in manifest["action"][1]


def test_isaac_lab_keys(refused: Refused) -> None:
    document = descriptors()
    document["observations"]["policy"][1]["overloads"]["delay"] = 2
    said = refused(2, "import", "isaaclab", write_descriptors(document))
    assert "not understood: observations.policy[projected_gravity].overloads.delay" in said
    document = descriptors()
    document["observations"]["policy"][3]["joint_pos_offsets"] = [0.0] * 4
    assert "joint_pos_offsets" in refused(2, "import", "isaaclab", write_descriptors(document))


NEWER = {
    "observation_terms_scale": "1.000,0.250,1.000,1.000,0.050,1.000,2.000;2.000;0.250",
    "observation_terms_history_length": "3.000,3.000,3.000,3.000,3.000,3.000,3.000",
    "observation_terms_flatten_history_dim": "1.000,1.000,1.000,1.000,1.000,1.000,1.000",
    "observation_terms_clip": "-inf;inf,-4.000;4.000,-inf;inf,-inf;inf,-inf;inf,-inf;inf,-inf;inf",
}
OLDER_CLIP = "[-inf, inf],[-4.0, 4.0]" + ",[-inf, inf]" * 5


@pytest.mark.parametrize("clip", [{}, {"observation_terms_clip": None, "observation_term_clip": OLDER_CLIP}])
def test_mjlab_scales_clips_and_history(imported: Imported, clip: dict[str, Any]) -> None:
    metadata = {key: value for key, value in {**METADATA, **NEWER, **clip}.items() if value is not None}
    graphs.dense(Path("policy.onnx"), (72, 4), metadata=metadata)
    manifest, printed = imported("onnx", "policy.onnx", control_period_s=0.02, **COMMAND)
    terms = manifest["observation"]["terms"]
    assert terms[1] == {"term": "base_angular_velocity", "scale": 0.25, "clip": [-1.0, 1.0]}
    assert terms[4] == {"term": "joint_velocity", "scale": 0.05}
    assert terms[6] == {"term": "velocity_command", "scale": [2.0, 2.0, 0.25]}
    assert manifest["observation"]["history"] == {"length": 3, "layout": "term_major"}
    assert "of the observation terms: not in the metadata" not in printed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observation_names": "base_lin_vel,feet"}, "the observation 'feet'"),
        ({"command_names": "twist,gait"}, "--ignore command_names.gait"),
        ({"anchor_body_name": "torso"}, "--ignore anchor_body_name"),
        ({"observation_terms_scale": "1.0,1.0"}, "2 entries for 7 observations"),
        ({"observation_terms_scale": "1,1,1,1,0.000,1,1"}, "a scale of 0"),
        (
            {**NEWER, "observation_terms_flatten_history_dim": "1,1,1,1,1,1,0"},
            "a history that is not flattened",
        ),
        ({"action_scale": "0.2,0.3"}, "action_scale: expected 4 values, got 2"),
    ],
)
def test_onnx_refused(refused: Refused, changes: dict[str, str], said: str) -> None:
    graphs.dense(Path("policy.onnx"), metadata={**METADATA, **changes})
    assert said in refused(2, "import", "onnx", "policy.onnx")


def test_a_model_of_another_width_is_refused(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    graphs.dense(Path("policy.onnx"), (72, 4), metadata=METADATA)
    robot = {"robot": "b", "control_period_s": 0.02, "fallback_damping_nms_per_rad": 1.0, **COMMAND}
    write_yaml("robot.yaml", {**robot, "limits": {"position": {"min_rad": -1.0, "max_rad": 2.0}}})
    assert forge("import", "onnx", "policy.onnx", "--complete", "robot.yaml") == 2
    assert "the model takes 72 values, the manifest's observation terms make 24" in capsys.readouterr().err


def test_unitree_rl_mjlab_takes_the_names_from_the_model(imported: Imported, refused: Refused) -> None:
    graphs.dense(Path("policy.onnx"), metadata=METADATA)
    assert imported("unitree_rl_mjlab", deploy(), "policy.onnx")[0]["joints"] == POLICY
    graphs.dense(Path("policy.onnx"))
    error = refused(2, "import", "unitree_rl_mjlab", deploy(), "policy.onnx")
    assert "its metadata has no joint_names: give the motors' joints, in order, with --joints" in error


def holosoma_metadata(**terms: Any) -> dict[str, str]:
    config = {
        "observation": {
            "groups": {
                "actor_obs": {
                    "concatenate": True,
                    "enable_noise": True,
                    "history_length": 2,
                    "terms": {
                        "dof_vel": {"func": "terms.locomotion:dof_vel", "scale": 0.05, "noise": 0.1},
                        "base_ang_vel": {"func": "terms.locomotion:base_ang_vel", "scale": 0.25},
                        "actions": {"func": "terms.locomotion:actions", "scale": 1.0, "clip": [-5.0, 5.0]},
                        **terms,
                    },
                },
                "critic_obs": {},
            }
        },
        "action": {"terms": {"joint_control": {"func": "JointPositionActionTerm", "scale": 1.0}}},
        "robot": {
            "control": {
                "control_type": "P",
                "action_scale": 0.25,
                "clip_actions": True,
                "action_clip_value": 9.0,
            },
            "init_state": {"default_joint_angles": dict.fromkeys([*POLICY, "neck"], 0.2)},
            "dof_pos_lower_limit_list": [-1.0] * 4,
            "dof_pos_upper_limit_list": [1.0] * 4,
        },
        "simulator": {"config": {"sim": {"fps": 200, "control_decimation": 4}}},
        "reward": {"terms": {}},
        "command": {
            "params": {"locomotion_command_resampling_time": 10.0},
            "setup_terms": {
                "locomotion_gait": {
                    "func": "terms.locomotion:LocomotionGait",
                    "params": {"gait_period": 0.8, "gait_period_randomization_width": 0.2},
                },
                "locomotion_command": {"func": "terms.locomotion:LocomotionCommand", "params": {"x": 1}},
            },
        },
    }
    values = {
        "dof_names": POLICY,
        "kp": [40.0] * 4,
        "kd": [2.0] * 4,
        "command_ranges": {
            "lin_vel_x": [-1, 1],
            "lin_vel_y": [-1, 1],
            "ang_vel_yaw": [-1, 1],
            "heading": [-3, 3],
        },
        "experiment_config": config,
        "iteration": 100,
    }
    return {key: json.dumps(value) for key, value in values.items()}


def test_holosoma(imported: Imported) -> None:
    graphs.dense(Path("policy.onnx"), (22, 4), metadata=holosoma_metadata())
    manifest, _ = imported("holosoma", "policy.onnx")
    assert manifest["observation"] == {
        "terms": [
            {"term": "last_action", "clip": [-5.0, 5.0]},
            {"term": "base_angular_velocity", "scale": 0.25},
            {"term": "joint_velocity", "scale": 0.05},
        ],
        "history": {"length": 2, "layout": "term_major", "fill": "zeros"},
    }
    assert manifest["action"]["clip"] == [-9.0, 9.0]
    assert manifest["control_period_s"] == 0.02
    assert manifest["velocity_command"]["max"] == [1.0, 1.0, 1.0]


WALKING = {
    name: {"func": f"terms.locomotion:{name}"}
    for name in ("command_lin_vel", "command_ang_vel", "sin_phase", "cos_phase")
}
"""What holosoma's walking policies see beside the joints."""


def test_holosoma_walks_with_its_phases(imported: Imported) -> None:
    """Every value of the observation against what the trainer's functions say, computed here."""
    graphs.dense(Path("policy.onnx"), (36, 4), metadata=holosoma_metadata(**WALKING))
    more = {
        "robot": "biped",
        "fallback_damping_nms_per_rad": 2.0,
        "limits": {"position": {"min_rad": -1.0, "max_rad": 1.0}},
    }
    manifest, printed = imported("holosoma", "policy.onnx", **more)
    assert "it stands where the whole command is shorter than 0.01" in printed
    pipeline = PolicyPipeline(contract(manifest), None)
    rng = np.random.default_rng(0)
    frames: list[list[np.ndarray]] = []
    for step in range(12):
        command = np.array([0.3, -0.2, 0.1] if step % 4 else [0.0, 0.0, 0.0], np.float32)
        state = random_state(rng, 4, velocity_command=command)
        pipeline.observe(state)
        turn = 2 * np.pi * step * 0.02 / 0.8
        phase = np.array([turn, turn - np.pi]) if command.any() else np.full(2, np.pi)
        frames.append(
            [
                np.zeros(4),
                state.angular_velocity * 0.25,
                command[2:],
                command[:2],
                np.cos(phase),
                state.joint_velocity * 0.05,
                np.sin(phase),
            ]
        )
        before = frames[-2] if step else [np.zeros_like(part) for part in frames[-1]]
        expected = np.concatenate([part for pair in zip(before, frames[-1], strict=True) for part in pair])
        np.testing.assert_allclose(pipeline.raw_observation(), expected, atol=1e-5)


def test_holosoma_refused(refused: Refused) -> None:
    more = {"base_height": {"func": "terms.locomotion:base_height"}}
    graphs.dense(Path("policy.onnx"), metadata=holosoma_metadata(**more))
    assert "the observation 'base_height'" in refused(2, "import", "holosoma", "policy.onnx")
    without = json.loads(holosoma_metadata(**WALKING)["experiment_config"])
    del without["command"]
    metadata = {**holosoma_metadata(), "experiment_config": json.dumps(without)}
    graphs.dense(Path("policy.onnx"), metadata=metadata)
    assert "expected one LocomotionGait behind the phase" in refused(2, "import", "holosoma", "policy.onnx")
    graphs.dense(Path("policy.onnx"), metadata={**holosoma_metadata(), "mystery": "1"})
    assert "--ignore mystery" in refused(2, "import", "holosoma", "policy.onnx")


def leapp(**changes: Any) -> str:
    """An export with a model whose gains are constants, as Isaac Lab makes them."""
    inputs = {"robot_root_ang_vel_b": 3, "base_velocity": 3, "robot_joint_pos": 4, "last_action": 4}
    values = {"targets": "last_action", "kp": 25.0, "kd": 0.5}
    nodes = [helper.make_node("Identity", ["last_action"], ["targets"])]
    nodes.append(helper.make_node("Identity", ["last_action"], ["last_action_out"]))
    for name in ("kp", "kd"):
        constant = numpy_helper.from_array(np.full((1, 4), values[name], np.float32))
        nodes.append(helper.make_node("Constant", [], [name], value=constant))
    outputs = ("targets", "last_action_out", "kp", "kd")
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in outputs],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "walk.onnx")
    connections = {
        "robot_root_ang_vel_b": {"isaaclab_connection": "state:robot:root_ang_vel_b"},
        "base_velocity": {"isaaclab_connection": "command:base_velocity"},
        "robot_joint_pos": {"isaaclab_connection": "state:robot:joint_pos", "element_names": [POLICY]},
        "targets": {
            "isaaclab_connection": "write:robot:set_joint_position_target_index",
            "element_names": [POLICY],
        },
        "kp": {"kind": "kp", "isaaclab_connection": "write:robot:write_joint_stiffness_to_sim_index"},
        "kd": {"kind": "kd", "isaaclab_connection": "write:robot:write_joint_damping_to_sim_index"},
        **changes,
    }

    def tensors(names: Any) -> list[dict[str, Any]]:
        return [
            {"name": name, "dtype": "float32", "shape": [1, 4], **connections.get(name, {})} for name in names
        ]

    model = {
        "inputs": tensors(inputs),
        "outputs": tensors(outputs),
        "parameters": {"model_path": "walk.onnx", "backend": "onnx-dynamo", "sha256sum": "", "md5sum": ""},
    }
    document = {
        "models": {"walk": model},
        "pipeline": {
            "configs": {"frequency": 50.0},
            "data_flow": {},
            "feedback_flow": {"walk/last_action_out": ["walk/last_action"]},
            "inputs": {"walk": list(inputs)[:3]},
            "outputs": {"walk": list(outputs)},
        },
        "system information": {"leapp version": "0.7.2"},
    }
    return write_yaml("walk.yaml", document)


def test_leapp(imported: Imported) -> None:
    manifest, printed = imported("leapp", leapp(), default_joint_position_rad=0.1, **COMMAND)
    assert manifest["joints"] == POLICY
    assert manifest["control_period_s"] == 0.02
    assert manifest["action"] == {
        "scale": 1.0,
        "offset": 0.0,
        "stiffness_nm_per_rad": 25.0,
        "damping_nms_per_rad": 0.5,
    }
    names = ["robot_root_ang_vel_b", "base_velocity", "robot_joint_pos"]
    terms = ["base_angular_velocity", "velocity_command", "joint_position"]
    assert manifest["observation"] == {
        "parts": [{"name": name} for name in names],
        "terms": [{"term": term, "part": name} for term, name in zip(terms, names, strict=True)],
    }
    assert "the feedback of last_action is inside the model" in printed


def test_a_leapp_model_is_packed_as_it_is(forge: Forge, imported: Imported) -> None:
    """Its tensors apart, its feedback as a hidden state: the trainer's file runs without being joined."""
    manifest, _ = imported("leapp", leapp(), default_joint_position_rad=0.1, **COMMAND)
    (model,) = manifest["models"]
    assert model["recurrent"] == [{"input": "last_action", "output": "last_action_out", "shape": [1, 4]}]
    assert model["unused_outputs"] == ["kp", "kd"]
    np.save("rows.npy", np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32))
    assert forge("pack", "--manifest", "out/manifest.yaml", "--onnx", ".", "--observations", "rows.npy",
                 "--output", "walk.gaitd") == 0  # fmt: skip
    assert open_bundle(Path("walk.gaitd")).golden()[1].shape == (20, 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"base_velocity": {"isaaclab_connection": "state:robot:root_quat_w"}},
            "a manifest has no such term",
        ),
        (
            {"robot_joint_pos": {"isaaclab_connection": "state:robot:joint_pos", "element_names": [MOTORS]}},
            "not the joints of the targets",
        ),
        (
            {
                "targets": {
                    "isaaclab_connection": "write:robot:set_joint_velocity_target_index",
                    "element_names": [POLICY],
                }
            },
            "Velocity targets are not read from such files",
        ),
        ({"kp": {"kind": "kp", "window": 3}}, "--ignore models.walk.outputs[kp].window"),
    ],
)
def test_leapp_refused(refused: Refused, changes: dict[str, Any], said: str) -> None:
    assert said in refused(2, "import", "leapp", leapp(**changes))


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of the values of a document, sections and lists among them; of a list the first."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    found = []
    for key, inner in items:
        found += [(*path, key), *paths_of(inner, (*path, key))]
    return found


@pytest.mark.parametrize("kind", ["unitree_rl_lab", "isaaclab", "rl_sar", "leapp"])
def test_any_value_of_another_kind_is_said_in_one_line(
    forge: Forge, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Whatever stands where something else belongs: a manifest or one line of error, never a traceback."""
    documents = {
        "unitree_rl_lab": lambda: (DEPLOY, JOINTS),
        "isaaclab": lambda: (descriptors(), []),
        "rl_sar": lambda: (yaml.safe_load(Path(rl_sar()[0]).read_text()), ["base.yaml"]),
        "leapp": lambda: (yaml.safe_load(Path(leapp()).read_text()), []),
    }
    document, more = documents[kind]()
    for path in paths_of(document):
        for odd in ("text", -3, [1, "x"], {"x": 1}):
            changed = copy.deepcopy(document)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = odd
            assert forge("import", kind, write_yaml("odd.yaml", changed), *more) in (0, 2), (path, odd)
            assert capsys.readouterr().err.count("\n") <= 1
