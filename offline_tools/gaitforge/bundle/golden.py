"""Golden vectors: observations that the policy meets, and the float model's actions on them."""

from __future__ import annotations

import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import InputError
from gaitd.policy.contract import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.common import arrays
from gaitforge.common.arrays import Stats
from gaitforge.model.onnx_policy import run_rows

ROWS = 128


def sample(
    manifest: Manifest,
    backend: Backend,
    observations: Float32Array,
    stats: Stats | None,
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
