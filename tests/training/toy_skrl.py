"""Trains for some steps with skrl's PPO, model instantiator and scaler.

Usage: toy_skrl.py EPSILON CLIP DIRECTORY, the first two being the scaler's.
"""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

OBS, ACT, STEPS = 20, 4, 60


class Toy(gym.Env):
    """Observations with an offset and unequal scales, so that a lost normalizer would show."""

    observation_space = gym.spaces.Box(-50, 50, (OBS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACT,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observe(), {}

    def observe(self):
        scale, offset = np.linspace(0.05, 3, OBS), np.linspace(-2, 2, OBS)
        return (self.np_random.normal(size=OBS) * scale + offset).astype(np.float32)

    def step(self, action):
        return self.observe(), -float(np.square(action).sum()), False, self.np_random.random() < 0.05, {}


def main(epsilon, clip, directory):
    torch.manual_seed(0)
    environment = wrap_env(Toy(), wrapper="gymnasium")
    network = [{"name": "net", "input": "OBSERVATIONS", "layers": [32, 24], "activations": "elu"}]
    spaces = {
        "observation_space": environment.observation_space,
        "action_space": environment.action_space,
        "device": "cpu",
    }
    models = {
        "policy": gaussian_model(**spaces, network=network, output="ACTIONS"),
        "value": deterministic_model(**spaces, network=network, output="ONE"),
    }
    for model in models.values():
        model.init_state_dict(role="policy")
    scaler = {
        "size": environment.observation_space,
        "device": "cpu",
        "epsilon": epsilon,
        "clip_threshold": clip,
    }
    settings = PPO_CFG(
        rollouts=32,
        mini_batches=2,
        observation_preprocessor=RunningStandardScaler,
        observation_preprocessor_kwargs=scaler,
        value_preprocessor=RunningStandardScaler,
        value_preprocessor_kwargs={"size": 1, "device": "cpu"},
    )
    settings.experiment.write_interval = 0
    settings.experiment.checkpoint_interval = 0
    agent = PPO(
        models=models,
        memory=RandomMemory(memory_size=32, num_envs=1, device="cpu"),
        cfg=settings,
        observation_space=environment.observation_space,
        action_space=environment.action_space,
        device="cpu",
    )
    trainer = SequentialTrainer(env=environment, agents=agent, cfg={"timesteps": 96, "headless": True})
    trainer.train()
    agent.save(str(directory / "model.pt"))
    # Far enough out to be clipped.
    rows = 4 * np.stack([environment._env.unwrapped.observe() for _ in range(STEPS)])
    agent.enable_training_mode(False)
    with torch.inference_mode():
        _, outputs = agent.act(torch.from_numpy(rows), None, timestep=0, timesteps=0)
    np.savez(directory / "reference.npz", obs=rows, action=outputs["mean_actions"].numpy())


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3]))
