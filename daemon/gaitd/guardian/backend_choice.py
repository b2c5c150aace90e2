"""Which backend a worker is started with: what works here."""

from __future__ import annotations

from collections.abc import Sequence

from gaitd.backends import BackendName


class BackendChoice:
    """The first of the backends to try, until it proves not to work; then the next, until gaitd restarts."""

    def __init__(self, to_try: Sequence[BackendName]) -> None:
        self.fallback = ""
        """Why the first one is not used; empty while it is."""
        self.index = 0
        """Of ``current`` among those to try."""
        self._to_try = to_try

    @property
    def current(self) -> BackendName:
        """What the next worker runs."""
        return self._to_try[self.index]

    def fall_back(self, why: str) -> bool:
        """The current one does not work: take the next. False when there is none."""
        if self.index + 1 == len(self._to_try):
            return False
        self.fallback = f"{self.current} does not work here: {why}"
        self.index += 1
        return True
