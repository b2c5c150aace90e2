"""What both NPU backends check of a model's tensors and of what goes in."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

import numpy as np

from gaitd.backends.base import Float32Array
from gaitd.errors import BackendError, InputError
from gaitd.policy.manifest import Model


def check_tensors(
    model: Model,
    observation_dim: int,
    action_dim: int,
    inputs: dict[str, int],
    outputs: dict[str, int],
) -> None:
    """Compare names and numbers of values with the manifest's. Raises InputError."""
    hidden_in = {state.input: math.prod(state.shape) for state in model.recurrent}
    hidden_out = {state.output: math.prod(state.shape) for state in model.recurrent}
    for kind, found, expected in (
        ("input", inputs, {model.input: observation_dim, **hidden_in}),
        ("output", outputs, {model.output: action_dim, **hidden_out}),
    ):
        if found != expected:
            raise InputError(
                f"model.rknn has the {kind}s {_listed(found)}, but the manifest wants {_listed(expected)} "
                "(name: number of values); convert the policy of this bundle again"
            )


class HiddenState:
    """A recurrent policy's memory: what a run gives is the next one's input once its command went out."""

    def __init__(
        self, model: Model, given: Mapping[str, Float32Array], taken: Mapping[str, Float32Array]
    ) -> None:
        """``given`` and ``taken``: the buffers of the inputs and outputs by name, flat."""
        self._pairs = [(given[state.input], taken[state.output]) for state in model.recurrent]

    def commit(self) -> None:
        """The last run's is the model's own."""
        for current, following in self._pairs:
            np.copyto(current, following)

    def reset(self) -> None:
        """As before the first run."""
        for current, _ in self._pairs:
            current.fill(0)


class InputCheck:
    """Refuses what must not reach the NPU: another thread's call, and an observation that does not fit."""

    def __init__(self, observation_dim: int) -> None:
        self._finite = np.empty(observation_dim, np.bool_)
        self._thread: int | None = None

    def check(self, observation: Float32Array) -> None:
        """Raises BackendError."""
        if self._thread is None:
            self._thread = threading.get_ident()
        elif self._thread != threading.get_ident():
            raise BackendError("the NPU backend was called from a second thread; it belongs to one")
        if observation.dtype != np.float32 or observation.shape != self._finite.shape:
            raise BackendError(
                f"observation is {observation.dtype} {observation.shape}; "
                f"the model takes float32 {self._finite.shape}"
            )
        if not np.isfinite(observation, out=self._finite).all():
            raise BackendError(f"observation[{int(np.argmin(self._finite))}] is not finite")


def _listed(tensors: dict[str, int]) -> str:
    return ", ".join(f"{name}: {size}" for name, size in tensors.items())
