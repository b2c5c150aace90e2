"""HumanoidVerse, ASAP, FALCON and holosoma's PPO: ``actor_model_state_dict``.

Keys: humanoidverse/agents/ppo/ppo.py, agents/modules/ppo_modules.py (actor_module.module is the network).
FALCON trains one actor for each part of the body (agents/decouple/ppo_decoupled_wbc_ma.py): all take the same
observation, and the action joins theirs in the order of the file.
"""

from __future__ import annotations

from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.recipe import Recipe
from gaitforge.checkpoint.training import Training

ROOT = "actor_model_state_dict."


def recognise(content: Content) -> bool:
    """Tell by the top-level key."""
    return content.has(ROOT)


def read(claims: Claims, training: Training) -> Recipe:
    """Take the actor, or the actors of the parts of the body."""
    heads = [key.partition("actor_module.")[0] for key in claims.content.tensors if key.startswith(ROOT)]
    parts = list(dict.fromkeys(heads))
    if ROOT in parts:
        parts = [ROOT]
    recipe = Recipe("HumanoidVerse (ASAP, FALCON)", [])
    parts = [part for part in parts if claims.content.has(f"{part}actor_module.")]
    if not parts:
        claims.refuse("has no actor_module: say the actor's layers as --actor PREFIX")
    recipe.branches = [claims.sequential(f"{part}actor_module.") for part in parts]
    if len(parts) > 1:
        names = [part.removeprefix(ROOT).rstrip(".") for part in parts]
        recipe.notes.append(
            f"the action joins those of {', '.join(names)}, in this order: the manifest's joints must "
            "follow it"
        )
    widths = 0
    for part in parts:
        deviation = claims.take(f"{part}std", "exploration")
        widths += 0 if deviation is None else deviation.numel()
    if widths and len(parts) == 1:
        recipe.exploration = (f"{ROOT}std", widths)
    claims.leave("critic_model_state_dict.", "critic")
    claims.leave_training_only([ROOT])
    return recipe
