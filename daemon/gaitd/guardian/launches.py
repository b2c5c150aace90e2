"""What the children are told on their command line."""

from __future__ import annotations

import msgspec

from gaitd.backends import BackendName
from gaitd.bundle.read import Bundle
from gaitd.shared.telemetry_launch import TelemetryOrder
from gaitd.system.config import Config
from gaitd.worker.main import WorkerOrder


def worker_order(
    bundle: Bundle, backend: BackendName, config: Config, blackboard_fd: int, report_fd: int
) -> str:
    """The worker's, as JSON."""
    order = WorkerOrder(
        bundle=str(bundle.path.resolve()),
        bundle_id=bundle.id,
        backend=backend,
        blackboard_fd=blackboard_fd,
        report_fd=report_fd,
        config=config,
    )
    return msgspec.json.encode(order).decode()


def telemetry_order(
    bundle: Bundle, backend: BackendName, config: Config, blackboard_fd: int, report_fd: int
) -> str:
    """Telemetry's, as JSON; it has nothing to report."""
    manifest = bundle.manifest
    order = TelemetryOrder(
        blackboard_fd=blackboard_fd,
        metrics=config.metrics,
        recorder=config.recorder,
        period_s=manifest.control_period_s,
        policy={"id": bundle.policy_id, "name": manifest.name, "version": manifest.version},
        backend=backend,
        bundle=bundle.path.name,
        joints=manifest.joints,
    )
    return msgspec.json.encode(order).decode()
