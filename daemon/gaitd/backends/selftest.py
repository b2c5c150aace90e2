"""A backend proves itself on the bundle's golden vectors before anything says ready."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import numpy as np

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle
from gaitd.errors import InputError
from gaitd.system.memory import MODEL_BYTES, memory_limit


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How a backend did on the golden vectors."""

    count: int
    max_error: float
    """Largest difference to the recorded float actions, raw action units."""
    tolerance: float
    median_us: float
    """Median duration of one inference."""


def run_selftest(backend: Backend, bundle: Bundle, tolerance: float) -> SelfTest:
    """Run all golden vectors in order, from reset; those of a capture also from each of its resets.

    The backend is reset again afterwards. That the captured states make these observations is checked when
    the bundle is opened.

    Raises InputError, naming the worst vector and joint, when an action is not finite or further than
    ``tolerance`` from the recorded one; BackendError when a run fails.
    """
    pipeline = bundle.pipeline()
    observations, expected = bundle.golden()
    actions = np.zeros_like(expected)
    durations_ns = np.zeros(len(expected), np.int64)
    trace = bundle.captured_states()
    backend.reset()
    for index, observation in enumerate(observations):
        if trace is not None and trace.reset[index]:
            backend.reset()
        normalized = pipeline.normalize(observation)
        start_ns = time.monotonic_ns()
        # The first takes the memory for all the others.
        with memory_limit(MODEL_BYTES) if index == 0 else contextlib.nullcontext():
            action = backend.infer(normalized)
        durations_ns[index] = time.monotonic_ns() - start_ns
        if action.shape != expected[index].shape:
            raise InputError(
                f"{bundle.path}: golden.npz: the model answered shape {action.shape} for vector {index}, "
                f"expected {expected[index].shape}"
            )
        actions[index] = action
        backend.commit()
    backend.reset()
    joints = bundle.manifest.joints
    if not np.isfinite(actions).all():
        vector, joint = np.argwhere(~np.isfinite(actions))[0]
        raise InputError(
            f"{bundle.path}: the model answers {actions[vector, joint]} for joint {joints[joint]!r} "
            f"on golden vector {vector}"
        )
    errors = np.abs(actions - expected)
    max_error = float(errors.max())
    if max_error > tolerance:
        vector, joint = np.unravel_index(int(errors.argmax()), errors.shape)
        hint = " (the same answer for every input)" if np.ptp(actions, axis=0).max() == 0.0 else ""
        raise InputError(
            f"{bundle.path}: golden vector {vector}, joint {joints[joint]!r}: the model answers "
            f"{actions[vector, joint]:.6g}, recorded was {expected[vector, joint]:.6g}; the largest error "
            f"{max_error:.3g} is above the tolerance {tolerance:.3g}{hint}"
        )
    return SelfTest(len(expected), max_error, tolerance, float(np.median(durations_ns)) / 1000.0)
