"""gaitd whose processes misbehave on command; everything else in it is unchanged."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import gaitd.guardian.main
from gaitd.cli import main
from gaitd.shared.processes import STANDBY, TELEMETRY, WORKER
from gaitforge.faults.telemetry import obey_signals

# The runner kills a worker every few seconds: here it counts as stable after two.
FAULTY, FAULTY_STANDBY = (
    replace(row, entry="gaitforge.faults.worker", stable_ns=2_000_000_000) for row in (WORKER, STANDBY)
)

if __name__ == "__main__":
    gaitd.guardian.main.TELEMETRY = replace(  # type: ignore[attr-defined]
        TELEMETRY, entry="gaitforge.faults.telemetry"
    )
    gaitd.guardian.main.Guardian = partial(  # type: ignore[misc,assignment]
        gaitd.guardian.main.Guardian, worker=FAULTY, standby=FAULTY_STANDBY
    )
    obey_signals()
    sys.exit(main())
