"""Files as trainers write them, made here after their published forms, become manifests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import graphs
import pytest
import yaml

from gaitforge.common.manifest import checked_manifest

Forge = Callable[..., int]
Refused = Callable[..., str]

MOTORS = ["right_hip", "right_knee", "left_hip", "left_knee"]
POLICY = ["left_hip", "right_hip", "left_knee", "right_knee"]
ROBOT = {
    "robot": "biped",
    "fallback_damping_nms_per_rad": 2.0,
    "limits": {"position": {"min_rad": -1.0, "max_rad": 2.5}},
}
"""What no trainer's file says."""

COMMAND = {"velocity_command": {"unit": "si", "min": [-1.0, -0.5, -1.0], "max": [1.0, 0.5, 1.0]}}


@pytest.fixture
def imported(forge: Forge, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, Any], str]]:
    """Import with the robot's keys added; returns a manifest that decodes, and what was printed."""

    def run(*argv: object, **more: Any) -> tuple[dict[str, Any], str]:
        Path("robot.yaml").write_text(yaml.safe_dump({**ROBOT, **more}))
        assert forge("import", *argv, "--complete", "robot.yaml", "--output", "out/manifest.yaml") == 0
        manifest = yaml.safe_load(Path("out/manifest.yaml").read_text())
        checked_manifest(manifest, "manifest")
        return manifest, capsys.readouterr().out

    return run


def term_names(manifest: dict[str, Any]) -> list[str]:
    return [entry["term"] for entry in manifest["observation"]["terms"]]


METADATA = {
    "joint_names": ",".join(POLICY),
    "joint_stiffness": "20.000,20.000,30.500,30.500",
    "joint_damping": "0.500,0.500,0.500,0.500",
    "default_joint_pos": "0.100,-0.100,0.800,0.800",
    "action_scale": "0.250",
    "observation_names": "base_lin_vel,base_ang_vel,projected_gravity,joint_pos,joint_vel,actions,command",
    "command_names": "twist",
    "run_path": "somewhere/run7",
}


def test_onnx_metadata(imported: Callable[..., Any]) -> None:
    graphs.dense(Path("policy.onnx"), (24, 4), metadata=METADATA)
    manifest, printed = imported("onnx", "policy.onnx", control_period_s=0.02, **COMMAND)
    assert manifest["joints"] == POLICY
    assert manifest["default_joint_position_rad"] == [0.1, -0.1, 0.8, 0.8]
    assert manifest["action"] == {
        "scale": 0.25,
        "stiffness_nm_per_rad": [20.0, 20.0, 30.5, 30.5],
        "damping_nms_per_rad": 0.5,
    }
    assert term_names(manifest) == [
        "base_linear_velocity",
        "base_angular_velocity",
        "projected_gravity",
        "joint_position_relative",
        "joint_velocity",
        "last_action",
        "velocity_command",
    ]
    assert "third decimal" in printed
    for what in ("scales, taken as 1", "clips", "history"):
        assert f"{what} of the observation terms: not in the metadata" in printed
    assert "control period" not in printed


DEPLOY = {
    "joint_ids_map": [2, 0, 3, 1],
    "step_dt": 0.02,
    "stiffness": [10.0, 11.0, 12.0, 13.0],
    "damping": [1.0, 1.0, 1.0, 1.0],
    "default_joint_pos": [0.1, -0.1, 0.8, 0.8],
    "commands": {
        "base_velocity": {
            "ranges": {
                "lin_vel_x": [-0.5, 1.0],
                "lin_vel_y": [-0.3, 0.3],
                "ang_vel_z": [-1.2, 1.2],
                "heading": None,
            }
        }
    },
    "actions": {
        "JointPositionAction": {
            "clip": None,
            "joint_names": [".*"],
            "scale": [0.25, 0.25, 0.25, 0.25],
            "offset": [0.1, -0.1, 0.8, 0.8],
            "joint_ids": None,
        }
    },
    "observations": {
        "base_ang_vel": {"params": {}, "clip": [-10.0, 10.0], "scale": [0.2, 0.2, 0.2], "history_length": 5},
        "projected_gravity": {"params": {}, "clip": None, "scale": None, "history_length": 5},
        "velocity_commands": {
            "params": {"command_name": "base_velocity"},
            "clip": None,
            "scale": [2.0, 2.0, 0.25],
            "history_length": 5,
        },
        "joint_pos_rel": {"params": {}, "clip": None, "scale": [1.0] * 4, "history_length": 5},
        "joint_vel_rel": {"params": {}, "clip": None, "scale": [0.05] * 4, "history_length": 5},
        "last_action": {"params": {}, "clip": None, "scale": [1.0] * 4, "history_length": 5},
    },
}


