"""What trainers' own deploy code computes from a state, written with numpy and without gaitd's pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gaitd.wire.messages import RobotState
from gaitforge.bundle.importers import formats
from gaitforge.bundle.importers.draft import Source

Array = np.ndarray
Frame = Callable[[RobotState, Array, int], list[Array]]
"""State in the policy's joint order, last action and number of the step, to the frame's terms."""


@dataclass
class Reference:
    """What a policy's deploy code does: terms of a frame, history by term, and the target."""

    frame: Frame
    length: int
    scale: Array
    offset: Array
    clip: tuple[Array, Array] | None = None

    def observe(self, frames: Sequence[list[Array]]) -> Array:
        """The newest frames, the first one repeated before the start; each term oldest first."""
        window = [frames[max(0, len(frames) - self.length + index)] for index in range(self.length)]
        if len(frames) < self.length:
            window = [frames[0]] * (self.length - len(frames)) + list(frames)
        return np.concatenate([np.concatenate([frame[i] for frame in window]) for i in range(len(window[0]))])

    def target(self, action: Array) -> Array:
        target = action.astype(float) * self.scale + self.offset
        clipped: Array = target if self.clip is None else np.clip(target, *self.clip)
        return clipped


def gravity(quaternion: Array) -> Array:
    """World's down in the base frame, by the rotation matrix."""
    w, x, y, z = quaternion.astype(float)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    down: Array = rotation.T @ np.array([0.0, 0.0, -1.0])
    return down


def deploy_reference(document: dict[str, Any]) -> Reference:
    """unitree_rl_lab's deploy code, from the same file by other means."""
    entry, terms = document["actions"]["JointPositionAction"], document["observations"]
    default, ranges = np.array(document["default_joint_pos"]), document["commands"]["base_velocity"]["ranges"]
    low, high = np.array([ranges[key] for key in ("lin_vel_x", "lin_vel_y", "ang_vel_z")]).T

    def frame(state: RobotState, last: Array, step: int) -> list[Array]:
        phase = (
            2
            * np.pi
            * step
            * document["step_dt"]
            / terms.get("gait_phase", {"params": {"period": 1}})["params"]["period"]
        )
        values = {
            "base_ang_vel": state.angular_velocity,
            "projected_gravity": gravity(state.orientation),
            "velocity_commands": np.clip(state.velocity_command, low, high),
            "joint_pos_rel": state.joint_position - default,
            "joint_vel_rel": state.joint_velocity,
            "last_action": last,
            "gait_phase": np.array([np.sin(phase), np.cos(phase)]),
        }
        return [values[name] * np.array(term["scale"]) for name, term in terms.items()]

    (length,) = {term["history_length"] for term in terms.values()}
    clip = None if entry["clip"] is None else np.array(entry["clip"]).T
    return Reference(
        frame,
        length,
        np.array(entry["scale"]),
        np.array(entry["offset"]),
        None if clip is None else (clip[0], clip[1]),
    )


POLICIES = Path(__file__).parents[3] / "shared/policies"
"""Published policies, which are not part of the project."""

G1_DEFAULT = [-0.1, 0.0, 0.0, 0.3, -0.2, 0.0] * 2
G1_TERMS: list[dict[str, Any]] = [
    {"term": "base_angular_velocity", "scale": 0.25},
    {"term": "projected_gravity"},
    {"term": "velocity_command", "scale": [2.0, 2.0, 0.25]},
    {"term": "joint_position_relative"},
    {"term": "joint_velocity", "scale": 0.05},
    {"term": "last_action"},
    {"term": "clock_phase", "period_s": 0.8},
]
G1_ACTION = {
    "scale": 0.25,
    "stiffness_nm_per_rad": [100.0, 100.0, 100.0, 150.0, 40.0, 40.0] * 2,
    "damping_nms_per_rad": [2.0, 2.0, 2.0, 4.0, 2.0, 2.0] * 2,
}


def g1_reference() -> Reference:
    """unitree_rl_gym's G1."""

    def frame(state: RobotState, last: Array, step: int) -> list[Array]:
        phase = 2 * np.pi * ((step * 0.02) % 0.8) / 0.8
        return [
            state.angular_velocity * 0.25,
            gravity(state.orientation),
            state.velocity_command * [2.0, 2.0, 0.25],
            state.joint_position - np.array(G1_DEFAULT),
            state.joint_velocity * 0.05,
            last,
            np.array([np.sin(phase), np.cos(phase)]),
        ]

    return Reference(frame, 1, np.full(12, 0.25), np.array(G1_DEFAULT))


GO1_DEFAULT = [0.1, 0.9, -1.8, -0.1, 0.9, -1.8] * 2
GO1_TERMS: list[dict[str, Any]] = [
    {"term": term}
    for term in (
        "base_linear_velocity",
        "base_angular_velocity",
        "projected_gravity",
        "joint_position_relative",
        "joint_velocity",
        "last_action",
        "velocity_command",
    )
]
GO1_ACTION = {
    "scale": 0.5,
    "stiffness_nm_per_rad": 35.0,
    "damping_nms_per_rad": 0.0,
    "allow_zero_damping": [f"joint_{index}" for index in range(12)],
}


