"""How to rebuild an actor: what a layout finds in a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Layer:
    """One numbered module of a Sequential."""

    index: int
    kind: str
    """linear, layer_norm or batch_norm."""
    weights: dict[str, torch.Tensor]
    name: str
    """Its key, without ``.weight``."""


@dataclass(frozen=True)
class Statistics:
    """(x - mean) / divisor, then a symmetric clip."""

    key: str
    mean: torch.Tensor
    """(dim,)"""
    divisor: torch.Tensor
    """(dim,), with the trainer's epsilon in it."""
    clip: float | None
    formula: str


@dataclass(frozen=True)
class Head:
    """What comes after the last layer."""

    kind: str = "plain"
    """plain; gaussian: the first half is the mean; beta: both halves are parameters; tanh; clip."""
    low: torch.Tensor | None = None
    """Of the action's range, for beta, tanh and clip; (1,) or (act_dim,)."""
    high: torch.Tensor | None = None
    limit: float | None = None
    """Before tanh, the last layer's values are clipped to +-limit."""


@dataclass
class Recipe:
    """An actor's parts in a checkpoint."""

    layout: str
    branches: list[list[Layer]]
    """Layers in order; several branches take the same input and their outputs are joined."""
    rnn: dict[str, torch.Tensor] = field(default_factory=dict)
    encoder: list[Layer] = field(default_factory=list)
    """Layers before the recurrent one, the last one followed by an activation."""
    normalizer: Statistics | None = None
    head: Head = Head()
    activations: dict[str, str] = field(default_factory=dict)
    """Activation by who says so."""
    exploration: tuple[str, int] | None = None
    """Key and width of the exploration's deviation, which has one value an action."""
    notes: list[str] = field(default_factory=list)

    @property
    def output_width(self) -> int:
        """Width of the last layer."""
        return sum(branch[-1].weights["weight"].shape[0] for branch in self.branches)
