"""The recorder in every kind of environment; those of the GPU trainers are fakes of their shape."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gaitforge.parity.capture import read_capture
from gaitforge.parity.gaitd_capture import Recorder

ENVS, JOINTS, STEPS = 3, ["hip", "thigh", "knee"], 10
TILT = np.array([0.8, 0.0, 0.6, 0.0])
"""w, x, y, z"""
GRAVITY = np.array([0.96, 0.0, -0.28])


def tensor(step: int, width: int, first: float = 0.0) -> torch.Tensor:
    """A value for each robot: its number, the step, and the place."""
    rows = torch.arange(ENVS)[:, None] * 100.0 + step + torch.arange(width) * 0.01 + first
    return rows.float()


class FakeIsaacLab:
    """A manager-based environment: the robot's data in the scene, observations by group, auto-reset."""

    step_dt = 0.02
    quaternion = torch.tensor(TILT).float()

    def __init__(self) -> None:
        self.now = 0
        self.episode_length_buf = torch.zeros(ENVS)
        self.reset_buf = torch.zeros(ENVS, dtype=torch.bool)
        self.command_manager = SimpleNamespace(
            active_terms=["base_velocity"], get_command=lambda name: tensor(self.now, 3, 7.0)
        )
        self.scene = {"robot": SimpleNamespace(data=self)}

    @property
    def unwrapped(self) -> Any:
        return self

    joint_names = JOINTS
    joint_pos = property(lambda self: tensor(self.now, 3, 1.0))
    joint_vel = property(lambda self: tensor(self.now, 3, 2.0))
    applied_torque = property(lambda self: tensor(self.now, 3, 3.0))
    joint_pos_target = property(lambda self: tensor(self.now, 3, 4.0))
    root_ang_vel_b = property(lambda self: tensor(self.now, 3, 5.0))
    root_lin_vel_b = property(lambda self: tensor(self.now, 3, 6.0))
    root_quat_w = property(lambda self: self.quaternion.repeat(ENVS, 1))
    projected_gravity_b = property(lambda self: torch.tensor(GRAVITY).float().repeat(ENVS, 1))

    def get_observations(self) -> Any:
        return {"policy": tensor(self.now, 5, 50.0), "critic": tensor(self.now, 9)}

    def step(self, action: torch.Tensor) -> Any:
        self.now += 1
        self.episode_length_buf += 1
        self.reset_buf[:] = self.now == 4
        self.episode_length_buf[self.reset_buf] = 0
        return self.get_observations(), torch.zeros(ENVS), self.reset_buf, {}


class FakeMjlab(FakeIsaacLab):
    """The same, with mjlab's names."""

    root_ang_vel_b = root_lin_vel_b = root_quat_w = None  # type: ignore[assignment]
    root_link_ang_vel_b = property(lambda self: tensor(self.now, 3, 5.0))
    root_link_lin_vel_b = property(lambda self: tensor(self.now, 3, 6.0))
    root_link_quat_w = property(lambda self: self.quaternion.repeat(ENVS, 1))


class FakeNewIsaacLab(FakeIsaacLab):
    """Later versions: quaternions x, y, z, w, and arrays behind a proxy."""

    root_quat_w = property(lambda self: SimpleNamespace(torch=self.quaternion[[1, 2, 3, 0]].repeat(ENVS, 1)))


