"""Golden vectors: observations that the policy meets, and the float model's actions on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import InputError
from gaitd.policy.contract import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.data import arrays
from gaitforge.model.onnx_policy import run_rows

if TYPE_CHECKING:
    from gaitforge.simulate.direct import DirectRun
    from gaitforge.simulate.script import CommandScript

ROWS = 128

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
    from gaitforge.simulate.model import JOINTS

    return sorted(manifest.joints) == sorted(JOINTS)


def tour_script(manifest: Manifest) -> CommandScript:
    """Every kind of velocity command in turn, within what the policy takes."""
    from gaitforge.simulate.script import CommandScript

    low, high = np.array(manifest.velocity_command.min), np.array(manifest.velocity_command.max)
    largest = np.maximum(np.abs(low), np.abs(high))
    commands = tuple(tuple(np.clip(np.multiply(part, largest), low, high).tolist()) for _, part in _TOUR)
    return CommandScript(tuple(time for time, _ in _TOUR), commands)


def tour(manifest: Manifest, backend: Backend, stats: tuple[Float32Array, Float32Array] | None,
         seconds: float = TOUR_S, seed: int = 0) -> Float32Array:  # fmt: skip
    """Observations (steps, dim), before normalization, of a simulated walk that shows every command.

    Raises InputError when the policy cannot be simulated.
    """
    return walk_tour(manifest, backend, stats, seconds, seed)[0]


def walk_tour(manifest: Manifest, backend: Backend, stats: tuple[Float32Array, Float32Array] | None,
              seconds: float = TOUR_S, seed: int = 0) -> tuple[Float32Array, DirectRun]:  # fmt: skip
    """As tour, with the run that they come from."""
    from gaitforge.simulate.direct import Step, run_direct

    observations: list[Float32Array] = []

    def keep(step: Step) -> None:
        observations.append(step.observation)

    run = run_direct(manifest, backend, script=tour_script(manifest), seconds=seconds, seed=seed,
                     obs_stats=stats, on_step=keep)  # fmt: skip
    return np.stack(observations), run


def sample(
    manifest: Manifest,
    backend: Backend,
    observations: Float32Array,
    stats: tuple[Float32Array, Float32Array] | None,
    rows: int = ROWS,
) -> dict[str, Float32Array]:
    """Golden arrays ``observation`` and ``action`` from raw observations (steps, dim).

    A policy with hidden states gets the first rows, as one sequence; any other an even selection.
    Raises InputError for fewer than two rows, or actions that are not finite.
    """
    if len(observations) < 2:
        raise InputError(f"golden vectors need at least two observations, there is {len(observations)}")
    chosen = observations[:rows] if manifest.model.recurrent else arrays.thin(observations, rows)
    pipeline = PolicyPipeline(manifest, stats)
    action = run_rows(backend, np.stack([pipeline.normalize(row).copy() for row in chosen]))
    if not np.isfinite(action).all():
        raise InputError("the model's action on a recorded observation is not finite")
    return {"observation": chosen.astype(np.float32), "action": action}
