"""Checkpoints as each trainer lays them out, and what their policies give, computed with numpy alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

OBS, ACT = 45, 12
Array = np.ndarray
Function = Callable[[Array], Array]

ELU: Function = lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))  # noqa: E731
RELU: Function = lambda x: np.maximum(x, 0)  # noqa: E731
SILU: Function = lambda x: x / (1 + np.exp(-x))  # noqa: E731
SOFTPLUS: Function = lambda x: np.log1p(np.exp(x))  # noqa: E731
SIGMOID: Function = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731


@dataclass
class Linear:
    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        return x @ self.weight.T + self.bias

    def tensors(self, prefix: str) -> dict[str, torch.Tensor]:
        return {f"{prefix}weight": tensor(self.weight), f"{prefix}bias": tensor(self.bias)}


def tensor(array: Array | float) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def linears(*widths: int, seed: int = 0) -> list[Linear]:
    rng = np.random.default_rng(seed)
    return [
        Linear(rng.normal(size=(after, before)) / np.sqrt(before), rng.normal(size=after) * 0.3)
        for before, after in itertools.pairwise(widths)
    ]


def numbered(layers: list[Linear], prefix: str, step: int = 2) -> dict[str, torch.Tensor]:
    weights = {}
    for index, layer in enumerate(layers):
        weights.update(layer.tensors(f"{prefix}{step * index}."))
    return weights


def forward(layers: list[Linear], x: Array, activation: Function) -> Array:
    for layer in layers[:-1]:
        x = activation(layer(x))
    return layers[-1](x)


def critic(prefix: str, width: int = OBS) -> dict[str, torch.Tensor]:
    return numbered(linears(width, 20, 1, seed=9), prefix)


def moments(width: int = OBS) -> tuple[Array, Array]:
    """Mean and variance that are neither zero nor one, some of it small."""
    return np.linspace(-1.0, 1.0, width), np.geomspace(1e-3, 4.0, width)


def empirical(width: int = OBS) -> dict[str, torch.Tensor]:
    """rsl_rl's EmpiricalNormalization."""
    mean, var = moments(width)
    values = {"_mean": mean, "_var": var, "_std": np.sqrt(var)}
    return {**{key: tensor(value[None]) for key, value in values.items()}, "count": torch.tensor(9)}


def below(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in weights.items()}


def rsl_normalized(x: Array) -> Array:
    mean, var = moments()
    return (x - mean) / (np.sqrt(var) + 1e-2)


OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4, 4)}}, "param_groups": [{}]}


def runner(weights: dict[str, Any]) -> dict[str, Any]:
    """What rsl_rl's runner saves beside the weights."""
    return {**weights, "optimizer_state_dict": OPTIMIZER, "iter": 3, "infos": None}


def rsl_rl_5(
    layers: list[Linear], role: str = "actor", other: str = "critic", deviation: bool = True
) -> dict[str, Any]:
    weights = {**numbered(layers, "mlp."), **below("obs_normalizer.", empirical())}
    if deviation:
        weights["distribution.std_param"] = torch.ones(ACT)
    others = {**critic("mlp.", 60), **below("obs_normalizer.", empirical(60))}
    return runner({f"{role}_state_dict": weights, f"{other}_state_dict": others})


def skrl(weights: dict[str, torch.Tensor], key: str = "state_preprocessor") -> dict[str, Any]:
    mean, var = moments()
    scaler = {
        "running_mean": torch.from_numpy(mean),
        "running_variance": torch.from_numpy(var),
        "current_count": torch.tensor(1e6, dtype=torch.float64),
    }
    value = {
        "running_mean": torch.zeros(1),
        "running_variance": torch.ones(1),
        "current_count": torch.ones(()),
    }
    return {
        "policy": {**weights, "log_std_parameter": torch.zeros(ACT)},
        "value": critic("net."),
        "optimizer": OPTIMIZER,
        key: scaler,
        "value_preprocessor": value,
    }


def skrl_normalized(x: Array) -> Array:
    mean, var = moments()
    return np.clip((x - mean) / (np.sqrt(var) + 1e-8), -5, 5)


def rl_games(network: dict[str, torch.Tensor]) -> dict[str, Any]:
    mean, var = moments()
    return {
        "model": {
            **below(
                "a2c_network.", {**network, "value.weight": torch.ones(1, 32), "value.bias": torch.zeros(1)}
            ),
            "a2c_network.sigma": torch.zeros(ACT),
            "running_mean_std.running_mean": torch.from_numpy(mean),
            "running_mean_std.running_var": torch.from_numpy(var),
            "running_mean_std.count": torch.tensor(10.0, dtype=torch.float64),
            "value_mean_std.running_mean": torch.zeros(1),
            "value_mean_std.running_var": torch.ones(1),
            "value_mean_std.count": torch.tensor(1.0),
        },
        "epoch": 100,
        "frame": 1,
        "optimizer": OPTIMIZER,
        "last_mean_rewards": np.float64(3.5),
    }


def rl_games_normalized(x: Array) -> Array:
    mean, var = moments()
    return np.clip((x - mean) / np.sqrt(var + 1e-5), -5, 5)


def lstm(width: int, size: int, seed: int = 5) -> tuple[dict[str, torch.Tensor], Function]:
    """Weights of an LSTM as torch names them, and its outputs over the rows from a reset."""
    rng = np.random.default_rng(seed)
    w_in, w_state = rng.normal(size=(4 * size, width)) * 0.2, rng.normal(size=(4 * size, size)) * 0.2
    b_in, b_state = rng.normal(size=4 * size) * 0.1, rng.normal(size=4 * size) * 0.1
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")

    def run(rows: Array) -> Array:
        h, c, outputs = np.zeros(size), np.zeros(size), []
        for row in rows:
            i, f, g, o = np.split(w_in @ row + b_in + w_state @ h + b_state, 4)
            c = SIGMOID(f) * c + SIGMOID(i) * np.tanh(g)
            h = SIGMOID(o) * np.tanh(c)
            outputs.append(h)
        return np.stack(outputs)

    return dict(zip(names, map(tensor, (w_in, w_state, b_in, b_state)), strict=True)), run
