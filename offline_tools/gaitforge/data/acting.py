"""What chooses actions: an ONNX model, a Python object, or chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array
from gaitforge.data.environment import load_object
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy

Act: TypeAlias = Callable[[Float32Array], Float32Array]
"""Model input (observation_dim,) to raw action (n,)."""


def random_actions(dim: int, seed: int = 0) -> Act:
    """Actions of a standard normal distribution."""
    generator = np.random.default_rng(seed)

    def act(observation: Float32Array) -> Float32Array:
        return generator.standard_normal(dim, dtype=np.float32)

    return act


def of_model(policy: PolicyOnnx, prepare: Act) -> tuple[Act, Callable[[], None]]:
    """Return how to act with a model on prepared observations, and how to start an episode."""
    backend = policy.backend()

    def act(observation: Float32Array) -> Float32Array:
        if len(observation) != policy.observation_dim:
            raise InputError(
                f"the environment gives {len(observation)} values, but {policy.path} takes "
                f"{policy.observation_dim}"
            )
        action = np.array(backend.infer(prepare(observation)))
        backend.commit()
        return action

    return act, backend.reset


def load_actor(name: str) -> tuple[Act, Callable[[], None]]:
    """Return how to act and how to start an episode, for an ONNX file or a ``module:Class``.

    An object of the class is called, or its ``act`` or ``predict``; its ``reset``, if any, starts an
    episode. Raises InputError.
    """
    if name.endswith(".onnx"):
        return of_model(read_policy(Path(name)), lambda observation: observation)
    made = load_object(name, "--policy")
    try:
        policy = made() if isinstance(made, type) else made
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--policy {name} raised {type(error).__name__}: {reason}") from error
    method = next((getattr(policy, key) for key in ("act", "predict") if hasattr(policy, key)), policy)
    if not callable(method):
        raise InputError(f"--policy {name}: a {type(policy).__name__} can neither act nor be called")

    def call(observation: Float32Array) -> Float32Array:
        try:
            action: Float32Array = np.asarray(method(observation), np.float32).ravel()
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InputError(f"--policy {name} raised {type(error).__name__}: {reason}") from error
        return action

    return call, getattr(policy, "reset", lambda: None)
