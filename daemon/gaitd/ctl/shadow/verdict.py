"""Whether a candidate does what the policy that walks does, or as much otherwise as was seen before. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gaitd.ctl.replay.took import Took
from gaitd.ctl.shadow.tally import Tally
from gaitd.shared.shadow import QUANTILES, Verdict

MIN_STEPS = 200
"""Fewer tell nothing."""
MARGIN = 1.5
"""The robot is no simulation: so much more than there is allowed."""
FEW = 0.001
"""A part of the steps in which only one of the two may have a target, as at the edge of a limit."""
MOST_MISSED = 0.01
"""A part of the steps: of more unknown ones, nothing can be said of 99 of 100."""
_TAIL = QUANTILES.index(0.99)


class Allowed(NamedTuple):
    """A difference of targets, rad."""

    mean: float
    tail: float
    """99 of 100 steps."""


SINGLE = Allowed(1e-4, 5e-4)
"""Of two exports of one policy that both run on the CPU: they differ by the rounding of float32 (what
gaitforge's gate asks of an export)."""
HALF = Allowed(0.001, 0.005)
"""Of one on the NPU and one on the CPU: float16 (what the gate asks of that)."""


@dataclass(frozen=True)
class Bound:
    """What the differences are held against."""

    source: str
    """For people."""
    equal: Allowed
    """Of equal policies."""
    joints: Mapping[str, Allowed] = field(default_factory=dict)
    """What was seen of these two in simulation, by joint."""
    period_s: float = math.inf
    """A step may compute for so long; over a recording there is no hurry."""

    def of(self, joint: str) -> Allowed:
        """Of one joint: never less than of equal policies."""
        seen = self.joints.get(joint, Allowed(0.0, 0.0))
        return Allowed(max(self.equal.mean, MARGIN * seen.mean), max(self.equal.tail, MARGIN * seen.tail))


def default_bound(backend: str) -> Bound:
    """That for equal policies, of which one runs on the CPU and the other on ``backend``."""
    equal, precision = (HALF, "float16") if backend.startswith("rknn") else (SINGLE, "float32")
    text = (
        f"the bound for equal policies in {precision}, mean {equal.mean:g} and 99 of 100 {equal.tail:g} rad"
    )
    return Bound(text, equal)


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
        missed = f"; {tally.missed} missed" if tally.missed else ""
        return Judgement("too few", f"{steps} steps so far, {MIN_STEPS} are needed{missed}")
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
    hurry = _judge_hurry(tally, bound, steps + tally.missed)
    if hurry is not None:
        return hurry
    if (mean <= bound.equal.mean).all() and (tail <= bound.equal.tail).all():
        return Judgement("equivalent", numbers)
    return Judgement("as simulated", numbers)


def _judge_hurry(tally: Tally, bound: Bound, steps: int) -> Judgement | None:
    """Whether all of the ``steps`` could be computed in time; None if so.

    By the time that the candidate itself computes: what it waits for the CPU is the machine's doing, and the
    shadow's low priority.
    """
    cpu_s = float(tally.durations.quantiles[Took._fields.index("cpu_s"), _TAIL])
    computes = f"99 of 100 steps compute for {cpu_s * 1e3:.3g} ms here at most"
    missed = f"{tally.missed} of {steps} steps missed"
    if cpu_s > bound.period_s:
        return Judgement(
            "too slow", f"{computes}, the control period is {bound.period_s * 1e3:g} ms; {missed}"
        )
    if tally.missed > MOST_MISSED * steps:
        return Judgement(
            "inconclusive",
            f"{missed}, although {computes}: the shadow was not given the CPU; try a less busy machine, or a "
            "recording of the walk",
        )
    return None
