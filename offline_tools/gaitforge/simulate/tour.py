"""A simulated walk that shows every command: standing, walking, turning, sideways, backwards."""

from __future__ import annotations

import numpy as np

from gaitd.backends.base import Backend
from gaitd.policy.contract import Float32Array, Manifest
from gaitforge.common.arrays import Stats
from gaitforge.simulate.model import JOINTS
from gaitforge.simulate.script import CommandScript

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


def can_simulate(manifest: Manifest) -> bool:
    """Tell whether there is a simulated robot with the policy's joints."""
    return sorted(manifest.joints) == sorted(JOINTS)


def tour(manifest: Manifest, backend: Backend, stats: Stats | None,
         seconds: float = TOUR_S, seed: int = 0) -> Float32Array:  # fmt: skip
    """Observations (steps, dim), before normalization, of a simulated walk that shows every command.

    Raises InputError when the policy cannot be simulated.
    """
    from gaitforge.simulate.direct import Step, run_direct

    largest = np.maximum(np.abs(manifest.velocity_command.min), np.abs(manifest.velocity_command.max))
    commands = tuple(tuple(float(x) for x in np.multiply(part, largest)) for _, part in _TOUR)
    script = CommandScript(tuple(time for time, _ in _TOUR), commands)  # type: ignore[arg-type]
    observations: list[Float32Array] = []

    def keep(step: Step) -> None:
        observations.append(step.observation)

    run_direct(manifest, backend, script=script, seconds=seconds, seed=seed, obs_stats=stats, on_step=keep)
    return np.stack(observations)
