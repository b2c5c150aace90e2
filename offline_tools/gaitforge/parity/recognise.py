"""Which terms a trainer's frame is made of, told from its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gaitd.policy.manifest import Manifest
from gaitd.policy.sources import source_layout
from gaitd.policy.terms import compile_term
from gaitforge.parity.explain import Explanation
from gaitforge.parity.signals import Float64Array
from gaitforge.parity.terms import TermComparer

WHOLE = 0.6
"""A run is a term when this share of its values is recognised; values that stand still are not."""


@dataclass(frozen=True)
class Run:
    """Neighbouring values of one signal; the signal is empty for values that are not recognised."""

    signal: str
    length: int
    made: tuple[Explanation | None, ...]


def runs(comparer: TermComparer, frame: Float64Array, manifest: Manifest) -> list[Run]:
    """Split a frame (k, values) into terms."""
    made = [comparer.explain(frame[:, index]) for index in range(frame.shape[1])]
    layout = source_layout(len(manifest.joints))
    found: list[Run] = []
    index = 0
    while index < len(made):
        first = made[index]
        best = Run("", 1, (first,))
        if first is not None:
            place = layout[first.source.signal]
            part = made[index : index + place.stop - place.start]
            right = sum(one is not None and one.source.signal == first.source.signal for one in part)
            if len(part) == place.stop - place.start and right >= WHOLE * len(part):
                best = Run(first.source.signal, len(part), tuple(part))
        if not best.signal and found and not found[-1].signal:
            found[-1] = Run("", found[-1].length + 1, (*found[-1].made, first))
        else:
            found.append(best)
        index += best.length
    return _by_elimination(found, manifest)


def _by_elimination(found: list[Run], manifest: Manifest) -> list[Run]:
    """Name the one run that is not recognised after the one term that is not found, where the length fits."""
    unknown = [run for run in found if not run.signal]
    terms = [compile_term(manifest, i, term) for i, term in enumerate(manifest.observation.terms)]
    missing = [term for term in terms if all(run.signal != term.source for run in found)]
    if len(unknown) != 1 or len(missing) != 1 or unknown[0].length != missing[0].dim:
        return found
    return [Run(missing[0].source, run.length, run.made) if not run.signal else run for run in found]


def words(found: Sequence[Run]) -> str:
    """The runs in one line."""
    return ", ".join(f"{run.signal or 'not recognised'} ({run.length})" for run in found)


def once(found: Sequence[Run], length: int) -> list[Run]:
    """Runs of a term_major observation, each term's frames side by side, as those of one frame."""
    kept: list[Run] = []
    repeats = length
    for run in found:
        if kept and run.signal == kept[-1].signal and repeats < length:
            repeats += 1
            continue
        kept.append(run)
        repeats = 1
    return kept


def other_order(found: Sequence[Run], manifest: Manifest) -> list[int] | None:
    """The manifest's terms in the order of the runs, by index; None where that is not another order."""
    own = [compile_term(manifest, i, term).source for i, term in enumerate(manifest.observation.terms)]
    theirs = [run.signal for run in found]
    if sorted(own) != sorted(theirs) or own == theirs or len(set(own)) < len(own):
        return None
    return [own.index(signal) for signal in theirs]
