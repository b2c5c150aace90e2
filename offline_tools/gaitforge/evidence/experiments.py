"""The questions, each answered by one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from gaitd.policy.manifest import Action, Limits, Manifest, PositionLimit
from gaitforge.evidence.closed_loop import WALKS, Cell, ClosedLoop, Walking
from gaitforge.evidence.faulty import (
    Repeating,
    Spoil,
    StepWise,
    every_joint,
    one_joint,
    sign_flip,
    swapped_legs,
)
from gaitforge.evidence.interrupt import Phase, What
from gaitforge.simulate.direct import DirectRun
from gaitforge.simulate.script import CommandScript

Row = dict[str, str | float]
HEALTHY_S = 300.0
RANDOM_SHARE = 0.7
"""Of the command's range: with more, and pushes, the policy itself falls now and then."""


@dataclass(frozen=True)
class Experiment:
    """One question."""

    name: str
    question: str
    rows: Callable[[ClosedLoop], Iterator[Row]]


def _falls(cell: Cell) -> str:
    text = f"{cell.falls}/{cell.runs}"
    return f"{text} ({cell.flipped} flipped)" if cell.flipped else text


def _over_walks(loop: ClosedLoop, every: int, delay_ticks: int) -> Row:
    """Falls and velocity error when the policy answers only every few steps, and late."""
    row: Row = {}
    for walking in WALKS:

        def run(_: float, seed: int, walking: Walking = walking) -> DirectRun:
            infer = Repeating(loop.backend.infer, lambda step: step % every == 0)
            return loop.run(walking, seed=seed, infer=infer, delay_ticks=delay_ticks)

        cell = loop.cell(run)
        row[walking.name] = f"{_falls(cell)}, {cell.velocity_error_m_per_s:.2f} m/s"
    return row


def delay(loop: ClosedLoop) -> Iterator[Row]:
    """Every command comes late by the same time."""
    for delay_ms in (0, 12, 20, 30, 40, 50, 60):
        yield {"delay_ms": delay_ms, **_over_walks(loop, 1, delay_ms)}


def rate(loop: ClosedLoop) -> Iterator[Row]:
    """A controller that samples too seldom, and inference that takes longer than a period."""
    for name, every, late_periods in (
        ("healthy", 1, 0),
        ("half the rate", 2, 0),
        ("a third of the rate", 3, 0),
        ("inference slower by 1 period", 2, 1),
        ("inference slower by 2 periods", 3, 2),
        ("inference slower by 3 periods", 4, 3),
        ("inference slower by 4 periods", 5, 4),
    ):
        yield {"fault": name, **_over_walks(loop, every, round(late_periods * loop.period_s * 1000))}


def _interrupted(
    loop: ClosedLoop, walking: Walking, phases: list[tuple[float, What]], resume_after_s: float | None
) -> Callable[[float, int], DirectRun]:
    """A walk that at the fault gets these phases (s after the fault), and then the policy again, or not."""

    def run(fault_s: float, seed: int) -> DirectRun:
        first = round(fault_s / loop.period_s)
        last = np.inf if resume_after_s is None else first + resume_after_s / loop.period_s
        infer = Repeating(loop.backend.infer, lambda step: not first <= step < last)
        timeline = [Phase(fault_s + after_s, what) for after_s, what in phases]
        if resume_after_s is not None:
            timeline.append(Phase(fault_s + resume_after_s, "policy"))
        # Who lies down is not pushed any more: that would say something of the floor, not of the fallback.
        until_s = None if resume_after_s is not None else fault_s + 0.5 * loop.period_s
        return loop.run(walking, seed=seed, infer=infer, phases=timeline, pushes_until_s=until_s)

    return run


def resume(loop: ClosedLoop) -> Iterator[Row]:
    """For a while the robot gets something else than fresh commands; then the policy goes on."""
    meanwhile: tuple[What, ...] = ("hold", "damping", "stance")
    for what in meanwhile:
        for duration_ms in (60, 120, 200, 300, 500, 1000):
            row: Row = {"meanwhile": what, "for_ms": duration_ms}
            for walking in WALKS:
                cell = loop.cell(_interrupted(loop, walking, [(0.0, what)], duration_ms / 1000))
                row[walking.name] = _falls(cell)
            yield row


FALLBACKS: tuple[tuple[str, list[tuple[float, What]]], ...] = (
    ("damping at once", [(0.0, "damping")]),
    ("hold 60 ms, damping", [(0.0, "hold"), (0.06, "damping")]),
    ("hold 120 ms, damping", [(0.0, "hold"), (0.12, "damping")]),
    ("hold 60 ms, stance 200 ms, damping", [(0.0, "hold"), (0.06, "stance"), (0.26, "damping")]),
    ("hold 60 ms, stance 500 ms, damping", [(0.0, "hold"), (0.06, "stance"), (0.56, "damping")]),
    ("hold 60 ms, stance 1000 ms, damping", [(0.0, "hold"), (0.06, "stance"), (1.06, "damping")]),
)