def deploy(**changes: Any) -> str:
    Path("deploy.yaml").write_text(yaml.safe_dump({**DEPLOY, **changes}, sort_keys=False))
    return "deploy.yaml"


def test_a_model_that_says_nothing_of_itself_becomes_a_draft(
    imported: Callable[..., Any], refused: Refused
) -> None:
    graphs.dense(Path("policy.onnx"), (21, 4))
    assert "--joints with the names" in refused(2, "import", "onnx", "policy.onnx")
    given = {
        "control_period_s": 0.02,
        "default_joint_position_rad": 0.1,
        "action": {"scale": 0.25, "stiffness_nm_per_rad": 20.0, "damping_nms_per_rad": 0.5},
        **COMMAND,
    }
    manifest, printed = imported("onnx", "policy.onnx", "--joints", *POLICY, **given)
    assert (manifest["format"], manifest["joints"]) == (2, POLICY)
    assert manifest["observation"] == {"raw_size": 21}
    assert "what the 21 values of the observation are" in printed


def test_unitree_rl_lab(imported: Callable[..., Any]) -> None:
    manifest, printed = imported("unitree_rl_lab", deploy(), "--joints", *MOTORS)
    assert manifest["joints"] == POLICY
    assert manifest["control_period_s"] == 0.02
    # Gains stand in the motors' order, everything else in the policy's.
    assert manifest["action"]["stiffness_nm_per_rad"] == [12.0, 10.0, 13.0, 11.0]
    assert manifest["default_joint_position_rad"] == [0.1, -0.1, 0.8, 0.8]
    assert manifest["action"]["offset"] == "default_joint_position"
    assert manifest["velocity_command"] == {"unit": "si", "min": [-0.5, -0.3, -1.2], "max": [1.0, 0.3, 1.2]}
    terms = manifest["observation"]["terms"]
    # There the clip comes before the scale, here after it.
    assert terms[0] == {"term": "base_angular_velocity", "scale": 0.2, "clip": [-2.0, 2.0]}
    assert terms[2] == {"term": "velocity_command", "scale": [2.0, 2.0, 0.25]}
    assert manifest["observation"]["history"] == {"length": 5, "layout": "term_major"}
    assert "not taken over" not in printed


def test_unitree_rl_lab_switches(imported: Callable[..., Any]) -> None:
    observations = {
        "use_gym_history": True,
        "scale_first": True,
        **{name: DEPLOY["observations"][name] for name in ("base_ang_vel", "last_action")},  # type: ignore[index]
    }
    manifest, _ = imported("unitree_rl_lab", deploy(observations=observations), "--joints", *MOTORS)
    assert manifest["observation"]["history"]["layout"] == "frame_major"
    assert manifest["observation"]["terms"][0]["clip"] == [-10.0, 10.0]


def test_unitree_rl_lab_with_lengths_by_term(imported: Callable[..., Any]) -> None:
    observations = {**DEPLOY["observations"]}  # type: ignore[dict-item]
    observations["last_action"] = {**observations["last_action"], "history_length": 1}
    manifest, _ = imported("unitree_rl_lab", deploy(observations=observations), "--joints", *MOTORS)
    lengths = [entry["history_length"] for entry in manifest["observation"]["terms"]]
    assert lengths == [5, 5, 5, 5, 5, 1]


@pytest.mark.parametrize(
    ("changes", "joints", "named"),
    [
        ({}, [], "give the motors' joints, in order, with --joints"),
        ({}, ["--joints", *MOTORS[:3]], "3 names for the 4 motors"),
        ({"joint_ids_map": [0, 0, 1, 2]}, ["--joints", *MOTORS], "does not number each"),
        ({"stiffness": [1.0]}, ["--joints", *MOTORS], "stiffness: 1 values, but joint_ids_map has motor 3"),
        ({"step_dt": None}, ["--joints", *MOTORS], "step_dt is missing"),
    ],
)
def test_unitree_rl_lab_refused(
    refused: Refused, changes: dict[str, Any], joints: list[str], named: str
) -> None:
    assert named in refused(2, "import", "unitree_rl_lab", deploy(**changes), *joints)
    assert not Path("manifest.yaml").exists()


