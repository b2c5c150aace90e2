"""An actor as a YAML description has it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from gaitd.errors import InputError
from gaitd.system.known_names import known_names
from gaitforge.checkpoint import activations
from gaitforge.common import files

CONFIG_KEY = "actor_config"
"""A checkpoint may carry the content of its YAML description under this key."""


class ActorConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A training actor as YAML describes it; what is given is checked against the weights."""

    activation: str | None = None
    """Of the hidden layers; TorchScript needs none."""
    obs_dim: int | None = None
    """Length of the observation."""
    act_dim: int | None = None
    """Length of the action."""
    hidden_sizes: list[int] | None = None
    """Widths of the hidden layers."""
    output_activation: str | None = None
    """Behind the last layer."""
    layer_norm: bool = False
    """A LayerNorm stands between each hidden linear layer and its activation."""
    separate_actor_critic: bool = True
    """Only of interest to training; the critic is dropped in any case."""
    critic_output_dim: int | None = None
    """Likewise."""
    normalizer_epsilon: float | None = None
    """Instead of the trainer's own: what its normalizer adds to the deviation (rl_games: to the variance)."""
    normalizer_clip: float | None = None
    """Instead of the trainer's own: what its normalizer's output is clipped to, from -clip to clip."""


def read_config(path: Path) -> ActorConfig:
    """Read the YAML. Raises InputError that names the key."""
    raw = files.read_yaml(path, "the actor's description")
    return convert(raw, str(path))


def convert(raw: Any, where: str) -> ActorConfig:
    """Check a description. Raises InputError that names the key."""
    try:
        config = msgspec.convert(raw, ActorConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}{known_names(str(error), ActorConfig)}") from error
    for key in ("activation", "output_activation"):
        name = getattr(config, key)
        if name is not None:
            activations.check(name, f"{where}: {key}")
    for key in ("normalizer_epsilon", "normalizer_clip"):
        number = getattr(config, key)
        if number is not None and not 0 <= number < math.inf:
            raise InputError(f"{where}: {key}: expected a number, not negative, got {number}")
    return config
