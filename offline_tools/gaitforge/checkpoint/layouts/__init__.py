"""Where each trainer keeps the actor in its checkpoint: one module a trainer.

Each has ``recognise(content)`` and ``read(claims, training)``. A layout takes what it understands; what it
leaves is refused (``claims.Claims.close``). The files named in the docstrings are those of the trainers' own
repositories that define the keys.
"""

from __future__ import annotations

from typing import Protocol

from gaitforge.checkpoint.claims import Claims
from gaitforge.checkpoint.content import Content
from gaitforge.checkpoint.layouts import (
    fast_sac,
    humanoidverse,
    plain,
    rl_games,
    rsl_rl,
    skrl,
    stable_baselines3,
)
from gaitforge.checkpoint.recipe import Recipe
from gaitforge.checkpoint.training import Training


class Layout(Protocol):
    """What each module here provides."""

    def recognise(self, content: Content) -> bool:
        """Tell whether a checkpoint is of this trainer, by its keys."""

    def read(self, claims: Claims, training: Training) -> Recipe:
        """Take the actor. Raises InputError when it cannot."""


LAYOUTS: tuple[Layout, ...] = (
    fast_sac,
    humanoidverse,
    rl_games,
    stable_baselines3,
    rsl_rl,
    skrl,
    plain,
)
"""The first that recognises a checkpoint reads it; the most particular one comes first."""
