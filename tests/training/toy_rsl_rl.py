"""Trains for two iterations with the rsl_rl on the path, and writes checkpoint, module and reference actions.

Usage: toy_rsl_rl.py GENERATION KIND DIRECTORY, where KIND is mlp, lstm, gaussian or beta.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

OBS, ACT, ENVS, STEPS = 20, 4, 16, 60


class Toy(VecEnv):
    """Observations with an offset and unequal scales, so that a lost normalizer would show."""

    num_envs, num_actions, device, cfg = ENVS, ACT, "cpu", {}
    max_episode_length = 50

    def __init__(self):
        self.episode_length_buf = torch.zeros(ENVS, dtype=torch.long)

    def get_observations(self):
        values = torch.randn(ENVS, OBS) * torch.linspace(0.05, 3, OBS) + torch.linspace(-2, 2, OBS)
        return TensorDict({"policy": values}, batch_size=[ENVS])

    def step(self, actions):
        obs = self.get_observations()
        reward = -(actions - obs["policy"][:, :ACT]).square().sum(dim=1)
        return obs, reward, torch.rand(ENVS) < 0.05, {}


def configuration(generation, kind):
    algorithm = {"class_name": "PPO", "rnd_cfg": None, "symmetry_cfg": None}
    common = {
        "num_steps_per_env": 8,
        "save_interval": 100,
        "algorithm": algorithm,
        "logger": "tensorboard",
    }
    memory = {"rnn_type": "lstm", "rnn_hidden_dim": 16, "rnn_num_layers": 1} if kind == "lstm" else {}
    if generation == 3:
        policy = {
            "class_name": "ActorCriticRecurrent" if kind == "lstm" else "ActorCritic",
            "activation": "relu",
            "actor_hidden_dims": [32, 24],
            "critic_hidden_dims": [16],
            "actor_obs_normalization": True,
            "critic_obs_normalization": True,
            "state_dependent_std": kind == "gaussian",
            **memory,
        }
        return {**common, "policy": policy, "obs_groups": {"policy": ["policy"], "critic": ["policy"]}}
    distribution = {
        "gaussian": {"class_name": "HeteroscedasticGaussianDistribution"},
        "beta": {"class_name": "BetaDistribution", "action_range": (-2.0, 1.0)},
    }.get(kind, {"class_name": "GaussianDistribution"})
    model = {
        "class_name": "RNNModel" if kind == "lstm" else "MLPModel",
        "activation": "relu",
        "hidden_dims": [32, 24],
        "obs_normalization": True,
        **memory,
    }
    groups = {"actor": ["policy"], "critic": ["policy"]}
    return {
        **common,
        "actor": {**model, "distribution_cfg": distribution},
        "critic": model,
        "obs_groups": groups,
    }


def main(generation, kind, directory):
    torch.manual_seed(0)
    environment = Toy()
    runner = OnPolicyRunner(
        environment, configuration(generation, kind), log_dir=str(directory), device="cpu"
    )
    runner.learn(2)
    runner.save(str(directory / "model.pt"))
    policy = runner.get_inference_policy(device="cpu")
    observations = [environment.get_observations()[:1] for _ in range(STEPS)]
    with torch.inference_mode():
        policies = runner.alg.policy if generation == 3 else policy
        policies.reset()
        actions = [policy(observation) for observation in observations]
    if generation == 5:
        runner.export_policy_to_jit(str(directory), "module.pt")
    rows = torch.cat([observation["policy"] for observation in observations])
    np.savez(directory / "reference.npz", obs=rows.numpy(), action=torch.cat(actions).numpy())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
