"""A state dict of ``actor.0.weight`` and ``critic.*``, or of one Sequential, in whatever wrapper.

Also an actor's or a model's own state dict as rsl_rl and its exporter name the parts: ``mlp``, ``rnn`` or
``memory``, ``obs_normalizer``.
"""

from __future__ import annotations

import re

from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.recipe import Recipe
from gaitforge.checkpoint.training import Training

_WRAPPERS = (
    "",
    "state_dict.",
    "model_state_dict.",
    "model.",
    "actor_critic.",
    "policy.",
    "actor_state_dict.",
)
_NETWORKS = ("actor.", "mlp.", "student.", "")
_MEMORIES = ("memory_a.", "memory.", "rnn.", "memory_s.")
_NORMALIZERS = ("obs_normalizer", "actor_obs_normalizer", "normalizer", "obs_norm_state_dict")


def recognise(content: Content) -> bool:
    """Tell by a numbered network below a wrapper."""
    return _place(content) is not None


def read(claims: Claims, training: Training) -> Recipe:
    """Take the network, a recurrent layer before it, and a normalizer of rsl_rl's form."""
    content = claims.content
    root, network = _place(content) or ("", "")
    recipe = Recipe("a state dict", [claims.sequential(root + network)])
    for memory in _MEMORIES:
        recipe.rnn = recipe.rnn or claims.rnn(root + memory)
    recipe.normalizer = claims.normalizer(
        *(f"{root}{name}" for name in _NORMALIZERS),
        *(name for name in _NORMALIZERS if root),
    )
    for key in ("std", "log_std", "distribution.std_param", "distribution.log_std_param"):
        deviation = claims.take(root + key, "exploration")
        if deviation is not None:
            recipe.exploration = (root + key, deviation.numel())
    for name in ("hidden_state", "cell_state"):
        claims.leave(root + name, "the state that the robot carries")
    claims.leave(f"{root}memory_c.", "critic")
    claims.leave_training_only([root])
    if recipe.exploration is None and claims.choices.act_dim is None:
        width = recipe.output_width
        recipe.notes.append(f"the file does not tell how many actions there are: taking all {width} outputs")
    return recipe


def _place(content: Content) -> tuple[str, str] | None:
    for root in _WRAPPERS:
        for network in _NETWORKS:
            if content.matches(re.escape(root + network) + r"\d+\.weight$"):
                return root, network
    return None
