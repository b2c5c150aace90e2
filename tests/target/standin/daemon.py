"""gaitd on the board that the environment names; everything else is the real thing."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial

from standin.board import take_the_role

import gaitd.guardian.main
import gaitd.guardian.worker_process
from gaitd.cli import main
from gaitd.shared.processes import WORKER

if __name__ == "__main__":
    take_the_role()
    if limit_s := os.environ.get("GAITD_STANDIN_START_LIMIT_S"):
        gaitd.guardian.worker_process.START_LIMIT_NS = int(limit_s) * 1_000_000_000
    on_board = partial(gaitd.guardian.main.Guardian, worker=replace(WORKER, entry="standin.worker"))
    gaitd.guardian.main.Guardian = on_board  # type: ignore[misc,assignment]
    sys.exit(main())
