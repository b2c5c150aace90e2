"""The worker process with a backend that misbehaves on command; everything else in it is unchanged."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import gaitd.worker.main
from gaitd.backends import open_backend
from gaitforge.faults.backend import FaultyBackend
from gaitforge.faults.orders import Orders

ORDERS = "GAITFORGE_FAULT_ORDERS"
"""Environment variable: where the orders come from."""


def orders_file(place: Path, slot: int) -> Path:
    """Where the worker of that slot gets its orders."""
    return place.with_name(f"{place.name}{slot}")


def _open(*arguments: Any) -> FaultyBackend:
    slot = json.loads(sys.argv[1])["slot"]
    return FaultyBackend(open_backend(*arguments), Orders(orders_file(Path(os.environ[ORDERS]), slot)))


if __name__ == "__main__":
    gaitd.worker.main.open_backend = _open  # type: ignore[assignment,attr-defined]
    sys.exit(gaitd.worker.main.main())
