"""The model as the hot path runs it: timed, and seen to run by the guardian."""

from __future__ import annotations

import time

from gaitd.backends.base import Backend
from gaitd.policy.manifest import Float32Array
from gaitd.shared.memory import Words


class TimedModel:
    """A backend whose inference under way stands in the worker's memory."""

    def __init__(self, backend: Backend, words: Words) -> None:
        self.commit = backend.commit
        self.reset = backend.reset
        self.start_ns = 0
        """When the last inference began."""
        self.end_ns = 0
        self._backend = backend
        self._words = words

    def infer(self, observation: Float32Array) -> Float32Array:
        """See Backend.infer."""
        self.start_ns = self._words["busy_since_ns"] = time.monotonic_ns()
        try:
            return self._backend.infer(observation)
        finally:
            self.end_ns = time.monotonic_ns()
            self._words["busy_since_ns"] = 0
