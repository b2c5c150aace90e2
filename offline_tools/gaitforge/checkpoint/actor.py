"""The trained actor as a torch module, rebuilt from its weights.

The topology is read from the weights: a Sequential numbers its modules, so that gaps between numbered
weights are the activations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from gaitd.errors import InputError
from gaitforge.checkpoint.activations import ACTIVATIONS
from gaitforge.checkpoint.config import ActorConfig
from gaitforge.checkpoint.recipe import Head, Layer, Recipe, Statistics


class Normalizer(nn.Module):  # type: ignore[misc]
    """(x - mean) / divisor, then a symmetric clip."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        self.register_buffer("mean", statistics.mean.reshape(1, -1))
        self.register_buffer("factor", 1.0 / statistics.divisor.reshape(1, -1))
        self.clip = statistics.clip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize (batch, dim)."""
        x = (x - self.mean) * self.factor
        return x if self.clip is None else x.clamp(-self.clip, self.clip)


class FirstHalf(nn.Module):  # type: ignore[misc]
    """The mean of a head that gives means, then deviations."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 2 n) to (batch, n)."""
        return x[:, : x.shape[1] // 2]


class BetaMean(nn.Module):  # type: ignore[misc]
    """The mean of a Beta distribution over [low, high], as rsl_rl's BetaDistribution computes it.

    alpha and beta are softplus of the two halves, plus 1; the mean is alpha / (alpha + beta) of the range
    (rsl_rl/modules/distribution.py, version 5.4).
    """

    def __init__(self, low: torch.Tensor, high: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low.reshape(1, -1))
        self.register_buffer("span", (high - low).reshape(1, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 2 n) to (batch, n)."""
        alpha, beta = (nn.functional.softplus(half) + 1.0 for half in x.chunk(2, dim=1))
        return alpha / (alpha + beta) * self.span + self.low


class Squash(nn.Module):  # type: ignore[misc]
    """tanh, scaled to [low, high]; its input may be clipped to +-limit."""

    def __init__(self, low: torch.Tensor, high: torch.Tensor, limit: float | None) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("middle", ((high + low) / 2.0).reshape(1, -1))
        self.register_buffer("reach", ((high - low) / 2.0).reshape(1, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n) to (batch, n)."""
        if self.limit is not None:
            x = x.clamp(-self.limit, self.limit)
        return torch.tanh(x) * self.reach + self.middle


class Clip(nn.Module):  # type: ignore[misc]
    """Clip to [-1, 1], scaled to [low, high] if that is asked for."""

    def __init__(self, low: torch.Tensor, high: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low.reshape(1, -1))
        self.register_buffer("high", high.reshape(1, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n) to (batch, n)."""
        return torch.maximum(torch.minimum(x, self.high), self.low)


class Actor(nn.Module):  # type: ignore[misc]
    """Observation (batch, obs_dim) to action (batch, act_dim), and hidden states (layers, batch, size)."""

    def __init__(self, recipe: Recipe, activation: str, output_activation: str | None) -> None:
        super().__init__()
        self.normalizer: nn.Module = nn.Identity()
        self.encoder = nn.Sequential(*build_mlp(recipe.encoder, activation))
        if recipe.encoder:
            self.encoder.append(ACTIVATIONS[activation]())
        self.rnn = build_rnn(recipe.rnn) if recipe.rnn else None
        self.branches = nn.ModuleList(build_mlp(layers, activation) for layers in recipe.branches)
        self.output = nn.Sequential(_head(recipe.head), ACTIVATIONS[output_activation or "identity"]())

    def forward(self, obs: torch.Tensor, *hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the action and the next hidden states, none, h or h and c."""
        x = self.encoder(self.normalizer(obs))
        following: tuple[torch.Tensor, ...] = ()
        if self.rnn is not None:
            start = hidden if isinstance(self.rnn, nn.LSTM) else hidden[0]
            x, end = self.rnn(x.unsqueeze(0), start)
            x = x.squeeze(0)
            following = end if isinstance(self.rnn, nn.LSTM) else (end,)
        parts = [branch(x) for branch in self.branches]
        return (self.output(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]), *following)

    @property
    def obs_dim(self) -> int:
        """Length of the observation."""
        encoding = _linears(self.encoder)
        if encoding or self.rnn is None:
            return int((encoding or self.linear_layers())[0].in_features)
        return int(self.rnn.input_size)

    @property
    def act_dim(self) -> int:
        """Length of the action."""
        width = sum(int(_linears(branch)[-1].out_features) for branch in self.branches)
        return width // 2 if isinstance(self.output[0], FirstHalf | BetaMean) else width

    def linear_layers(self) -> list[nn.Linear]:
        """The linear layers of the first branch after the recurrent layer, in order."""
        return _linears(self.branches[0])

    def hidden_shapes(self) -> dict[str, list[int]]:
        """Shapes of the hidden states of one robot, by name: h, and c for an LSTM."""
        if self.rnn is None:
            return {}
        names = ("h", "c") if isinstance(self.rnn, nn.LSTM) else ("h",)
        return {name: [self.rnn.num_layers, 1, self.rnn.hidden_size] for name in names}

    def describe(self) -> str:
        """Say what was built, in a few words."""
        texts = []
        for branch in self.branches:
            linears = _linears(branch)
            widths = [linears[0].in_features, *(layer.out_features for layer in linears)]
            texts.append("-".join(map(str, widths)))
        kinds = [type(module).__name__ for module in self.branches[0] if not isinstance(module, nn.Linear)]
        lead = "" if self.rnn is None else f"{type(self.rnn).__name__} {self.rnn.hidden_size}, "
        tail = [type(module).__name__ for module in self.output if not isinstance(module, nn.Identity)]
        end = f", then {', '.join(tail)}" if tail else ""
        return f"{lead}{' and '.join(texts)} with {', '.join(dict.fromkeys(kinds)) or 'no activation'}{end}"


def _linears(modules: nn.Sequential) -> list[nn.Linear]:
    return [module for module in modules if isinstance(module, nn.Linear)]


def _head(head: Head) -> nn.Module:
    one = torch.ones(1)
    low, high = (-one if head.low is None else head.low), (one if head.high is None else head.high)
    if head.kind == "plain":
        return nn.Identity()
    if head.kind == "gaussian":
        return FirstHalf()
    if head.kind == "tanh":
        return Squash(low, high, head.limit)
    if head.kind in ("beta", "clip"):
        return {"beta": BetaMean, "clip": Clip}[head.kind](low, high)
    return ACTIVATIONS[head.kind]()


def build_mlp(layers: list[Layer], activation: str) -> nn.Sequential:
    """Assemble linear layers, norms and activations. Raises InputError when shapes do not chain."""
    modules: list[nn.Module] = []
    width: int | None = None
    position = layers[0].index if layers else 0
    was_linear = False
    for layer in layers:
        # A list of linear layers without gaps has its activations applied outside of it.
        if layer.index > position or (was_linear and layer.kind == "linear"):
            modules.append(ACTIVATIONS[activation]())
        module = _module(layer)
        needs = (
            module.in_features if isinstance(module, nn.Linear) else len(next(iter(layer.weights.values())))
        )
        if width is not None and needs != width:
            raise InputError(f"layer {layer.name} takes {needs} values, but the one before it gives {width}")
        width = module.out_features if isinstance(module, nn.Linear) else needs
        modules.append(module)
        position, was_linear = layer.index + 1, layer.kind == "linear"
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
        raise InputError(
            f"layer {layer.name} does not fit together: {' '.join(str(error).split())}"
        ) from error
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
    bias = "bias_ih_l0" in weights
    rnn = kinds[rows // hidden](weights["weight_ih_l0"].shape[1], hidden, count, bias=bias)
    try:
        rnn.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise InputError(
            f"the recurrent layer does not fit together: {' '.join(str(error).split())}"
        ) from error
    return rnn


def build(recipe: Recipe, activation: str | None, config: ActorConfig) -> Actor:
    """Build the actor without its normalizer. Raises InputError when the parts do not fit together."""
    actor = Actor(recipe, activation or "identity", config.output_activation)
    for branch in actor.branches:
        if not _linears(branch):
            raise InputError(f"{recipe.branches[0][0].name} has no linear layer")
    if actor.rnn is not None:
        takes = actor.linear_layers()[0].in_features
        if takes != actor.rnn.hidden_size:
            raise InputError(
                f"the recurrent layer gives {actor.rnn.hidden_size} values, but the layer after it takes "
                f"{takes}"
            )
    if len({_linears(branch)[0].in_features for branch in actor.branches}) > 1:
        raise InputError("the actor's branches take observations of different lengths")
    actor.eval()
    return actor
