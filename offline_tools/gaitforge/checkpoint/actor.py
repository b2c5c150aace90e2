"""The trained actor as a torch module, rebuilt from its weights.

The topology is read from the weights: a Sequential numbers its modules, so that gaps between numbered
weights are the activations. What weights cannot tell, the kind of activation, comes from the
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import nn

from gaitd.errors import InputError
from gaitforge.common import files

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


class ActorConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A training actor as YAML describes it; what is given is checked against the weights."""

    activation: str
    obs_dim: int | None = None
    act_dim: int | None = None
    hidden_sizes: list[int] | None = None
    output_activation: str = "identity"
    layer_norm: bool = False
    """A LayerNorm stands between each hidden linear layer and its activation."""
    separate_actor_critic: bool = True
    """Only of interest to training; the critic is dropped in any case."""
    critic_output_dim: int | None = None
    """Likewise."""
    normalizer_epsilon: float | None = None
    """Added to the standard deviation of a normalizer inside the checkpoint."""


@dataclass(frozen=True)
class Layer:
    """One numbered module of the actor's Sequential."""

    index: int
    kind: str
    """linear, layer_norm or batch_norm."""
    weights: dict[str, torch.Tensor]


def read_config(path: Path) -> ActorConfig:
    """Read the YAML. Raises InputError that names the key."""
    try:
        config = msgspec.convert(files.read_yaml(path, "the actor's description"), ActorConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from error
    for key in ("activation", "output_activation"):
        check_activation(getattr(config, key), f"{path}: {key}")
    return config


def check_activation(name: str, where: str) -> None:
    """Raise InputError unless the activation is known."""
    if name not in ACTIVATIONS:
        raise InputError(f"{where}: {name!r} is not one of {', '.join(ACTIVATIONS)}")


class Normalizer(nn.Module):  # type: ignore[misc]
    """(x - mean) / (std + epsilon), as a difference and a product."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, epsilon: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean.reshape(1, -1).float())
        self.register_buffer("factor", 1.0 / (std.reshape(1, -1).float() + epsilon))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize (batch, dim)."""
        return (x - self.mean) * self.factor


class Actor(nn.Module):  # type: ignore[misc]
    """Observation (batch, obs_dim) to action (batch, act_dim), and hidden states (layers, batch, size)."""

    def __init__(self, mlp: nn.Sequential, rnn: nn.GRU | nn.LSTM | None, normalizer: nn.Module) -> None:
        super().__init__()
        self.normalizer, self.rnn, self.mlp = normalizer, rnn, mlp

    def forward(self, obs: torch.Tensor, *hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the action and the next hidden states, none, h or h and c."""
        x = self.normalizer(obs)
        if self.rnn is None:
            return (self.mlp(x),)
        start = hidden if isinstance(self.rnn, nn.LSTM) else hidden[0]
        x, end = self.rnn(x.unsqueeze(0), start)
        following = end if isinstance(self.rnn, nn.LSTM) else (end,)
        return (self.mlp(x.squeeze(0)), *following)

    @property
    def obs_dim(self) -> int:
        """Length of the observation."""
        first = self.rnn if self.rnn is not None else self.linear_layers()[0]
        return int(first.input_size if isinstance(first, nn.GRU | nn.LSTM) else first.in_features)

    def linear_layers(self) -> list[nn.Linear]:
        """The linear layers after the recurrent ones, in order."""
        return [module for module in self.mlp if isinstance(module, nn.Linear)]

    def hidden_shapes(self) -> dict[str, list[int]]:
        """Shapes of the hidden states of one robot, by name: h, and c for an LSTM."""
        if self.rnn is None:
            return {}
        names = ("h", "c") if isinstance(self.rnn, nn.LSTM) else ("h",)
        return {name: [self.rnn.num_layers, 1, self.rnn.hidden_size] for name in names}

    def describe(self) -> str:
        """Say what was built, in a few words."""
        linears = self.linear_layers()
        widths = [linears[0].in_features, *(layer.out_features for layer in linears)]
        kinds = [type(module).__name__ for module in self.mlp if not isinstance(module, nn.Linear)]
        lead = "" if self.rnn is None else f"{type(self.rnn).__name__} {self.rnn.hidden_size}, "
        return f"{lead}{'-'.join(map(str, widths))} with {', '.join(dict.fromkeys(kinds)) or 'no activation'}"


def build_mlp(layers: list[Layer], config: ActorConfig) -> nn.Sequential:
    """Assemble linear layers, norms and activations. Raises InputError when shapes do not chain."""
    modules: list[nn.Module] = []
    width: int | None = None
    position = layers[0].index
    was_linear = False
    for layer in layers:
        # A list of linear layers without gaps has its activations applied outside of it.
        if layer.index > position or (was_linear and layer.kind == "linear"):
            modules.append(ACTIVATIONS[config.activation]())
        module = _module(layer)
        needs = (
            module.in_features if isinstance(module, nn.Linear) else len(next(iter(layer.weights.values())))
        )
        if width is not None and needs != width:
            raise InputError(
                f"layer {layer.index} of the actor takes {needs} values, but the one before it gives {width}"
            )
        width = module.out_features if isinstance(module, nn.Linear) else needs
        modules.append(module)
        position, was_linear = layer.index + 1, layer.kind == "linear"
    if config.output_activation != "identity":
        modules.append(ACTIVATIONS[config.output_activation]())
    return nn.Sequential(*modules)


def _module(layer: Layer) -> nn.Module:
    weight = layer.weights["weight"]
    module: nn.Module
    if layer.kind == "linear":
        module = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in layer.weights)
    elif layer.kind == "batch_norm":
        module = nn.BatchNorm1d(len(weight))
    else:
        module = nn.LayerNorm(len(weight))
    try:
        module.load_state_dict(layer.weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"layer {layer.index} of the actor does not fit together: {reason}") from error
    return module


def build_rnn(weights: Mapping[str, torch.Tensor]) -> nn.GRU | nn.LSTM:
    """Rebuild a GRU or LSTM from its weights as torch names them. Raises InputError."""
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in weights:
            raise InputError(f"the recurrent layer has no {name}")
    rows, hidden = weights["weight_hh_l0"].shape
    kinds: dict[int, type[nn.GRU | nn.LSTM]] = {3: nn.GRU, 4: nn.LSTM}
    if hidden == 0 or rows % hidden or rows // hidden not in kinds:
        raise InputError(f"weight_hh_l0 has shape {(rows, hidden)}, which is neither a GRU's nor an LSTM's")
    count = sum(name.startswith("weight_hh_l") for name in weights)
    rnn = kinds[rows // hidden](weights["weight_ih_l0"].shape[1], hidden, count)
    try:
        rnn.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise InputError(
            f"the recurrent layer does not fit together: {' '.join(str(error).split())}"
        ) from error
    return rnn


def check_config(actor: Actor, config: ActorConfig, where: str) -> None:
    """Raise InputError when the configuration says something else than the weights."""
    linears = actor.linear_layers()
    found = {
        "obs_dim": actor.obs_dim,
        "act_dim": linears[-1].out_features,
        "hidden_sizes": [layer.out_features for layer in linears[:-1]],
    }
    for key, value in found.items():
        wanted = getattr(config, key)
        if wanted is not None and wanted != value:
            raise InputError(f"{where}: {key} is {wanted}, but the checkpoint's weights say {value}")