def go1_reference() -> Reference:
    """mujoco_playground's Go1."""

    def frame(state: RobotState, last: Array, step: int) -> list[Array]:
        assert state.linear_velocity is not None
        return [
            state.linear_velocity,
            state.angular_velocity,
            gravity(state.orientation),
            state.joint_position - np.array(GO1_DEFAULT),
            state.joint_velocity,
            last,
            state.velocity_command,
        ]

    return Reference(frame, 1, np.full(12, 0.5), np.array(GO1_DEFAULT))


WIDE = {"min_rad": -100.0, "max_rad": 100.0}
ROBOT = {"robot": "g1", "fallback_damping_nms_per_rad": 2.0, "limits": {"position": WIDE}}


def by_hand(default: list[float], terms: list[dict[str, Any]], action: dict[str, Any]) -> dict[str, Any]:
    """A manifest of joints joint_0, joint_1 and so on, at 20 ms."""
    return {
        "format": 1,
        "name": "policy",
        "version": "1",
        "control_period_s": 0.02,
        "joints": [f"joint_{index}" for index in range(len(default))],
        "default_joint_position_rad": default,
        "observation": {"terms": terms},
        "velocity_command": {"unit": "si", "min": [-9.0] * 3, "max": [9.0] * 3},
        "action": action,
        **ROBOT,
    }


def rl_sar_go2w() -> tuple[dict[str, Any], Reference]:
    """The Go2W as the importer reads it, and what rl_sar's code computes of the same numbers."""
    folder = POLICIES / "go2w"
    documents = [yaml.safe_load((folder / name).read_text()) for name in ("base.yaml", "config.yaml")]
    values = {key: value for document in documents for key, value in next(iter(document.values())).items()}
    wheels = values["wheel_indices"]
    names = [values["joint_names"][index] for index in values["joint_mapping"]]
    additions = {
        "robot": "go2w",
        "fallback_damping_nms_per_rad": 2.0,
        "velocity_command": {"unit": "si", "min": [-9.0] * 3, "max": [9.0] * 3},
        "brake": {"stiffness_nm_per_rad": 50.0, "max_nm": 10.0},
        "limits": {"position": {**WIDE}, "velocity": {"max_rad_per_s": 1e6}},
    }
    source = Source([folder / "config.yaml", folder / "base.yaml"], None)
    imported = formats.read("rl_sar", source, additions, "go2w", "manifest")
    assert imported.missing == []
    assert imported.manifest["format"] == 2
    assert imported.manifest["continuous_joints"] == [names[wheel] for wheel in wheels]
    default = np.array(values["default_dof_pos"])

    def frame(state: RobotState, last: Array, step: int) -> list[Array]:
        position = state.joint_position - default
        position[wheels] = 0.0
        return [
            state.angular_velocity * values["ang_vel_scale"],
            gravity(state.orientation),
            state.velocity_command * np.array(values["commands_scale"]),
            position * values["dof_pos_scale"],
            state.joint_velocity * values["dof_vel_scale"],
            last,
        ]

    return imported.manifest, Reference(frame, 1, np.array(values["action_scale"]), default)


def unitree_rl_lab(path: Path) -> tuple[dict[str, Any], Reference]:
    """A deploy.yaml as the importer reads it, and the reference made of it by other means."""
    document = yaml.safe_load(path.read_text().replace("!!python/object/apply:builtins.slice", ""))
    names = [f"motor_{index}" for index in range(len(document["stiffness"]))]
    imported = formats.read("unitree_rl_lab", Source([path], names), ROBOT, "g1", "manifest")
    assert imported.missing == []
    assert imported.manifest["joints"] == [names[motor] for motor in document["joint_ids_map"]]
    return imported.manifest, deploy_reference(document)


ROBOTS = POLICIES.parent / "robots"
GO1 = [f"{leg}_{joint}_joint" for leg in ("FR", "FL", "RR", "RL") for joint in ("hip", "thigh", "calf")]
G1 = [
    f"{side}_{joint}_joint"
    for side in ("left", "right")
    for joint in ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
]


def legs(name: str, joints: list[str], default: list[float], terms: list[Any], action: Any) -> dict[str, Any]:
    """The contract of a legged robot that one of these policies walks, without ``model`` and ``files``."""
    return {
        "format": 1,
        "name": name,
        "version": "1.0.0",
        "robot": name,
        "control_period_s": 0.02,
        "joints": joints,
        "default_joint_position_rad": default,
        "observation": {"terms": terms},
        "velocity_command": {"unit": "si", "min": [-1.0, -0.5, -1.0], "max": [1.0, 0.5, 1.0]},
        "action": action,
        "fallback_damping_nms_per_rad": 2.0,
        "limits": {"position": {"min_rad": -4.6, "max_rad": 4.6}},
    }
