"""The worker with a backend that turns into one of support.fakes when a file says so.

The file is named by GAITD_TEST_FAULT. While it is absent or empty the backend is honest. A worker that finds
"replaced" in it at its start is of code with another layout of memory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import gaitd.worker.main
from gaitd.backends import open_backend
from gaitd.shared import memory
from support.fakes import FAKES, Honest

FAULT = Path(os.environ["GAITD_TEST_FAULT"])
REPLACED = "replaced"


class OnDemand(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        fault = FAULT.read_text() if FAULT.exists() else ""
        return FAKES["honest" if fault in ("", REPLACED) else fault](self.real).infer(observation)


def open_faulty(*arguments: Any) -> OnDemand:
    return OnDemand(open_backend(*arguments))


if __name__ == "__main__":
    if FAULT.exists() and FAULT.read_text() == REPLACED:
        memory._MAGIC += 1
    gaitd.worker.main.open_backend = open_faulty  # type: ignore[attr-defined,assignment]
    sys.exit(gaitd.worker.main.main())
