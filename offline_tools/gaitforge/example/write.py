"""Writes the example policy and what belongs to it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from gaitforge.common import files
from gaitforge.common.manifest import dump_yaml
from gaitforge.example import demo_policy as demo

CONFIG_COMMENT = "# The actor of a training run, for gaitforge export --config.\n"
MANIFEST_COMMENT = "# The contract of the demo policy, for gaitforge pack --manifest and gaitforge chain.\n"


def write(directory: Path, seed: int = 0) -> list[Path]:
    """Write the example's files; returns their paths."""
    import torch

    torch.manual_seed(seed)
    widths = [demo.OBS_DIM, *demo.ACTOR_CONFIG["hidden_sizes"], demo.ACT_DIM]
    weights = {}
    for layer, (before, after) in enumerate(itertools.pairwise(widths)):
        linear = torch.nn.Linear(before, after)
        for name, tensor in linear.state_dict().items():
            weights[f"actor.{2 * layer}.{name}"] = tensor
    # The critic of a shared network: the same tensors under another name.
    weights |= {key.replace("actor", "critic", 1): tensor for key, tensor in weights.items()}
    policy, stats = directory / "demo_policy.pt", directory / "demo_obs_stats.npz"
    with files.replacing(policy) as beside:
        torch.save({"state_dict": weights, "actor_config": demo.ACTOR_CONFIG}, beside)
    with files.replacing(stats) as beside:
        np.savez(beside, **demo.obs_stats())  # type: ignore[arg-type]
    config, manifest = directory / "example_actor_config.yaml", directory / "manifest.yaml"
    files.write_text(config, CONFIG_COMMENT + dump_yaml(demo.ACTOR_CONFIG).decode())
    files.write_text(manifest, MANIFEST_COMMENT + dump_yaml(demo.manifest()).decode())
    return [policy, stats, config, manifest]