RL_SAR_BASE = {
    "biped": {
        "dt": 0.005,
        "decimation": 4,
        "num_of_dofs": 4,
        "joint_names": MOTORS,
        "torque_limits": [20.0, 20.0, 20.0, 20.0],
        "default_dof_pos": [0.0, 0.0, 0.0, 0.0],
        "fixed_kp": [80.0] * 4,
        "wheel_indices": [],
    }
}
RL_SAR_POLICY = {
    "biped/walk": {
        "model_name": "policy.onnx",
        "num_observations": 21,
        "observations": ["ang_vel", "gravity_vec", "commands", "dof_pos", "dof_vel", "actions"],
        "observations_history": [5, 4, 3, 2, 1, 0],
        "observations_history_priority": "time",
        "clip_obs": 100.0,
        "clip_actions_lower": [-50.0] * 4,
        "clip_actions_upper": [50.0] * 4,
        "rl_kp": [20.0] * 4,
        "rl_kd": [0.5] * 4,
        "action_scale": [0.125, 0.125, 0.25, 0.25],
        "lin_vel_scale": 2.0,
        "ang_vel_scale": 0.25,
        "dof_pos_scale": 1.0,
        "dof_vel_scale": 0.05,
        "commands_scale": [2.0, 2.0, 0.25],
        "default_dof_pos": [0.1, -0.1, 0.8, 0.8],
        "joint_mapping": [2, 0, 3, 1],
    }
}


def rl_sar(**changes: Any) -> list[str]:
    policy = {"biped/walk": {**RL_SAR_POLICY["biped/walk"], **changes}}
    Path("config.yaml").write_text(yaml.safe_dump(policy))
    Path("base.yaml").write_text(yaml.safe_dump(RL_SAR_BASE))
    return ["config.yaml", "base.yaml"]


def test_rl_sar(imported: Callable[..., Any]) -> None:
    manifest, printed = imported("rl_sar", *rl_sar(), **COMMAND)
    assert manifest["joints"] == POLICY
    assert manifest["control_period_s"] == 0.02
    assert manifest["default_joint_position_rad"] == [0.1, -0.1, 0.8, 0.8]
    assert manifest["action"]["clip"] == [-50.0, 50.0]
    assert manifest["action"]["scale"] == [0.125, 0.125, 0.25, 0.25]
    assert manifest["limits"] == ROBOT["limits"]
    observation = manifest["observation"]
    assert observation["history"] == {
        "length": 6,
        "layout": "frame_major",
        "order": "oldest_first",
        "fill": "zeros",
    }
    assert observation["clip"] == 100.0
    assert observation["terms"][2] == {"term": "velocity_command", "scale": [2.0, 2.0, 0.25]}
    assert "not taken over: torque_limits" in printed
    assert "the range of the velocity command" not in printed


@pytest.mark.parametrize(
    ("changes", "history"),
    [
        ({"observations_history": []}, None),
        (
            {"observations_history": [0, 1, 2]},
            {"length": 3, "layout": "frame_major", "order": "newest_first", "fill": "zeros"},
        ),
        (
            {"observations_history": [2, 1, 0], "observations_history_priority": "term"},
            {"length": 3, "layout": "term_major", "order": "oldest_first", "fill": "zeros"},
        ),
    ],
)
def test_rl_sar_history(
    imported: Callable[..., Any], changes: dict[str, Any], history: dict[str, Any] | None
) -> None:
    manifest, _ = imported("rl_sar", *rl_sar(**changes), **COMMAND)
    assert manifest["observation"].get("history") == history


def isaac_term(name: str, size: int, **more: Any) -> dict[str, Any]:
    return {
        "dtype": "torch.float32",
        "extras": {"description": "", "modifiers": None},
        "full_path": f"isaaclab.envs.mdp.observations.{name}",
        "mdp_type": "Observation",
        "name": name,
        "overloads": {"clip": None, "flatten_history_dim": True, "history_length": 0, "scale": None},
        "shape": [size],
        **more,
    }


def descriptors() -> dict[str, Any]:
    action = {
        "action_type": "JointAction",
        "clip": None,
        "full_path": "isaaclab.envs.mdp.actions.joint_actions.JointPositionAction",
        "joint_names": POLICY,
        "mdp_type": "Action",
        "name": "joint_position_action",
        "offset": [0.1, -0.1, 0.8, 0.8],
        "scale": 0.5,
        "shape": [4],
    }
    robot = {
        "joint_names": MOTORS,
        "default_joint_pos": [-0.1, 0.8, 0.1, 0.8],
        "default_joint_pos_limits": [[-1.0, 1.1], [0.0, 2.1], [-1.2, 1.3], [0.2, 2.3]],
        "default_joint_stiffness": [10.0, 11.0, 12.0, 13.0],
        "default_joint_damping": [0.5, 0.5, 0.5, 0.5],
        "default_joint_armature": [0.01, 0.01, 0.01, 0.01],
        "default_joint_friction": [0.0, 0.0, 0.0, 0.0],
    }
    scaled = {"clip": [-4.0, 4.0], "flatten_history_dim": True, "history_length": 3, "scale": 0.5}
    policy = [
        isaac_term("base_ang_vel", 3, overloads=scaled),
        isaac_term("projected_gravity", 3),
        isaac_term("generated_commands", 3),
        isaac_term("joint_pos_rel", 4, joint_names=POLICY),
        isaac_term("joint_vel_rel", 4, joint_names=POLICY),
        isaac_term("last_action", 4),
    ]
    return {
        "actions": [action],
        "articulations": {"robot": robot},
        "observations": {"policy": policy, "critic": []},
        "scene": {"decimation": 4, "dt": 0.02, "physics_dt": 0.005},
    }


