"""stable-baselines3: PPO and A2C, SAC, TD3 and DDPG, and sb3-contrib's RecurrentPPO, TRPO, TQC and ARS.

Keys: common/policies.py and common/torch_layers.py (ActorCriticPolicy), sac/policies.py, td3/policies.py, and
ars/policies.py of sb3-contrib. The archive of model.save() says more than ``policy.pth`` in it: its ``data``
has the activation, when it is not the policy's default, and the action space, to which predict() clips (PPO,
A2C, a linear ARS) or scales (SAC, TD3, ARS) the action.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch

from gaitforge.checkpoint.activations import of_trainer
from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.recipe import Head, Recipe
from gaitforge.checkpoint.training import Training

MEAN_CLIP = 2.0
"""``clip_mean`` of SAC and TQC, where policy_kwargs does not say another."""


def recognise(content: Content) -> bool:
    """Tell by the names of the policies' networks."""
    return content.matches(r"mlp_extractor\.|action_net\.|actor\.(latent_pi|mu)\.")


def read(claims: Claims, training: Training) -> Recipe:
    """Take the actor and its head."""
    content = claims.content
    data = content.values.get("data") or {}
    limit = None
    if content.has("actor."):
        squashed, fallback = True, "relu"
        has_trunk = content.has("actor.latent_pi.")
        parts = ["actor.latent_pi.", "actor.mu."] if has_trunk else ["actor.mu."]
        recipe = Recipe("stable-baselines3, SAC or TD3", [claims.chain(parts)])
        # State-dependent exploration (gSDE): the deviation is one tensor, and a module after mu clips it.
        if "actor.log_std" in content.tensors and content.has("actor.mu.0."):
            limit = float(_kwargs(data).get("clip_mean", MEAN_CLIP))
        claims.leave("actor.log_std", "exploration")
        claims.leave("actor_target.", "critic")
    elif content.matches(r"action_net\.\d+\."):
        squashed, fallback = "ARSLinearPolicy" not in str(data.get("policy_class")), "relu"
        recipe = Recipe("sb3-contrib, ARS", [claims.chain(["action_net."])])
    else:
        squashed, fallback = False, "tanh"
        has_trunk = content.has("mlp_extractor.policy_net.")
        shared = ["mlp_extractor.shared_net."] if content.has("mlp_extractor.shared_net.") else []
        trunk = ["mlp_extractor.policy_net."] if has_trunk else []
        recipe = Recipe("stable-baselines3, PPO or A2C", [claims.chain([*shared, *trunk, "action_net."])])
        recipe.rnn = claims.rnn("lstm_actor.")
        claims.leave("mlp_extractor.value_net.", "value function")
        claims.leave("lstm_critic.", "critic")
        deviation = claims.take("log_std", "exploration")
        if deviation is not None and deviation.dim() == 1:
            recipe.exploration = ("log_std", deviation.numel())
    claims.leave_training_only([])
    recipe.normalizer = claims.normalizer()
    _activation(training, recipe, data, fallback)
    recipe.head = _head(claims, recipe, data, bool(_kwargs(data).get("squash_output", squashed)), limit)
    _statistics(claims, training, recipe)
    return recipe


def _kwargs(data: dict[str, Any]) -> dict[str, Any]:
    kwargs = data.get("policy_kwargs")
    return kwargs if isinstance(kwargs, dict) else {}


def _activation(training: Training, recipe: Recipe, data: dict[str, Any], fallback: str) -> None:
    kwargs = data.get("policy_kwargs")
    if isinstance(kwargs, dict):
        named = kwargs.get("activation_fn")
        where = "policy_kwargs in the archive" if named else "the policy's default activation in the archive"
        recipe.activations[where] = of_trainer(named, where) if named else fallback
    told = training.get("policy_kwargs")
    named = told.get("activation_fn") if isinstance(told, dict) else None
    match = re.search(r"activation_fn\s*[=:]\s*['\"]?([\w.]+)", told) if isinstance(told, str) else None
    if named or match:
        where = str(training.agent_path)
        recipe.activations[where] = of_trainer(named or (match[1] if match else ""), where)


def _head(claims: Claims, recipe: Recipe, data: dict[str, Any], squashed: bool, limit: float | None) -> Head:
    space = data.get("action_space")
    bounds = [_numbers(space, key) for key in ("low", "high")] if isinstance(space, dict) else []
    if not bounds:
        if squashed:
            claims.refuse(
                "does not tell the action space, to which SAC, TD3 and ARS scale their actions: give the "
                "archive that model.save() writes"
            )
        recipe.notes.append(
            "predict() clips actions to the action space, which policy.pth does not tell: say so as "
            "action.clip in the manifest, or give the archive that model.save() writes"
        )
        return Head()
    low, high = bounds
    if low is None or high is None:
        claims.refuse("has an action space whose bounds cannot be read")
    if any(bound.numel() not in (1, recipe.output_width) for bound in (low, high)):
        claims.refuse(
            f"has {recipe.output_width} actions, but an action space with bounds for another number"
        )
    if squashed:
        return Head("tanh", low, high, limit)
    if not (low.isfinite().all() and high.isfinite().all()):
        return Head()
    return Head("clip", low, high)


def _numbers(space: dict[str, Any], key: str) -> torch.Tensor | None:
    """Read a bound as data has it in plain text: one number, or all of them in brackets."""
    for text in (space.get(f"{key}_repr"), space.get(key)):
        words = re.findall(r"-?(?:inf|\d+\.?\d*(?:e[+-]?\d+)?)", str(text)) if text is not None else []
        if words and "..." not in str(text):
            return torch.from_numpy(np.array([float(word) for word in words], np.float32))
    return None


def _statistics(claims: Claims, training: Training, recipe: Recipe) -> None:
    """VecNormalize keeps its statistics in a file of its own."""
    path = claims.content.path
    found = sorted(path.parent.glob("*vec*norm*.pkl"))
    told = training.get("normalize_input")
    if claims.choices.normalizer is not None or not (found or told):
        recipe.notes.append(
            "if training wrapped the environment in VecNormalize, its statistics belong to the policy: "
            "give them as --obs-stats"
        )
        return
    named = str(found[0]) if found else f"{training.agent_path} (normalize_input)"
    claims.refuse(
        f"was trained with VecNormalize, says {named}: export with --normalizer none and give its "
        f"statistics as --obs-stats (gaitforge export {named if found else 'the .pkl file'} says how to "
        "write them)"
    )
