"""gaitd with a worker whose backend misbehaves on demand; everything else is the real thing."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import gaitd.guardian.main
from gaitd.cli import main
from gaitd.shared.processes import WORKER

if __name__ == "__main__":
    faulty = partial(gaitd.guardian.main.Guardian, worker=replace(WORKER, entry="support.faulty_worker"))
    gaitd.guardian.main.Guardian = faulty  # type: ignore[misc,assignment]
    sys.exit(main())
