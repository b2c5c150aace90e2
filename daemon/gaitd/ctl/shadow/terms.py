"""Which term of the observation two policies make differently of the same states. Pure."""

from __future__ import annotations

import numpy as np

from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.places import find_places

NOTABLE = 0.01
"""A part of a term's size that is no rounding."""


class TermComparison:
    """The candidate's observations against those that were recorded, where both list the same terms."""

    def __init__(self, candidate: Manifest, walking: Manifest) -> None:
        names = [[term.term for term in manifest.observation.terms] for manifest in (candidate, walking)]
        self._names = names[0]
        self._term = find_places(candidate).term
        self._same = (
            names[0] == names[1]
            and candidate.joints == walking.joints
            and len(self._term) == len(find_places(walking).term)
        )
        self._sums = np.zeros((3, len(self._term)))

    def add(self, own: Float32Array, theirs: Float32Array) -> None:
        """Observations of one state, before normalization; one of another length is not used."""
        if self._same and own.shape == theirs.shape == self._term.shape:
            mine, other = own.astype(float), theirs.astype(float)
            self._sums += np.stack([mine * other, other * other, (mine - other) ** 2])

    def describe(self) -> str:
        """The term that differs most, for people; empty where none does."""
        product, square, error = (
            np.bincount(self._term, row, minlength=len(self._names)) for row in self._sums
        )
        size = np.maximum(square, 1e-12)
        relative = np.sqrt(error / size)
        worst = int(relative.argmax())
        if not relative[worst] > NOTABLE:
            return ""
        what = f"observation.terms[{worst}] ({self._names[worst]})"
        factor = product[worst] / size[worst]
        if abs(factor - 1.0) > NOTABLE:
            return f"{what} is {factor:.3g} times what the policy that walks observes"
        return f"{what} differs by {100 * relative[worst]:.2g} % of its size"
