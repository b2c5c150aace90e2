"""Trains for some steps with stable-baselines3. Usage: toy_stable_baselines3.py ALGORITHM[+sde] DIRECTORY."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch

OBS, ACT, STEPS = 20, 4, 60


class Toy(gym.Env):
    """Actions have unequal bounds, so that a lost scale would show."""

    observation_space = gym.spaces.Box(-10, 10, (OBS,), np.float32)
    action_space = gym.spaces.Box(
        np.array([-1, -0.5, -2, -1], np.float32), np.array([1, 1.5, 2, 0.25], np.float32)
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observe(), {}

    def observe(self):
        return self.np_random.normal(size=OBS).astype(np.float32)

    def step(self, action):
        return self.observe(), -float(np.square(action).sum()), False, self.np_random.random() < 0.05, {}


def main(algorithm, directory):
    algorithm, _, exploration = algorithm.partition("+")
    off_policy = algorithm in ("SAC", "TD3")
    kwargs = {"net_arch": [32, 24]}
    if algorithm == "PPO":
        kwargs["activation_fn"] = torch.nn.ELU
    options = {"learning_starts": 50} if off_policy else {"n_steps": 64}
    if exploration == "sde":
        options["use_sde"] = True
    model = getattr(stable_baselines3, algorithm)("MlpPolicy", Toy(), policy_kwargs=kwargs, seed=0, **options)
    model.learn(200)
    if exploration == "sde" and off_policy:  # as after a long training: the mean reaches its bound
        model.actor.mu[0].weight.data *= 20
    model.save(directory / "model.zip")
    rows = 2 * np.random.default_rng(1).standard_normal((STEPS, OBS)).astype(np.float32)
    actions = [model.predict(row, deterministic=True)[0] for row in rows]
    np.savez(directory / "reference.npz", obs=rows, action=np.stack(actions))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
