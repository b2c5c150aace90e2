"""A policy as torch runs it: a rebuilt actor or TorchScript."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitd.policy.manifest import Float32Array
from gaitforge.checkpoint.choices import Choices
from gaitforge.common import files


@dataclass(frozen=True)
class Source:
    """A policy as torch runs it."""

    module: Any
    """Gives the action, or a tuple that begins with it."""
    obs_dim: int
    hidden: dict[str, list[int]]
    """Shapes of the hidden states by name."""
    separate_stats: Normalization | None = None
    """Left out of the graph."""
    one_row: bool = False
    """Takes a batch of one only."""


@dataclass(frozen=True)
class Normalization:
    """(x - mean) / divisor, then a symmetric clip."""

    mean: Float32Array
    divisor: Float32Array
    clip: float | None


def load_source(
    path: Path,
    config_path: Path | None = None,
    choices: Choices | None = None,
    separate_normalizer: bool = False,
) -> Source:
    """Load a policy from a checkpoint or TorchScript. Raises InputError."""
    from gaitforge.checkpoint import content
    from gaitforge.checkpoint.config import read_config
    from gaitforge.checkpoint.read import rebuild
    from gaitforge.model.torchscript import load_torchscript

    choices = choices or Choices()
    config = read_config(files.existing(config_path, "the configuration")) if config_path else None
    files.existing(path, "the checkpoint")
    if content.is_torchscript(path):
        return load_torchscript(path, config, choices)
    actor, recipe = rebuild(content.load(path), choices, config, str(config_path or path))
    return source_of(actor, recipe.normalizer, separate_normalizer)


def source_of(actor: Any, statistics: Any, separate_normalizer: bool = False) -> Source:
    """Put a rebuilt actor (checkpoint.actor.Actor) and its normalizer (recipe.Statistics) together."""
    from gaitforge.checkpoint.actor import Normalizer

    stats = None
    if statistics is not None and separate_normalizer:
        stats = Normalization(statistics.mean.numpy(), statistics.divisor.numpy(), statistics.clip)
    elif statistics is not None:
        actor.normalizer = Normalizer(statistics)
    return Source(actor.eval(), actor.obs_dim, actor.hidden_shapes(), stats)


def first_tensor(output: Any) -> Any:
    """Return the action of a policy's output."""
    return output[0] if isinstance(output, tuple | list) else output


def run_torch(source: Source, inputs: Float32Array) -> Float32Array:
    """Run the rows in order from a reset; returns actions (N, action_dim)."""
    import torch

    rows = torch.from_numpy(inputs)
    with torch.no_grad():
        if not source.hidden and not source.one_row:
            return np.asarray(first_tensor(source.module(rows)).numpy(), np.float32)
        return _run_one_by_one(source, rows)


def _run_one_by_one(source: Source, rows: Any) -> Float32Array:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waking others takes longer than a row
    try:
        hidden = tuple(torch.zeros(shape) for shape in source.hidden.values())
        actions = []
        for row in rows:
            output = source.module(row.unsqueeze(0), *hidden)
            if hidden:
                hidden = tuple(output[1:])
            actions.append(first_tensor(output).numpy().reshape(-1))
    finally:
        torch.set_num_threads(threads)
    return np.asarray(actions, np.float32)


def last_line(error: Exception) -> str:
    """Return the last line of an error's text that says something."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].strip()
