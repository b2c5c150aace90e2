"""gaitctl whose shadow takes ten control periods for each inference, and keeps its core busy meanwhile."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from gaitd.ctl.cli import main
from gaitd.ctl.shadow import command

PERIODS = 10


class Slow:
    """A backend that is slow once it was proven."""

    def __init__(self, real: Any, period_s: float) -> None:
        self._real, self._takes_s = real, PERIODS * period_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def infer(self, observation: np.ndarray) -> np.ndarray:
        until_s = time.monotonic() + self._takes_s
        while time.monotonic() < until_s:
            pass
        answer: np.ndarray = self._real.infer(observation)
        return answer


if __name__ == "__main__":
    prove = command._open
    command._open = lambda bundle: Slow(prove(bundle), bundle.manifest.control_period_s)  # type: ignore[assignment]
    sys.exit(main())