def fallback(loop: ClosedLoop) -> Iterator[Row]:
    """Nothing fresh will come any more: how does the robot get to the ground?"""
    walks = (*WALKS, Walking("0.5, pushes of 0.8 m/s", 0.5, 0.8), Walking("1.0, pushes of 1.2 m/s", 1.0, 1.2))
    for walking in walks:
        for name, phases in FALLBACKS:
            cell = loop.cell(_interrupted(loop, walking, phases, None))
            yield {
                "command": walking.name,
                "fallback": name,
                "hard": f"{cell.falls}/{cell.runs}",
                "tilt_deg": round(cell.tilt_deg),
                "down_m_per_s": round(cell.descent_m_per_s, 2),
                "down_after_s": round(cell.down_after_s, 2),
            }


ACTION_FAULTS: tuple[tuple[str, Spoil, str], ...] = (
    ("NaN on one joint", one_joint(1, np.nan), "once"),
    ("NaN on one joint", one_joint(1, np.nan), "for ever"),
    ("+10 on one joint", one_joint(1, 10.0), "once"),
    ("-10 on one joint", one_joint(1, -10.0), "once"),
    ("+100 on one joint", one_joint(1, 100.0), "once"),
    ("-100 on one joint", one_joint(1, -100.0), "once"),
    ("+100 on one joint", one_joint(1, 100.0), "for ever"),
    ("+100 on every joint", every_joint(100.0), "once"),
    ("-100 on every joint", every_joint(-100.0), "once"),
    ("1e30 on one joint", one_joint(1, 1e30), "once"),
    ("sign flip", sign_flip, "once"),
    ("sign flip", sign_flip, "for 5 periods"),
    ("sign flip", sign_flip, "for ever"),
    ("swapped legs", swapped_legs, "for ever"),
)
DURATION_STEPS = {"once": 1, "for 5 periods": 5, "for ever": 10**9}


def without_limits(manifest: Manifest) -> Manifest:
    """The same policy with nothing held back: no clip, no slew, no torque bound, every position allowed."""
    assert isinstance(manifest.action, Action)
    return msgspec.structs.replace(
        manifest,
        action=msgspec.structs.replace(manifest.action, clip=None),
        limits=Limits(position=PositionLimit(min_rad=-1e36, max_rad=1e36)),
    )


def with_response(manifest: Manifest, response: str) -> Manifest:
    """The same policy whose limits all clamp, or all damp."""
    limits = manifest.limits
    changed = {
        name: msgspec.structs.replace(limit, response=response)
        for name in ("position", "slew", "torque")
        if (limit := getattr(limits, name)) is not None
    }
    return msgspec.structs.replace(manifest, limits=msgspec.structs.replace(limits, **changed))


def actions(loop: ClosedLoop) -> Iterator[Row]:
    """The policy's answer is wrong, with the bundle's limits and without them; command 1.0."""
    manifest = loop.bundle.manifest
    kinds = {
        "limits clamp": with_response(manifest, "clamp"),
        "limits damp": with_response(manifest, "damp"),
        "no limits": without_limits(manifest),
    }
    for name, spoil, duration in ACTION_FAULTS:
        row: Row = {"fault": name, "duration": duration}
        for kind, limited in kinds.items():
            cell = loop.cell(_spoilt(loop, spoil, DURATION_STEPS[duration], limited))
            down = cell.runs - cell.kept_up - cell.falls
            row[kind] = f"{_falls(cell)} fell, {down} lay down, tilt {cell.tilt_deg:.0f}"
        yield row


def _spoilt(
    loop: ClosedLoop, spoil: Spoil, steps: int, manifest: Manifest
) -> Callable[[float, int], DirectRun]:
    def run(fault_s: float, seed: int) -> DirectRun:
        first = round(fault_s / loop.period_s)
        infer = StepWise(loop.backend.infer, lambda step: first <= step < first + steps, spoil)
        return loop.run(WALKS[1], seed=seed, infer=infer, manifest=manifest)

    return run


def healthy(loop: ClosedLoop) -> Iterator[Row]:
    """Five minutes of each walk: what do the limits do to it?"""
    rng = np.random.default_rng(1)
    times = np.arange(0.0, HEALTHY_S, 3.0)
    low, high = loop.bundle.manifest.velocity_command.min, loop.bundle.manifest.velocity_command.max
    commands = rng.uniform(low, high, (len(times), 3)) * RANDOM_SHARE
    random = CommandScript(tuple(times.tolist()), tuple((a, b, c) for a, b, c in commands.tolist()))
    for walking, script in (
        *((walking, None) for walking in WALKS),
        (Walking("random, every 3 s", 0.0), random),
        (Walking("random, pushes of 0.8 m/s", 0.0, 0.8), random),
    ):
        run = loop.run(walking, seconds=HEALTHY_S, script=script)
        yield {
            "command": walking.name,
            "steps": run.steps,
            "falls": run.falls,
            "rejected": run.rejected,
            **{name: run.clamped.get(name, 0) for name in ("position", "slew", "torque")},
        }


EXPERIMENTS = (
    Experiment("delay", "How late may a command be? (falls, velocity error)", delay),
    Experiment("rate", "What does a wrong rate do? (falls, velocity error)", rate),
    Experiment("resume", "How long may the policy be away? (falls after it goes on)", resume),
    Experiment("fallback", "How does the robot best get to the ground, for good?", fallback),
    Experiment("actions", "What do wrong actions do, and what do the limits make of them?", actions),
    Experiment("healthy", "Do the limits leave healthy walking alone? (steps held back)", healthy),
)
