"""Normalizers of the observation: found by their form, read as their trainer computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gaitd.errors import InputError
from gaitforge.checkpoint.recipe import Statistics

RSL_EPSILON, SKRL_EPSILON, RL_GAMES_EPSILON = 1e-2, 1e-8, 1e-5
"""Defaults that no checkpoint tells. rsl_rl adds to the deviation (modules/normalization.py), so does skrl
(resources/preprocessors/torch/running_standard_scaler.py); rl_games adds to the variance
(algos_torch/running_mean_std.py)."""

CLIP = 5.0
"""Of skrl (clip_threshold) and rl_games (fixed), in the same files; rsl_rl clips nothing."""


@dataclass(frozen=True)
class Numbers:
    """What the statistics of a normalizer do not tell; None is the trainer's default."""

    epsilon: float | None = None
    clip: float | None = None


def agreed(said: Numbers, told: Numbers) -> Numbers:
    """Join what the actor's description says and what the trainer's configuration tells.

    Raises InputError, to be read after the checkpoint's name, where they contradict each other.
    """
    if said.epsilon is not None and told.epsilon not in (None, said.epsilon):
        raise InputError(
            f"has normalizer_epsilon {said.epsilon:g} by --config, {told.epsilon:g} by its trainer"
        )
    if said.clip is not None and told.clip not in (None, said.clip):
        raise InputError(f"has normalizer_clip {said.clip:g} by --config, {told.clip:g} by its trainer")
    return Numbers(
        told.epsilon if said.epsilon is None else said.epsilon, told.clip if said.clip is None else said.clip
    )


def normalizers(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the keys of all mappings with a mean and a variance or deviation."""
    owners: dict[str, set[str]] = {}
    for key in tensors:
        owner, _, name = key.rpartition(".")
        owners.setdefault(owner, set()).add(_plain(name))
    spreads = {"var", "variance", "std"}
    return [
        owner
        for owner, names in owners.items()
        if "mean" in names and names & spreads and "weight" not in names
    ]


def statistics(key: str, tensors: Mapping[str, torch.Tensor], numbers: Numbers) -> Statistics:
    """Read one; the names of its tensors tell the trainer.

    Raises InputError, to be read after the file's name, for values that make no sense or an unknown epsilon.
    """
    values = {name: tensor.double().flatten() for name, tensor in tensors.items()}
    epsilon, clip = numbers.epsilon, numbers.clip
    if "running_variance" in values:
        eps, clip = SKRL_EPSILON if epsilon is None else epsilon, CLIP if clip is None else clip
        mean, divisor = values["running_mean"], values["running_variance"].sqrt() + eps
        formula = f"(x - mean) / (std + {eps:g}), clipped to +-{clip:g}, as skrl does"
    elif "running_var" in values:
        eps, clip = RL_GAMES_EPSILON if epsilon is None else epsilon, CLIP if clip is None else clip
        mean, divisor = values["running_mean"], (values["running_var"] + eps).sqrt()
        formula = f"(x - mean) / sqrt(var + {eps:g}), clipped to +-{clip:g}, as rl_games does"
    else:
        if "_mean" not in values and epsilon is None:
            raise InputError(f"has a normalizer {key} of unknown make: give normalizer_epsilon in --config")
        eps = RSL_EPSILON if epsilon is None else epsilon
        named = {_plain(name): value for name, value in values.items()}
        std = named["std"] if "std" in named else named["var" if "var" in named else "variance"].sqrt()
        mean, divisor = named["mean"], std + eps
        formula = (
            f"(x - mean) / (std + {eps:g})"
            + ("" if clip is None else f", clipped to +-{clip:g}")
            + (", as rsl_rl does" if "_mean" in values else "")
        )
    if clip is not None and not clip > 0:
        raise InputError(f"has a normalizer {key} that clips to +-{clip:g}, which leaves nothing")
    if len(mean) != len(divisor) or not (mean.isfinite().all() and (divisor > 0).all()):
        raise InputError(f"has a normalizer {key} whose mean and variance make no sense")
    return Statistics(key, mean.float(), divisor.float(), clip, formula)


def _plain(name: str) -> str:
    return name.strip("_").removeprefix("running_")
