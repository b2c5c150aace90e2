"""Golden vectors: observations that the policy meets, and the float model's actions on them."""

from __future__ import annotations

import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.common import arrays
from gaitforge.common.arrays import Stats
from gaitforge.model.onnx_policy import run_rows
from gaitforge.parity.capture import Capture
from gaitforge.parity.compare import ACTION_TOLERANCE
from gaitforge.parity.normalizers import denormalize

ROWS = 128

CAPTURE_STEPS = 1000
"""At most so many steps of a capture: they are replayed at each start."""


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
    chosen = observations[:rows] if manifest.remembers else arrays.thin(observations, rows)
    pipeline = PolicyPipeline(manifest, stats)
    action = run_rows(backend, np.stack([pipeline.normalize(row).copy() for row in chosen]))
    if not np.isfinite(action).all():
        raise InputError("the model's action on a recorded observation is not finite")
    return {"observation": chosen.astype(np.float32), "action": action}


def from_capture(
    manifest: Manifest, backend: Backend, capture: Capture, stats: Stats | None
) -> tuple[dict[str, Float32Array], float]:
    """Golden arrays of a capture, whole and in order, its states among them; and the largest difference of
    the model's answers to the captured actions.

    A capture that begins in the middle of an episode is taken from its first reset on. Raises InputError
    where it is not of this policy: gaitforge parity says why.
    """
    begin = int(np.argmax(capture.reset)) if capture.reset.any() else 0
    part = slice(begin, begin + CAPTURE_STEPS)
    reset, action = capture.reset[part], capture.action[part]
    if manifest.remembers and not reset[0]:
        raise InputError(f"{capture.path}: the hidden state is not known: capture from a reset on")
    pipeline = PolicyPipeline(manifest, stats)
    observation = capture.observation[part]
    shapes = observation.shape[1], action.shape[1]
    if shapes != (pipeline.builder.dim, len(manifest.joints)):
        raise InputError(
            f"{capture.path}: {shapes[0]} observation values and {shapes[1]} actions, but the policy has "
            f"{pipeline.builder.dim} and {len(manifest.joints)}; gaitforge parity says more"
        )
    if capture.meta.observation == "normalized" and manifest.normalization is not None and stats is not None:
        observation = denormalize(observation, manifest.normalization, stats)
    answers = np.empty_like(action)
    backend.reset()
    for index, row in enumerate(observation):
        if reset[index]:
            backend.reset()
        answers[index] = backend.infer(pipeline.normalize(row))
        backend.commit()
    backend.reset()
    error = float(np.abs(answers - action).max())
    if not error <= ACTION_TOLERANCE * max(1.0, float(np.abs(action).max())):
        raise InputError(
            f"{capture.path}: the model's answers differ from the captured actions by up to {error:.3g}; "
            "gaitforge parity says how"
        )
    states = capture.trace(manifest).fields
    arrays = {f"state_{name}": array[part] for name, array in states.items()}
    arrays |= {"observation": observation, "action": action, "state_reset": reset.astype(np.float32)}
    return arrays, error
