"""An actor whose parts the person names: --actor PREFIX for each, in order."""

from __future__ import annotations

from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.recipe import Head, Recipe


def read(claims: Claims) -> Recipe:
    """Take the named parts; everything else must be known to belong to training, or be ignored by name."""
    prefixes = [f"{name.rstrip('.')}." for name in claims.choices.actor]
    recurrent = [prefix for prefix in prefixes if claims.content.matches(rf"{prefix}(.*\.)?weight_hh_l0$")]
    if recurrent and recurrent != prefixes[:1]:
        claims.refuse(
            "has a recurrent layer that is not the first part of the actor (--actor): not supported"
        )
    recipe = Recipe("as --actor says", [claims.chain([part for part in prefixes if part not in recurrent])])
    recipe.rnn = claims.rnn(recurrent[0]) if recurrent else {}
    recipe.normalizer = claims.normalizer()
    recipe.head = Head(claims.choices.head or "plain")
    claims.leave_training_only(dict.fromkeys(f"{name.partition('.')[0]}." for name in claims.choices.actor))
    return recipe
