"""Does a policy walk where it is told to? Judged by itself, without another model to compare with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.simulate.direct import full_command
from gaitforge.simulate.measure import Outcome, planar_velocity
from gaitforge.simulate.script import CommandScript

if TYPE_CHECKING:
    from gaitforge.simulate.direct import DirectRun

SETTLE_S = 0.8
"""A walk needs this long to follow a new command; it is judged from then on, for as long at least."""

DIRECTIONS = (("forward", "backward"), ("left", "right"), ("to the left", "to the right"))
"""What positive and negative velocities are called: along, across, turning."""

PRESENT, PAST = ("walk", "turn", "stand"), ("walked", "turned", "stood")

Velocity = tuple[float, float, float]
"""Forward [m/s], left [m/s], turning left [rad/s], in the frame of the heading."""


@dataclass(frozen=True)
class Leg:
    """A part of a walk with one command."""

    start_s: float
    end_s: float
    asked: Velocity
    walked: Velocity
    """Mean, from SETTLE_S after the start."""

    def describe(self) -> str:
        """Such as "asked to walk forward at 0.80 m/s, it walked forward at 0.10 m/s"."""
        return f"asked to {in_words(self.asked)}, it {in_words(self.walked, PAST)}"


@dataclass(frozen=True)
class Walk:
    """What the robot did from the hand-over on."""

    seed: int
    outcome: str
    """As Outcome tells it."""
    kept_up: bool
    seconds: float
    forward_m: float
    """Where it ended, seen from where it began, in the frame of its heading there."""
    left_m: float
    turned_rad: float
    """Sum of all turning, positive to the left."""
    legs: Sequence[Leg]

    def way(self) -> str:
        """Such as "3.10 m forward, 5.54 m to the right, turned right by 36 deg"."""
        ahead, across, turn = DIRECTIONS[0], DIRECTIONS[2], DIRECTIONS[1]
        return (
            f"{abs(self.forward_m):.2f} m {ahead[int(self.forward_m < 0)]}, "
            f"{abs(self.left_m):.2f} m {across[int(self.left_m < 0)]}, "
            f"turned {turn[int(self.turned_rad < 0)]} by {math.degrees(abs(self.turned_rad)):.0f} deg"
        )


def judge(manifest: Manifest, run: DirectRun, script: CommandScript, seconds: float) -> Walk:
    """What came of a run of ``seconds`` under a script, in units of m and s."""
    trace = run.trace
    walking = trace.after_handover()
    time = trace.time_s[walking] - trace.handover_s
    velocity = planar_velocity(
        trace.base_velocity[walking], trace.base_orientation[walking], trace.base_angular_velocity[walking]
    )
    legs = []
    for start, end, command in _parts(script, seconds):
        if end - start >= 2 * SETTLE_S:
            settled = (time >= start + SETTLE_S) & (time < end)
            asked = np.multiply(_limited(manifest, command), full_command(manifest))
            legs.append(Leg(start, end, _triple(asked), _triple(velocity[settled].mean(axis=0))))
    way = trace.base_position[walking][-1] - trace.base_position[walking][0]
    w, x, y, z = trace.base_orientation[walking][0]
    heading = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return Walk(
        seed=run.seed,
        outcome=run.measures.outcome.value,
        kept_up=run.measures.outcome is Outcome.KEPT_UP,
        seconds=seconds,
        forward_m=float(np.cos(heading) * way[0] + np.sin(heading) * way[1]),
        left_m=float(-np.sin(heading) * way[0] + np.cos(heading) * way[1]),
        turned_rad=float(np.sum(velocity[:-1, 2] * np.diff(time))),
        legs=legs,
    )


def in_words(velocity: Velocity, verbs: tuple[str, str, str] = PRESENT) -> str:
    """A velocity for people, such as "walk forward at 0.80 m/s and turn to the left at 0.40 rad/s"."""
    walk, turn, stand = verbs
    parts = []
    for index, value in enumerate(velocity):
        if abs(value) >= 0.05:
            verb, unit = (walk, "m/s") if index < 2 else (turn, "rad/s")
            parts.append(f"{verb} {DIRECTIONS[index][int(value < 0)]} at {abs(value):.2f} {unit}")
    return " and ".join(parts) or stand


def _parts(script: CommandScript, seconds: float) -> Iterator[tuple[float, float, Velocity]]:
    ends = (*script.times_s[1:], seconds)
    for start, end, command in zip(script.times_s, ends, script.commands, strict=True):
        yield start, min(end, seconds), command


def _limited(manifest: Manifest, command: Velocity) -> Float32Array:
    """The command as the robot's pipeline limits it to the range of the contract."""
    return np.clip(
        np.array(command, np.float32), manifest.velocity_command.min, manifest.velocity_command.max
    )


def _triple(values: np.ndarray) -> Velocity:
    forward, left, turn = (float(value) for value in values)
    return forward, left, turn
