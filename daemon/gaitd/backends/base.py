"""What gaitd asks of an inference backend."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


NPU_MEMORY = ("weights", "internal", "dma")
"""Kinds of the NPU's memory that Backend.memory tells."""


class Backend(Protocol):
    """One loaded policy model. Used by one thread; may block, crash or lie: the guard expects all three.

    A recurrent policy's hidden state lives inside the backend: ``infer`` computes the next one,
    ``commit`` makes it the model's own, so that a rejected action leaves no trace.
    """

    def infer(self, observation: Float32Array) -> Float32Array:
        """Return the raw action (action_dim,) for a normalized observation (observation_dim,).

        The returned array may be overwritten by the next call.
        Raises BackendError when the run failed; it never returns the output of a failed run.
        """
        ...

    def commit(self) -> None:
        """The last action's command went out: the hidden state that came with it is the model's own."""
        ...

    def reset(self) -> None:
        """Start of a session: zero the hidden state."""
        ...

    def versions(self) -> dict[str, str]:
        """Names and versions of what runs the model, such as runtime, driver and model format."""
        ...

    def memory(self) -> dict[str, int]:
        """What the model takes of the NPU's memory, bytes: weights, internal, dma. Empty when unknown."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...
