"""What the guardian says of policy and workers when it is asked for the status."""

from __future__ import annotations

from typing import Any

import gaitd
from gaitd.bundle import Bundle
from gaitd.guardian import announce
from gaitd.guardian.rules import GuardState
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.guardian.workers import Workers
from gaitd.wire.generated import CauseKind

COUNTERS = ("received", "standby", "followed", "steps", "late_steps", "missed", "superseded", "withheld")


def describe(bundle: Bundle, state: GuardState, workers: Workers) -> dict[str, Any]:
    """Part of the reply to ``status`` (proto/README.md). Counters are of all workers together."""
    manifest = bundle.manifest
    worker, standby = workers.by_slot[0], workers.standby
    words = [each.memory.words for each in workers.by_slot]
    refused = {kind: sum(each.row("refused")[kind] for each in words) for kind in CauseKind}
    holder = workers.by_slot[state.slot].memory.words
    return {
        "gaitd": gaitd.__version__,
        "period_s": manifest.control_period_s,
        "policy": {"id": bundle.policy_id, "name": manifest.name, "version": manifest.version},
        "worker": _worker(worker),
        "standby": None if standby is None else _worker(standby),
        "failover": announce.on_standby(state, worker.ready) if state.moved_ns else "",
        "state_interval_s": holder["state_interval_ns"] / 1e9,
        "counters": {name: sum(each[name] for each in words) for name in COUNTERS},
        "refused": {kind.name.lower(): count for kind, count in refused.items() if count},
    }


def _worker(worker: WorkerProcess) -> dict[str, Any]:
    return {
        "ready": worker.ready,
        "pid": worker.child.pid,
        "starts": worker.child.starts,
        "backend": worker.choice.current,
        "fallback": worker.choice.fallback,
        "versions": worker.report.versions,
        "npu_memory_bytes": worker.report.memory,
        "selftest": worker.report.selftest,
    }
