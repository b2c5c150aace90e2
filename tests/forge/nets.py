"""Checkpoints of many forms, made in a moment."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

OBS, ACT = 45, 12


def mlp(*widths: int, activation: type[nn.Module] = nn.ELU, norm: bool = False) -> nn.Sequential:
    """Linear layers with activations between, and LayerNorm before them if asked."""
    modules: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        modules.append(nn.Linear(before, after))
        modules += [nn.LayerNorm(after)] if norm else []
        modules.append(activation())
    return nn.Sequential(*modules[: -2 if norm else -1])


def prefixed(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in module.state_dict().items()}


def actor_weights(actor: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """What legged_gym's actor-critic saves: actor, critic and the exploration's deviation."""
    critic = mlp(OBS, 32, 1)
    weights = {**prefixed(actor, "actor."), **prefixed(critic, "critic."), "std": torch.ones(ACT)}
    return {prefix + key: tensor for key, tensor in weights.items()}


def statistics() -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation that are neither zero nor one."""
    return torch.linspace(-1.0, 1.0, OBS).reshape(1, -1), torch.linspace(0.5, 2.0, OBS).reshape(1, -1)


def legged_gym(actor: nn.Module) -> dict[str, Any]:
    return {"model_state_dict": actor_weights(actor), "optimizer_state_dict": {}, "iter": 7, "infos": None}


def old_rsl_rl(actor: nn.Module) -> dict[str, Any]:
    """With the normalizer beside the weights."""
    mean, std = statistics()
    normalizer = {"_mean": mean, "_var": std**2, "_std": std, "count": torch.tensor(9)}
    return {**legged_gym(actor), "obs_norm_state_dict": normalizer}


def new_rsl_rl(actor: nn.Module) -> dict[str, Any]:
    """With actor and critic apart, and the normalizer inside the actor."""
    mean, std = statistics()
    weights = {
        **prefixed(actor, "mlp."),
        "obs_normalizer._mean": mean,
        "obs_normalizer._var": std**2,
        "obs_normalizer._std": std,
        "obs_normalizer.count": torch.tensor(9),
        "distribution.std_param": torch.ones(ACT),
    }
    critic = prefixed(mlp(OBS, 32, 1), "mlp.")
    return {"actor_state_dict": weights, "critic_state_dict": critic, "optimizer_state_dict": {}}


def recurrent(rnn: nn.Module, head: nn.Module) -> dict[str, Any]:
    """rsl_rl's recurrent actor-critic."""
    weights = {
        **prefixed(rnn, "memory_a.rnn."),
        **prefixed(nn.GRU(OBS, 8), "memory_c.rnn."),
        **prefixed(head, "actor."),
        **prefixed(mlp(8, 1), "critic."),
        "std": torch.ones(ACT),
    }
    return {"model_state_dict": weights, "optimizer_state_dict": {}}
