"""A policy with random weights and an environment for it, to try the chain without any training.

The policy is made for the Lite3's joints, but turns them by a few hundredths of a radian only: it stands
and fidgets. It proves that files fit together, nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gaitd.policy.manifest import Float32Array

JOINTS = [f"{leg}_{joint}_joint" for leg in ("FL", "FR", "HL", "HR") for joint in ("HipX", "HipY", "Knee")]
BASE_HISTORY, JOINT_HISTORY = 4, 2
OBS_DIM = 3 * 3 * BASE_HISTORY + 3 * len(JOINTS) * JOINT_HISTORY
"""108: angular velocity, gravity and command of 4 steps; positions, velocities and actions of 2 steps."""

ACT_DIM = len(JOINTS)
EPISODE_STEPS = 250

ACTOR_CONFIG: dict[str, Any] = {
    "obs_dim": OBS_DIM,
    "act_dim": ACT_DIM,
    "hidden_sizes": [512, 256, 128],
    "activation": "tanh",
    "separate_actor_critic": False,
    "critic_output_dim": None,
}


def manifest() -> dict[str, Any]:
    """The demo policy's contract, as a bundle's manifest without its files."""
    return {
        "format": 1,
        "name": "demo",
        "version": "0.0.0",
        "description": "Random weights, to try the tools: stands and fidgets, walks nowhere.",
        "robot": "lite3",
        "control_period_s": 0.012,
        "joints": JOINTS,
        "default_joint_position_rad": [0.0, -0.65, 1.3] * 4,
        "observation": {
            "terms": [
                *(
                    {"term": term, "history_length": BASE_HISTORY}
                    for term in ("base_angular_velocity", "projected_gravity", "velocity_command")
                ),
                {"term": "joint_position_relative"},
                {"term": "joint_velocity"},
                {"term": "last_action"},
            ],
            "history": {"length": JOINT_HISTORY, "layout": "term_major"},
        },
        "normalization": {"std_floor": 1e-3, "clip": 10.0},
        "velocity_command": {"unit": "normalized", "min": [0.0, 0.0, 0.0], "max": [0.0, 0.0, 0.0]},
        "action": {
            "scale": 0.02,
            "clip": [-3.0, 3.0],
            "stiffness_nm_per_rad": 30.0,
            "damping_nms_per_rad": 1.0,
        },
        "fallback_damping_nms_per_rad": 2.5,
        "limits": {
            "position": {"min_rad": [-0.53, -3.5, 0.349] * 4, "max_rad": [0.53, 0.32, 2.8] * 4},
            "slew": {"max_rad_per_step": 0.2},
            "torque": {"max_nm": 30.0},
            "state": {"max_velocity_rad_per_s": 50.0},
        },
    }


def obs_stats() -> dict[str, Float32Array]:
    """Mean and standard deviation that such a robot's observations roughly have."""
    blocks = [
        (np.tile([0.0, 0.0, 0.0], BASE_HISTORY), 0.5),
        (np.tile([0.0, 0.0, -1.0], BASE_HISTORY), 0.1),
        (np.tile([0.0, 0.0, 0.0], BASE_HISTORY), 0.5),
        (np.zeros(ACT_DIM * JOINT_HISTORY), 0.1),
        (np.zeros(ACT_DIM * JOINT_HISTORY), 1.0),
        (np.zeros(ACT_DIM * JOINT_HISTORY), 0.5),
    ]
    mean = np.concatenate([mean for mean, _ in blocks])
    std = np.concatenate([np.full(len(mean), std) for mean, std in blocks])
    return {"mean": mean.astype(np.float32), "std": std.astype(np.float32)}


class DemoEnvironment:
    """A stable linear system with noise; its observations have about the demo's mean and deviation."""

    action_dim = ACT_DIM
    observation_dim = OBS_DIM

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._stats = obs_stats()
        self._coupling = self._random.standard_normal((OBS_DIM, ACT_DIM)) * 0.05
        self._state = np.zeros(OBS_DIM)
        self._step = 0

    def reset(self) -> Float32Array:
        """Start an episode; returns the observation (108,)."""
        self._state = self._random.standard_normal(OBS_DIM)
        self._step = 0
        return self._observation()

    def step(self, action: Float32Array) -> tuple[Float32Array, float, bool, dict[str, Any]]:
        """Apply an action (12,); returns observation, reward, whether the episode ended, and {}."""
        noise = 0.3 * self._random.standard_normal(OBS_DIM)
        self._state = 0.95 * self._state + self._coupling @ np.clip(action, -3.0, 3.0) + noise
        self._step += 1
        reward = float(np.exp(-np.mean(self._state**2)) - 0.01 * np.mean(np.square(action)))
        return self._observation(), reward, self._step >= EPISODE_STEPS, {}

    def _observation(self) -> Float32Array:
        return (self._stats["mean"] + self._stats["std"] * self._state).astype(np.float32)


def make_env() -> DemoEnvironment:
    """Make the environment, as ``--env gaitforge.example:make_env`` asks for it."""
    return DemoEnvironment()
