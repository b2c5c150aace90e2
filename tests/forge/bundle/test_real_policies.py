"""Published policies through importers and pipeline, against what their deploy code computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.messages import RobotState
from gaitforge.bundle.importers import formats
from gaitforge.bundle.importers.draft import Source
from gaitforge.common.manifest import checked_manifest
from support.states import random_state

POLICIES = Path(__file__).parents[4] / "shared/policies"
CASES = POLICIES.parent / "cases"
TOLERANCE = 1e-5

Array = np.ndarray
Frame = Callable[[RobotState, Array, int], list[Array]]

pytestmark = pytest.mark.skipif(
    not POLICIES.is_dir(), reason="the published policies are not here (../shared)"
)


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
        return target if self.clip is None else np.clip(target, *self.clip)


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


def compare(manifest: dict[str, Any], reference: Reference, reach: float, steps: int = 60) -> None:
    """Random states and actions; what the policy would see and what the motors would get."""
    pipeline = PolicyPipeline(checked_manifest(manifest, "manifest"), None)
    joints = len(manifest["joints"])
    rng = np.random.default_rng(7)
    last, frames = np.zeros(joints, np.float32), []
    for step in range(steps):
        linear = rng.normal(size=3).astype(np.float32)
        state = random_state(rng, joints, linear_velocity=linear)
        pipeline.observe(state)
        frames.append(reference.frame(state, last, step))
        np.testing.assert_allclose(
            pipeline.observation(), reference.observe(frames), atol=TOLERANCE, rtol=1e-6
        )
        action = (rng.normal(size=joints) * reach).astype(np.float32)
        decision = pipeline.decide(action)
        assert decision.accepted
        np.testing.assert_allclose(decision.target, reference.target(action), atol=TOLERANCE)
        pipeline.commit(decision)
        np.testing.assert_array_equal(pipeline.last_action, action)
        last = action


WIDE = {"min_rad": -100.0, "max_rad": 100.0}
ROBOT = {"robot": "g1", "fallback_damping_nms_per_rad": 2.0, "limits": {"position": WIDE}}


@pytest.mark.parametrize(
    "path",
    [
        POLICIES / "g1_deploy_yaml/deploy.yaml",
        POLICIES / "g1_external_data/deploy.yaml",
        CASES / "target_clip_feedback/deploy.yaml",
        CASES / "unitree_slice/deploy.yaml",
    ],
    ids=lambda path: path.parent.name,
)
def test_unitree_deploy_yaml(path: Path) -> None:
    text = path.read_text().replace("!!python/object/apply:builtins.slice", "")
    document = yaml.safe_load(text)
    names = [f"motor_{index}" for index in range(len(document["stiffness"]))]
    imported = formats.read("unitree_rl_lab", Source([path], names), ROBOT, "g1", "manifest")
    assert imported.missing == []
    expected = [names[motor] for motor in document["joint_ids_map"]]
    assert imported.manifest["joints"] == expected
    # Actions of 10 go far beyond a clip of the target, which must not reach the feedback.
    compare(imported.manifest, deploy_reference(document), reach=10.0)


def test_a_wheeled_policy_is_refused(refused: Callable[..., str]) -> None:
    folder = POLICIES / "go2w"
    said = refused(2, "import", "rl_sar", folder / "config.yaml", folder / "base.yaml")
    assert "velocity targets (wheels) are not supported" in said


def by_hand(
    default: list[float], terms: list[dict[str, Any]], action: dict[str, Any], **more: Any
) -> dict[str, Any]:
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
        **more,
    }


def test_g1_lstm() -> None:
    default = [-0.1, 0.0, 0.0, 0.3, -0.2, 0.0] * 2
    stiffness, damping = [100.0, 100.0, 100.0, 150.0, 40.0, 40.0] * 2, [2.0, 2.0, 2.0, 4.0, 2.0, 2.0] * 2
    terms = [
        {"term": "base_angular_velocity", "scale": 0.25},
        {"term": "projected_gravity"},
        {"term": "velocity_command", "scale": [2.0, 2.0, 0.25]},
        {"term": "joint_position_relative"},
        {"term": "joint_velocity", "scale": 0.05},
        {"term": "last_action"},
        {"term": "clock_phase", "period_s": 0.8},
    ]
    action = {"scale": 0.25, "stiffness_nm_per_rad": stiffness, "damping_nms_per_rad": damping}

    def frame(state: RobotState, last: Array, step: int) -> list[Array]:
        phase = 2 * np.pi * ((step * 0.02) % 0.8) / 0.8
        return [
            state.angular_velocity * 0.25,
            gravity(state.orientation),
            state.velocity_command * [2.0, 2.0, 0.25],
            state.joint_position - np.array(default),
            state.joint_velocity * 0.05,
            last,
            np.array([np.sin(phase), np.cos(phase)]),
        ]

    reference = Reference(frame, 1, np.full(12, 0.25), np.array(default))
    compare(by_hand(default, terms, action), reference, reach=3.0)


def test_go1() -> None:
    default = [0.1, 0.9, -1.8, -0.1, 0.9, -1.8] * 2
    names = [f"joint_{index}" for index in range(12)]
    kinds = [
        "base_linear_velocity",
        "base_angular_velocity",
        "projected_gravity",
        "joint_position_relative",
        "joint_velocity",
        "last_action",
        "velocity_command",
    ]
    action = {
        "scale": 0.5,
        "stiffness_nm_per_rad": 35.0,
        "damping_nms_per_rad": 0.0,
        "allow_zero_damping": names,
    }

    def frame(state: RobotState, last: Array, step: int) -> list[Array]:
        assert state.linear_velocity is not None
        return [
            state.linear_velocity,
            state.angular_velocity,
            gravity(state.orientation),
            state.joint_position - np.array(default),
            state.joint_velocity,
            last,
            state.velocity_command,
        ]

    reference = Reference(frame, 1, np.full(12, 0.5), np.array(default))
    compare(by_hand(default, [{"term": kind} for kind in kinds], action), reference, reach=3.0)
