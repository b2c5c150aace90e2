"""gaitd with a worker that misbehaves on command; everything else in it is unchanged."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import gaitd.guardian.main
from gaitd.cli import main
from gaitd.shared.processes import WORKER

# The runner kills a worker every few seconds: here it counts as stable after two.
FAULTY = replace(WORKER, entry="gaitforge.faults.worker", stable_ns=2_000_000_000)

if __name__ == "__main__":
    gaitd.guardian.main.Guardian = partial(  # type: ignore[misc,assignment]
        gaitd.guardian.main.Guardian, worker=FAULTY
    )
    sys.exit(main())
