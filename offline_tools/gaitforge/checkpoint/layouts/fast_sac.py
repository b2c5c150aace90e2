"""FastSAC as in holosoma, and FastTD3: ``actor_state_dict`` with fc_mu.

Keys: holosoma/agents/fast_sac/fast_sac.py and fast_sac_utils.py (SiLU hidden layers, the action is
tanh(fc_mu) * action_scale + action_bias with use_tanh); fast_td3/fast_td3.py (ReLU, tanh).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.recipe import Head, Recipe
from gaitforge.checkpoint.training import Training

ROOT = "actor_state_dict."


def recognise(content: Content) -> bool:
    """Tell by the head."""
    return content.has(f"{ROOT}fc_mu.")


def read(claims: Claims, training: Training) -> Recipe:
    """Take the trunk, the head and the action's scale."""
    content = claims.content
    td3 = content.has(f"{ROOT}fc_head.") or content.matches(r"actor_state_dict\.noise_scales$")
    parts = [f"{ROOT}net.", *([f"{ROOT}fc_head."] if td3 else []), f"{ROOT}fc_mu."]
    recipe = Recipe("FastTD3" if td3 else "FastSAC (holosoma)", [claims.chain(parts)])
    recipe.activations[f"{recipe.layout}, which has no other"] = "relu" if td3 else "silu"
    recipe.normalizer = claims.normalizer("obs_normalizer_state")
    arguments = content.values.get("args")
    use_tanh, normalized = True, None
    if isinstance(arguments, Mapping):
        use_tanh, normalized = arguments.get("use_tanh", True), arguments.get("obs_normalization")
    elif not td3:
        recipe.notes.append("the checkpoint has no args: taking use_tanh, holosoma's default")
    if normalized and recipe.normalizer is None and claims.choices.normalizer is None:
        claims.refuse("has no obs_normalizer_state, but its args say obs_normalization")
    scale, bias = (claims.take(f"{ROOT}action_{name}", "actor") for name in ("scale", "bias"))
    if use_tanh:
        scale = torch.ones(1) if scale is None else scale.float().flatten()
        bias = torch.zeros(1) if bias is None else bias.float().flatten()
        recipe.head = Head("tanh", bias - scale, bias + scale)
    claims.leave(f"{ROOT}fc_logstd.", "exploration")
    for name in ("noise_scales", "std_min", "std_max"):
        claims.leave(ROOT + name, "exploration")
    claims.leave("critic_obs_normalizer_state.", "critic")
    claims.leave_training_only([])
    return recipe
