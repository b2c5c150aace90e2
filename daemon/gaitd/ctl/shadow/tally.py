"""What a candidate does beside the policy that walks, counted. Pure; no larger after a shift than before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitd.ctl.replay.took import Took
from gaitd.policy.manifest import Float32Array
from gaitd.shared.shadow import QUANTILES
from gaitd.wire.generated import CauseKind

EDGES = np.geomspace(1e-7, 1e2, 901)
"""Of the bins that differences (rad) and durations (s) are counted in: 2.3 % wide."""


@dataclass(frozen=True)
class JudgedStep:
    """One step in which the candidate was asked, joints in the order of the policy that walks."""

    target: Float32Array | None
    """(n,) rad, what the candidate would have sent; None where its own limits refuse the state or the action,
    or its inference failed."""
    applied: Float32Array | None
    """(n,) rad, what was sent; None where it was rejected."""
    cause: CauseKind
    """Why the candidate has no target."""
    clamped: Mapping[str, int]
    """Joints that its own limits held back, by limit."""
    took: Took | None
    """From the messages to the target; None where the state was refused."""


def applied_in(record: Any) -> Float32Array | None:
    """What was sent in a recorded step, (n,) rad; None where it was rejected."""
    return None if record["cause"] else np.asarray(record["target"])


@dataclass
class Tally:
    """The counts of one candidate."""

    joints: Sequence[str]
    compared: int = 0
    missed: int = 0
    left_out: int = 0
    another_policy: int = 0
    """Steps of a policy that it is not compared with."""
    one_only: int = 0
    not_finite: int = 0
    errors: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    clamped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.differences = Spread(len(self.joints))
        self.durations = Spread(len(Took._fields))

    @property
    def judged(self) -> int:
        """Steps in which one of the two has a target, or both, and the candidate did not fail."""
        return self.compared + self.one_only

    def add(self, step: JudgedStep) -> None:
        """Count a step."""
        if step.cause is CauseKind.BACKEND_ERROR:
            self.errors += 1
            return
        if step.took is not None:
            self.durations.add(np.array(step.took))
        if step.cause is not CauseKind.NONE:
            self.refused[step.cause.name.lower()] += 1
        self.clamped.update(step.clamped)
        self.not_finite += step.cause is CauseKind.ACTION_NOT_FINITE
        if step.target is not None and step.applied is not None:
            self.compared += 1
            self.differences.add(np.abs(step.target.astype(float) - step.applied.astype(float)))
        elif step.target is not None or step.applied is not None:
            self.one_only += 1


class Spread:
    """How values are spread, by column: their quantiles to within a bin, mean and largest exactly."""

    def __init__(self, columns: int) -> None:
        self.count = 0
        self._bins = np.zeros((columns, len(EDGES) + 1), np.int64)
        self._sum = np.zeros(columns)
        self._most = np.zeros(columns)
        self._column = np.arange(columns)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """One value of each column, 0 or more."""
        self.count += 1
        self._bins[self._column, np.searchsorted(EDGES, values)] += 1
        self._sum += values
        np.maximum(self._most, values, out=self._most)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """(columns,) 0 before the first."""
        mean: npt.NDArray[np.float64] = self._sum / max(1, self.count)
        return mean

    @property
    def quantiles(self) -> npt.NDArray[np.float64]:
        """(columns, QUANTILES): the upper edge of the bin that each falls into, and the largest for 1."""
        edges = np.append(EDGES, np.inf)
        reached = self._bins.cumsum(axis=1)
        found = [
            edges[(reached >= max(1.0, quantile * self.count)).argmax(axis=1)] if self.count else self._most
            for quantile in QUANTILES
        ]
        quantiles: npt.NDArray[np.float64] = np.minimum(np.stack(found, axis=1), self._most[:, None])
        return quantiles
