"""What the guardian says of policy and workers when it is asked for the status."""

from __future__ import annotations

from typing import Any

import gaitd
from gaitd.bundle import Bundle
from gaitd.guardian import announce, failover
from gaitd.guardian.sessions import Sessions
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.guardian.workers import Workers
from gaitd.shared.processes import WORKER_SLOT, policy_in
from gaitd.wire.generated import CauseKind, Mode

COUNTERS = ("received", "standby", "followed", "steps", "late_steps", "missed", "superseded", "withheld")


def describe(bundle: Bundle, sessions: Sessions, workers: Workers) -> dict[str, Any]:
    """Part of the reply to ``status`` (proto/README.md). Counters are of all workers together."""
    state = sessions.state
    worker, standby = workers.by_slot[WORKER_SLOT], workers.standby
    words = [each.memory.words for each in workers.all]
    refused = {kind: sum(each.row("refused")[kind] for each in words) for kind in CauseKind}
    holder = workers.by_slot[state.slot].memory.words
    return {
        "gaitd": gaitd.__version__,
        "period_s": bundle.manifest.control_period_s,
        "policy": sessions.titles[policy_in(state.slot) if state.session else sessions.first],
        "policies": _policies(sessions, workers),
        "worker": _worker(worker),
        "standby": None if standby is None else _standby(standby, workers),
        "holder": state.slot,
        "failover": announce.failed_over(state, worker.ready) if state.moved_ns else "",
        "state_interval_s": holder["state_interval_ns"] / 1e9,
        "counters": {name: sum(each[name] for each in words) for name in COUNTERS},
        "refused": {kind.name.lower(): count for kind, count in refused.items() if count},
    }


def _policies(sessions: Sessions, workers: Workers) -> list[dict[str, Any]]:
    """All of them, where there are several."""
    titles, state = sessions.titles, sessions.state
    if len(titles) == 1:
        return []
    return [
        {
            **title,
            "first": index == sessions.first,
            "walks": state.mode is Mode.ACTIVE and index == policy_in(state.slot),
            "standby": slot == WORKER_SLOT and workers.standby is not None,
            **_worker(workers.by_slot[slot]),
        }
        for index, title in enumerate(titles)
        for slot in [failover.slot_of(state, index)]
    ]


def _standby(standby: WorkerProcess, workers: Workers) -> dict[str, Any]:
    """Ready is more of it than of a worker: it must keep up with the session."""
    return {**_worker(standby), "ready": standby.ready and workers.standby_is_ready}


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