@pytest.mark.parametrize("kind", [FakeIsaacLab, FakeMjlab, FakeNewIsaacLab])
def test_manager_based_environments(kind: type[FakeIsaacLab], tmp_path: Path) -> None:
    env = Recorder(kind(), tmp_path / "capture.npz", seconds=STEPS * 0.02, index=1)
    observation = env.get_observations()["policy"]
    for _ in range(STEPS):
        observation = env.step(observation[:, :3] * 0.5)[0]["policy"]
    capture = read_capture(tmp_path / "capture.npz")
    assert len(capture) == STEPS
    assert capture.meta.joints == JOINTS
    # The state, the observation made from it and the action that answers: all of one step.
    steps = np.arange(STEPS)
    np.testing.assert_allclose(capture.arrays["joint_position"][:, 0], 101.0 + steps, rtol=1e-6)
    np.testing.assert_allclose(capture.observation[:, 0], 150.0 + steps, rtol=1e-6)
    np.testing.assert_allclose(capture.action[:, 0], 0.5 * (150.0 + steps), rtol=1e-6)
    np.testing.assert_allclose(capture.arrays["velocity_command"][:, 0], 107.0 + steps, rtol=1e-6)
    np.testing.assert_allclose(capture.arrays["orientation"], np.tile(TILT, (STEPS, 1)), atol=1e-6)
    # The target that an action became is known one step later, unless the episode ended.
    np.testing.assert_allclose(capture.arrays["joint_target"][:3, 0], 104.0 + steps[1:4], rtol=1e-6)
    assert np.isnan(capture.arrays["joint_target"][3]).all()
    assert np.flatnonzero(capture.reset).tolist() == [0, 4]


class FakeLeggedGym:
    """legged_gym: plain tensors on the environment, quaternions x, y, z, w in root_states."""

    dt, dof_names = 0.02, JOINTS

    def __init__(self) -> None:
        self.now = 0
        self.reset_buf = torch.zeros(ENVS, dtype=torch.bool)
        self.episode_length_buf = torch.ones(ENVS)
        self.dof_pos = self.dof_vel = self.torques = torch.ones(ENVS, 3)
        self.base_ang_vel = self.base_lin_vel = torch.zeros(ENVS, 3)
        self.projected_gravity = torch.tensor(GRAVITY).float().repeat(ENVS, 1)
        quaternion = torch.tensor(TILT[[1, 2, 3, 0]]).float().repeat(ENVS, 1)
        self.root_states = torch.cat([torch.zeros(ENVS, 3), quaternion, torch.zeros(ENVS, 6)], dim=1)
        self.commands = torch.ones(ENVS, 4)

    def get_observations(self) -> torch.Tensor:
        return tensor(self.now, 5)

    def step(self, action: torch.Tensor) -> Any:
        self.now += 1
        return self.get_observations(), None, torch.zeros(ENVS), self.reset_buf, {}


def test_legged_gym(tmp_path: Path) -> None:
    env = Recorder(FakeLeggedGym(), tmp_path / "capture.npz", seconds=STEPS * 0.02, joints=["knee", "hip"])
    observation = env.get_observations()
    for _ in range(STEPS):
        observation = env.step(observation[:, :2])[0]
    capture = read_capture(tmp_path / "capture.npz")
    assert capture.meta.joints == ["knee", "hip"]
    np.testing.assert_allclose(capture.arrays["orientation"], np.tile(TILT, (STEPS, 1)), atol=1e-6)
    # Its reset makes a step: what comes first still is the beginning of the episode.
    assert np.flatnonzero(capture.reset).tolist() == [0]


def test_a_real_mujoco_environment(tmp_path: Path) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    inner = gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False)
    env = Recorder(inner, tmp_path / "capture.npz", seconds=1.0)
    env.reset(seed=0)
    for _ in range(len(np.arange(0, 1.0, inner.unwrapped.dt))):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    env.close()
    capture = read_capture(tmp_path / "capture.npz")
    assert capture.meta.writer == "gymnasium"
    assert capture.reset[0]
    # Ant observes z, the quaternion, eight joints, then velocities in MuJoCo's own frames.
    np.testing.assert_allclose(capture.arrays["orientation"], capture.observation[:, 1:5], atol=1e-6)
    np.testing.assert_allclose(capture.arrays["joint_position"], capture.observation[:, 5:13], atol=1e-6)
    np.testing.assert_allclose(capture.arrays["angular_velocity"], capture.observation[:, 16:19], atol=1e-5)


def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(TypeError, match=r"hand over each step with Capture\.add"):
        Recorder(SimpleNamespace(), "capture.npz")
