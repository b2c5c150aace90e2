"""A simulated walk that shows every command: standing, walking, turning, sideways, backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gaitd.backends.base import Backend
from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.common.arrays import Stats
from gaitforge.simulate.body import Body
from gaitforge.simulate.script import CommandScript

if TYPE_CHECKING:
    from gaitforge.simulate.direct import DirectRun

TOUR_S = 14.0
"""Simulated time of the tour below."""

_TOUR = (
    (0.0, (0.0, 0.0, 0.0)),
    (1.0, (0.5, 0.0, 0.0)),
    (3.0, (1.0, 0.0, 0.0)),
    (6.0, (0.6, 0.0, 0.7)),
    (8.0, (0.0, 0.5, 0.0)),
    (10.0, (-0.5, 0.0, 0.0)),
    (12.0, (0.4, -0.3, -0.7)),
)
"""Seconds and fractions of the largest velocity command: standing, walking, turning, sideways, backwards."""


def tour_script(manifest: Manifest) -> CommandScript:
    """Every kind of velocity command in turn, within the range of the contract."""
    low, high = np.array(manifest.velocity_command.min), np.array(manifest.velocity_command.max)
    largest = np.maximum(np.abs(low), np.abs(high))
    commands = tuple(tuple(np.clip(np.multiply(part, largest), low, high).tolist()) for _, part in _TOUR)
    return CommandScript(tuple(time for time, _ in _TOUR), commands)


def tour(manifest: Manifest, backend: Backend, stats: Stats | None, seconds: float = TOUR_S,
         seed: int = 0, body: Body | None = None) -> Float32Array:  # fmt: skip
    """Observations (steps, dim), before normalization, of a simulated walk that shows every command.

    ``body`` is by default the Lite3's. Raises InputError when the policy cannot be simulated.
    """
    return walk_tour(manifest, backend, stats, seconds, seed, body)[0]


def walk_tour(manifest: Manifest, backend: Backend, stats: Stats | None, seconds: float = TOUR_S,
              seed: int = 0, body: Body | None = None) -> tuple[Float32Array, DirectRun]:  # fmt: skip
    """The observations of ``tour``, and the run that they come from."""
    from gaitforge.simulate.direct import Step, run_direct

    observations: list[Float32Array] = []

    def keep(step: Step) -> None:
        observations.append(step.observation)

    run = run_direct(manifest, backend, script=tour_script(manifest), seconds=seconds, seed=seed,
                     obs_stats=stats, on_step=keep, body=body)  # fmt: skip
    return np.stack(observations), run
