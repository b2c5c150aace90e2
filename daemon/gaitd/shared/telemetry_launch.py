"""What the supervisor tells the telemetry process at its start."""

from __future__ import annotations

import msgspec

from gaitd.system.config import Metrics, Recorder


class TelemetryOrder(msgspec.Struct, frozen=True):
    """One JSON argument."""

    blackboard_fd: int
    metrics: Metrics
    recorder: Recorder
    period_s: float
    policy: dict[str, str]
    backend: str
    bundle: str
    """The bundle's file or directory name."""
    joints: list[str]
    """In the policy's order."""