def write_descriptors(document: dict[str, Any]) -> str:
    Path("IO_descriptors.yaml").write_text(yaml.safe_dump(document))
    return "IO_descriptors.yaml"


def test_isaac_lab(imported: Callable[..., Any]) -> None:
    manifest, printed = imported("isaaclab", write_descriptors(descriptors()), **COMMAND)
    assert manifest["joints"] == POLICY
    assert manifest["control_period_s"] == 0.02
    assert manifest["default_joint_position_rad"] == [0.1, -0.1, 0.8, 0.8]
    assert manifest["action"]["stiffness_nm_per_rad"] == [12.0, 10.0, 13.0, 11.0]
    assert manifest["action"]["offset"] == "default_joint_position"
    terms = manifest["observation"]["terms"]
    assert terms[0] == {
        "term": "base_angular_velocity",
        "scale": 0.5,
        "clip": [-2.0, 2.0],
        "history_length": 3,
    }
    assert term_names(manifest)[-1] == "last_action"
    assert "the file's limits.position.min_rad: --complete gives another" in printed


def test_isaac_lab_limits(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    assert forge("import", "isaaclab", write_descriptors(descriptors())) == 0
    manifest = yaml.safe_load(Path("manifest.yaml").read_text())
    assert manifest["limits"]["position"]["min_rad"] == [-1.2, -1.0, 0.2, 0.0]
    printed = capsys.readouterr().out
    still = next(line for line in printed.splitlines() if "still to be given" in line)
    for key in ("robot", "velocity_command", "fallback_damping_nms_per_rad"):
        assert key in still


def test_isaac_lab_with_gains_inside_the_actuator_model(
    refused: Refused, imported: Callable[..., Any]
) -> None:
    document = descriptors()
    document["articulations"]["robot"]["default_joint_stiffness"] = [0.0] * 4
    path = write_descriptors(document)
    assert "give action.stiffness_nm_per_rad with --complete" in refused(2, "import", "isaaclab", path)
    manifest, printed = imported("isaaclab", path, action={"stiffness_nm_per_rad": 25.0}, **COMMAND)
    assert manifest["action"]["stiffness_nm_per_rad"] == 25.0
    assert manifest["action"]["damping_nms_per_rad"] == 0.5
    assert "the file's action.stiffness_nm_per_rad: --complete gives another" in printed


def test_isaac_lab_with_another_joint_order(imported: Callable[..., Any], refused: Refused) -> None:
    document = descriptors()
    term = document["observations"]["policy"][3]
    term["joint_names"] = MOTORS
    term.pop("joint_pos_offsets", None)
    path = write_descriptors(document)
    manifest, _ = imported("isaaclab", path, **COMMAND)
    assert manifest["format"] == 2
    assert [entry.get("joints") for entry in manifest["observation"]["terms"]].count(MOTORS) == 1
    term["joint_names"] = [*MOTORS[:3], "tail"]
    said = refused(2, "import", "isaaclab", write_descriptors(document))
    assert "joint_pos_rel]: some of its joints are not the action's" in said


def test_other_files_are_refused(refused: Refused) -> None:
    graphs.dense(Path("plain.onnx"))
    assert "no metadata joint_names; it has none" in refused(2, "import", "onnx", "plain.onnx")
    Path("other.yaml").write_text("a: 1\n")
    for kind in ("unitree_rl_lab", "isaaclab"):
        said = refused(2, "import", kind, "other.yaml")
        assert "is missing; is it a file of this kind?" in said
        assert "write the manifest by hand (docs/quickstart/policy.md, section 2)" in said
    Path("list.yaml").write_text("- 1\n")
    assert "expected keys and values" in refused(2, "import", "rl_sar", "list.yaml")
    assert "not 2 files" in refused(2, "import", "onnx", "plain.onnx", "other.yaml")
