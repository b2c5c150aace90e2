"""Whether a candidate does what the policy that walks does, or as much otherwise as was seen before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gaitd.ctl.shadow.tally import Tally
from gaitd.shared.shadow import QUANTILES, Verdict

MIN_STEPS = 200
"""Fewer tell nothing."""
MEAN_RAD, TAIL_RAD = 0.001, 0.005
"""Mean, and 99 of 100 steps: two exports of one policy are nearer, in float32 and float16 (the bounds of
gaitforge's gate for float16)."""
MARGIN = 1.5
"""The robot is no simulation: so much more than there is allowed."""
FEW = 0.001
"""A part of the steps in which only one of the two may have a target, as at the edge of a limit."""
_TAIL = QUANTILES.index(0.99)


class Allowed(NamedTuple):
    """A joint's difference of targets, rad."""

    mean: float = MEAN_RAD
    tail: float = TAIL_RAD
    """99 of 100 steps."""


@dataclass(frozen=True)
class Bound:
    """What the differences are held against."""

    source: str
    """For people."""
    joints: Mapping[str, Allowed]
    """Beyond the bound for equal policies; without a joint: that bound."""

    def of(self, joint: str) -> Allowed:
        """Of one joint: never less than for equal policies."""
        known = self.joints.get(joint, Allowed(0.0, 0.0))
        return Allowed(max(MEAN_RAD, MARGIN * known.mean), max(TAIL_RAD, MARGIN * known.tail))


DEFAULT = Bound(f"the bound for equal policies, mean {MEAN_RAD:g} and 99 of 100 steps {TAIL_RAD:g} rad", {})


class Judgement(NamedTuple):
    """A verdict and its numbers, for people."""

    verdict: Verdict
    why: str


def judge(tally: Tally, bound: Bound) -> Judgement:
    """Judge by all that was counted."""
    steps = tally.judged + tally.errors
    if tally.not_finite or tally.errors:
        return Judgement(
            "faulty", f"{tally.not_finite} actions are not finite and {tally.errors} inferences failed"
        )
    if steps < MIN_STEPS:
        return Judgement("too few", f"{steps} steps so far, {MIN_STEPS} are needed")
    if tally.one_only > FEW * steps:
        refused = ", ".join(f"{name} {count}" for name, count in tally.refused.most_common(3))
        return Judgement(
            "different",
            f"in {tally.one_only} of {steps} steps only one of the two has a target"
            + (f"; the candidate refuses: {refused}" if refused else ""),
        )
    mean, tail = tally.differences.mean, tally.differences.quantiles[:, _TAIL]
    allowed = np.array([bound.of(joint) for joint in tally.joints])
    shares = np.maximum(mean / allowed[:, 0], tail / allowed[:, 1])
    worst = int(shares.argmax())
    numbers = (
        f"joint {tally.joints[worst]}: mean {mean[worst]:.2g} rad (allowed {allowed[worst, 0]:.2g}), "
        f"99 of 100 steps {tail[worst]:.2g} rad (allowed {allowed[worst, 1]:.2g})"
    )
    if shares[worst] > 1.0:
        return Judgement("different", numbers)
    if (mean <= MEAN_RAD).all() and (tail <= TAIL_RAD).all():
        return Judgement("equivalent", numbers)
    return Judgement("as simulated", numbers)
