"""gaitd whose processes misbehave on command; everything else in it is unchanged."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import gaitd.guardian.child
import gaitd.guardian.main
from gaitd.cli import main
from gaitd.shared.processes import TELEMETRY
from gaitforge.faults.telemetry import obey_signals

STABLE_NS = 2_000_000_000
"""Here a worker counts as stable after this: the runner kills one every few seconds."""

if __name__ == "__main__":
    gaitd.guardian.child.STABLE_NS = STABLE_NS
    gaitd.guardian.main.TELEMETRY = replace(  # type: ignore[attr-defined]
        TELEMETRY, entry="gaitforge.faults.telemetry"
    )
    gaitd.guardian.main.Guardian = partial(  # type: ignore[misc,assignment]
        gaitd.guardian.main.Guardian, worker_entry="gaitforge.faults.worker"
    )
    obey_signals()
    sys.exit(main())
