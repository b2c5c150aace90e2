"""One process's share of the training: its robots, and rsl_rl's PPO on what they did.

With several processes, each has its own robots and the same networks: rsl_rl averages the gradients.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.distributed
from rsl_rl.algorithms import PPO
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from gaitd.errors import GateError
from gaitd.policy.manifest import Float32Array
from gaitforge.train.config import Config
from gaitforge.train.environment import Environment
from gaitforge.train.mirror import Mirror, mirror

_GROUPS = {"actor": ["policy"], "critic": ["critic"]}


class Learner:
    """PPO over an environment; the same settings, seed and number of processes give the same networks."""

    def __init__(self, config: Config, environment: Environment, rank: int = 0, world: int = 1) -> None:
        """``rank`` of ``world`` processes. Raises InputError when the robot has no mirror image."""
        torch.manual_seed(config.seed)
        learning, joints = config.learning, len(environment.manifest.joints)
        self._config, self._environment, self._world = config, environment, world
        self.observations = _as_tensors(environment.observe())
        actor = MLPModel(
            self.observations, _GROUPS, "actor", joints, learning.actor, "elu",
            distribution_cfg={"class_name": "GaussianDistribution", "init_std": learning.initial_std},
        )  # fmt: skip
        critic = MLPModel(self.observations, _GROUPS, "critic", 1, learning.critic, "elu")
        with torch.no_grad():
            for parameter in actor.mlp[-1].parameters():
                parameter *= learning.last_layer_gain
        self.ppo = PPO(
            actor,
            critic,
            RolloutStorage("rl", environment.count, learning.horizon, self.observations, [joints]),
            num_learning_epochs=learning.epochs,
            num_mini_batches=learning.minibatches,
            clip_param=learning.clip,
            gamma=learning.gamma,
            lam=learning.lam,
            learning_rate=learning.rate,
            desired_kl=learning.desired_kl,
            symmetry_cfg=_symmetry(config, environment),
            multi_gpu_cfg={"global_rank": rank, "world_size": world} if world > 1 else None,
        )
        torch.manual_seed(config.seed * 1000 + rank)

    def iterate(self, iteration: int) -> dict[str, float]:
        """Walk ``horizon`` steps with every robot, learn from them; returns figures over all processes.

        Raises GateError when something is not finite any more.
        """
        config, environment, ppo = self._config, self._environment, self.ppo
        environment.progress(iteration)
        first, last = config.curriculum.entropy
        ppo.entropy_coef = first + (last - first) * iteration / config.iterations
        sums: dict[str, float] = {}
        with torch.inference_mode():
            for _ in range(config.learning.horizon):
                actions = ppo.act(self.observations)
                asked = environment.memory.asked.copy()
                step = environment.step(actions.numpy())
                self.observations = _as_tensors(environment.observe())
                error = (step.velocity - asked) ** 2
                figures = {f"reward/{name}": value for name, value in step.terms.items()} | {
                    "reward": float(step.reward.mean()) / environment.period_s,
                    "velocity_error_m_per_s": float(error[:, :2].sum(axis=1).mean()),
                    "turning_error_rad_per_s": float(error[:, 2].mean()),
                    "falls_per_10_s": float(step.fell.mean()) * 10.0 / environment.period_s,
                }
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0.0) + value / config.learning.horizon
                ppo.process_env_step(
                    self.observations,
                    torch.from_numpy(step.reward.astype(np.float32)),
                    torch.from_numpy(step.fell | step.timeout),
                    {"time_outs": torch.from_numpy(step.timeout.astype(np.float32))},
                )
            ppo.compute_returns(self.observations)
        losses = {f"loss/{name}": value for name, value in self._update().items()}
        figures = self._mean(sums | losses)
        for name in ("velocity_error_m_per_s", "turning_error_rad_per_s"):
            figures[name] = math.sqrt(figures[name])
        figures["exploration"] = float(ppo.actor.output_std.detach().mean())
        figures["learning_rate"] = ppo.learning_rate
        for name, value in figures.items():
            if not math.isfinite(value):
                raise GateError(f"the training diverged: {name} is {value}; lower learning.rate")
        return figures

    def state(self) -> dict[str, Any]:
        """This process's part of what the next iteration depends on, beside the networks."""
        return {
            "arrays": {n: torch.from_numpy(a) for n, a in self._environment.snapshot().items()},
            "observations": {name: value.clone() for name, value in self.observations.items()},
            "environment_random": self._environment.rng.bit_generator.state,
            "torch_random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave."""
        self._environment.restore({name: tensor.numpy() for name, tensor in state["arrays"].items()})
        self.observations = TensorDict(state["observations"], batch_size=[self._environment.count])
        self._environment.rng.bit_generator.state = state["environment_random"]
        torch.set_rng_state(state["torch_random"])

    def _update(self) -> dict[str, float]:
        try:
            losses: dict[str, float] = self.ppo.update()
        except (RuntimeError, ValueError):  # of torch, about a distribution without numbers
            if self._finite():
                raise
        if not self._finite():
            raise GateError("the training diverged: weights are not finite any more; lower learning.rate")
        return losses

    def _finite(self) -> bool:
        networks = (self.ppo.actor, self.ppo.critic)
        return all(bool(torch.isfinite(each).all()) for net in networks for each in net.parameters())

    def _mean(self, figures: dict[str, float]) -> dict[str, float]:
        if self._world == 1:
            return figures
        values = torch.tensor(list(figures.values()), dtype=torch.float64)
        torch.distributed.all_reduce(values)
        return dict(zip(figures, (values / self._world).tolist(), strict=True))


def _as_tensors(observed: tuple[Float32Array, Float32Array]) -> TensorDict:
    actor, critic = (torch.from_numpy(array) for array in observed)
    return TensorDict({"policy": actor, "critic": critic}, batch_size=[len(actor)])


def _symmetry(config: Config, environment: Environment) -> dict[str, Any] | None:
    if config.learning.mirror == 0.0:
        return None
    image = mirror(environment.robot, environment.manifest, environment.observer)
    return {
        "env": None,
        "data_augmentation_func": _Augment(image),
        "use_mirror_loss": True,
        "mirror_loss_coeff": config.learning.mirror,
    }


class _Augment:
    """Observations and actions, followed by their mirror images, as rsl_rl asks for them."""

    def __init__(self, image: Mirror) -> None:
        self._observation, self._action = (
            (torch.from_numpy(source), torch.from_numpy(sign))
            for source, sign in (image.observation, image.action)
        )

    def __call__(
        self, env: None, obs: TensorDict | None, actions: torch.Tensor | None
    ) -> tuple[TensorDict | None, torch.Tensor | None]:
        if obs is not None:
            both = _both(obs["policy"], *self._observation)
            obs = TensorDict({"policy": both}, batch_size=[len(both)])
        return obs, None if actions is None else _both(actions, *self._action)


def _both(values: torch.Tensor, source: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    return torch.cat((values, values[:, source] * sign))
