"""A backend that reports errors when it is asked to, for a rehearsal on the stand (``daemon.rehearsal``)."""

from __future__ import annotations

import signal
from typing import Any

from gaitd.backends.base import Backend, Float32Array
from gaitd.errors import BackendError

ORDER = signal.SIGUSR1


class FailingBackend:
    """The backend that it is given, until the process gets ``ORDER``; from then on no run succeeds."""

    def __init__(self, backend: Backend) -> None:
        """Take over the signal: only in the process's first thread."""
        self._backend = backend
        self._failing = False
        signal.signal(ORDER, self._fail)
        self.commit, self.reset, self.close = backend.commit, backend.reset, backend.close
        self.versions, self.memory = backend.versions, backend.memory

    def infer(self, observation: Float32Array) -> Float32Array:
        """As Backend.infer."""
        if self._failing:
            raise BackendError(f"a rehearsal asked for it ({ORDER.name})")
        return self._backend.infer(observation)

    def _fail(self, *_: Any) -> None:
        self._failing = True
