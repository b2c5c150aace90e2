"""What each value of an observation vector is: which term, which of its values, how old."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.policy.manifest import Float32Array, History, Manifest, Part
from gaitd.policy.sources import JOINT_TERMS
from gaitd.policy.terms import WHOLE, compile_term, parts_of, stack_index

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
    """The places that the manifest's terms make, or those they would make with another ``history``, which
    only an observation without parts can have.

    Raises InputError when the two contradict each other.
    """
    observation = manifest.observation
    terms = [compile_term(manifest, index, term) for index, term in enumerate(observation.terms)]
    parts = [Part(name=WHOLE, history=history)] if history else [*parts_of(manifest).values()]
    stack = stack_index(terms, parts)
    dims = [term.dim for term in terms]
    frame_dim = sum(dims)
    row, column = stack // frame_dim, stack % frame_dim
    term = np.repeat(np.arange(len(terms)), dims)[column]
    value = np.concatenate([np.arange(dim) for dim in dims])[column]
    delay = np.array([compiled.delay_steps for compiled in terms])
    return Places(term, value, row - delay[term], np.concatenate([part.scale for part in terms])[column])


def describe_value(manifest: Manifest, term: int, value: int) -> str:
    """Words for one value of a term, such as ``joint_velocity of 'hip'``."""
    described = manifest.observation.terms[term]
    name = described.term
    if name in JOINT_TERMS:
        joints = described.joints or manifest.moved_joints
        return f"observation.terms[{term}] ({name}), joint {joints[value]!r}"
    return f"observation.terms[{term}] ({name}), value {value}"
