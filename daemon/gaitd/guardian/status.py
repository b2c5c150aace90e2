"""What the guardian says of policy and worker when it is asked for the status."""

from __future__ import annotations

from typing import Any

import gaitd
from gaitd.bundle import Bundle
from gaitd.guardian.backend_choice import BackendChoice
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.shared.memory import Words
from gaitd.wire.generated import CauseKind

COUNTERS = ("received", "standby", "steps", "late_steps", "missed", "superseded", "withheld")


def describe(bundle: Bundle, choice: BackendChoice, worker: WorkerProcess, words: Words) -> dict[str, Any]:
    """Part of the reply to ``status`` (proto/README.md). ``words``: what the worker counts."""
    manifest = bundle.manifest
    refused = words.row("refused")
    return {
        "gaitd": gaitd.__version__,
        "period_s": manifest.control_period_s,
        "policy": {"id": bundle.policy_id, "name": manifest.name, "version": manifest.version},
        "worker": {
            "ready": worker.ready,
            "pid": worker.child.pid,
            "starts": worker.child.starts,
            "backend": choice.current,
            "fallback": choice.fallback,
            "versions": worker.report.versions,
            "npu_memory_bytes": worker.report.memory,
            "selftest": worker.report.selftest,
        },
        "state_interval_s": words["state_interval_ns"] / 1e9,
        "counters": {name: words[name] for name in COUNTERS},
        "refused": {kind.name.lower(): refused[kind] for kind in CauseKind if refused[kind]},
    }
