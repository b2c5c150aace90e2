"""What the supervisor tells the telemetry process at its start."""

from __future__ import annotations

import msgspec

from gaitd.config import Metrics


class TelemetryOrder(msgspec.Struct, frozen=True):
    """One JSON argument."""

    blackboard_fd: int
    metrics: Metrics
    period_s: float
    policy: dict[str, str]
    backend: str
