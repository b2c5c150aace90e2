"""What each value of an observation vector is: which term, which of its values, how old."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.policy.manifest import Float32Array, History, Manifest
from gaitd.policy.sources import JOINT_TERMS
from gaitd.policy.terms import compile_term, stack_index

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Places:
    """One entry for each value of the observation vector, all (observation_dim,)."""

    term: Indices
    """Index of the manifest's term."""
    value: Indices
    """Index in the term's own values."""
    age: Indices
    """Frames before the newest of this term."""
    scale: Float32Array

    def column(self, term: int, value: int, age: int = 0) -> int:
        """Where that value stands in the observation."""
        found = np.flatnonzero((self.term == term) & (self.value == value) & (self.age == age))
        return int(found[0])


def find_places(manifest: Manifest, history: History | None = None) -> Places:
    """The places that the manifest's terms make, or those they would make with another ``history``.

    Raises InputError when the two contradict each other.
    """
    observation = manifest.observation
    terms = [compile_term(manifest, index, term) for index, term in enumerate(observation.terms)]
    stack = stack_index(terms, history or observation.history)
    dims = [term.dim for term in terms]
    frame_dim = sum(dims)
    row, column = stack // frame_dim, stack % frame_dim
    term = np.repeat(np.arange(len(terms)), dims)[column]
    value = np.concatenate([np.arange(dim) for dim in dims])[column]
    delay = np.array([compiled.delay_steps for compiled in terms])
    return Places(term, value, row - delay[term], np.concatenate([part.scale for part in terms])[column])


def describe_value(manifest: Manifest, term: int, value: int) -> str:
    """Words for one value of a term, such as ``joint_velocity of 'hip'``."""
    name = manifest.observation.terms[term].term
    if name in JOINT_TERMS:
        return f"observation.terms[{term}] ({name}), joint {manifest.joints[value]!r}"
    return f"observation.terms[{term}] ({name}), value {value}"
