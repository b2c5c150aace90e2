"""What a person says about a checkpoint that the file does not tell, and what its use expects of it."""

from __future__ import annotations

from dataclasses import dataclass

NO_NORMALIZER = "none"
"""Said as --normalizer: the network takes the observation as it is."""

HEADS = ("plain", "gaussian", "beta")
"""What the last layer gives: the action; its mean and deviation; a Beta distribution's two parameters."""


@dataclass(frozen=True)
class Choices:
    """Options of the command line (README of each in ``gaitforge export --help``), and expected widths."""

    actor: tuple[str, ...] = ()
    """Keys of the actor's layers, first one first, instead of those that the layout would take."""
    normalizer: str | None = None
    """Key of the normalizer, or NO_NORMALIZER."""
    ignore: tuple[str, ...] = ()
    """Keys that the action does not need."""
    activation: str | None = None
    head: str | None = None
    """One of HEADS."""
    obs_dim: int | None = None
    """Width of the observation in the manifest."""
    act_dim: int | None = None
    """Number of joints in the manifest."""
