"""Entry point of a worker process: load the policy, prove it, report, then answer states."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import zmq

from gaitd.backends import golden_tolerance, open_backend
from gaitd.backends.base import NPU_MEMORY
from gaitd.backends.failing import FailingBackend
from gaitd.backends.selftest import run_selftest
from gaitd.bundle import open_bundle
from gaitd.errors import GaitdError, InputError, ReplacedError, printable
from gaitd.policy.fade import Gains
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import Followed, WorkerLaunch, WorkerReport, read_launch
from gaitd.shared.lifeline import hold_lifeline, map_lifeline
from gaitd.shared.processes import WORKERS
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.command_line import refused_by_system
from gaitd.system.peers import raise_descriptor_limit
from gaitd.system.realtime import (
    apply_realtime,
    freeze_garbage,
    missing_settings,
    name_process,
    use_all_cpus,
)
from gaitd.worker.follower import Other
from gaitd.worker.following import FollowingWorker
from gaitd.worker.lanes import Lanes
from gaitd.worker.loop import Worker
from gaitd.worker.streams import Streams


def start(launch: WorkerLaunch) -> tuple[Worker, WorkerReport]:
    """Load and prove the policy, then take the endpoints. Raises GaitdError."""
    bundle = open_bundle(Path(os.fsdecode(launch.bundle)))
    if bundle.id != launch.bundle_id:
        raise InputError(f"{bundle.path}: the bundle was changed since gaitd started; restart gaitd")
    config = launch.config
    raise_descriptor_limit()
    guard = GuardMemory(launch.guard_memory_fd, writable=False)
    name = launch.backends[guard.words.row("backend")[launch.slot]]
    memory = WorkerMemory(launch.worker_memory_fd, writable=True)
    memory.words["proving_pid"] = os.getpid()
    backend = open_backend(name, bundle, config.daemon.npu_core)
    selftest = run_selftest(backend, bundle, golden_tolerance(name, bundle))
    npu_memory = backend.memory()
    memory.words["proving_pid"] = 0
    if config.daemon.rehearsal:
        backend = FailingBackend(backend)
    for kind in NPU_MEMORY:
        memory.words[f"npu_{kind}_bytes"] = npu_memory.get(kind, 0)
    lanes = None if launch.lanes is None else Lanes(launch.lanes, guard)
    streams = None
    if bundle.manifest.streams:
        streams = Streams(bundle.manifest.streams, launch.stream_fds, memory.words, time.monotonic_ns())
    common = bundle, backend, launch.slot, guard, memory, config, launch.policy_index, lanes, streams
    if launch.follow is None:
        worker = Worker(*common)
    else:
        others = {slot: _other(followed) for slot, followed in launch.follow.others.items()}
        worker = FollowingWorker(*common, others=others, wake_fd=launch.follow.wake_fd)
    realtime, row = config.realtime, WORKERS[launch.slot]
    settings = apply_realtime(realtime, row.cpus(realtime), row.priority(realtime))
    return worker, WorkerReport(
        backend=name,
        versions=backend.versions(),
        memory=npu_memory,
        selftest={
            "count": selftest.count,
            "max_error": selftest.max_error,
            "tolerance": selftest.tolerance,
            "median_us": selftest.median_us,
        },
        realtime=missing_settings(settings),
    )


def _other(followed: Followed) -> Other:
    steps = WorkerMemory(followed.memory_fd, writable=False).steps
    if not followed.stiffness:
        return Other(steps)
    gains = (np.array(values, np.float32) for values in (followed.stiffness, followed.damping))
    return Other(steps, Gains(*gains))


def main() -> int:
    """Run one worker; returns its exit code (gaitd.errors)."""
    use_all_cpus()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the guardian decides
    try:
        launch = read_launch(sys.argv[1], WorkerLaunch)
    except ReplacedError as error:  # it does not even say where to report
        print(f"{WORKERS[0].title}: {error}", file=sys.stderr)
        return error.exit_code
    title = WORKERS[launch.slot].title
    name_process(title)
    hold_lifeline(map_lifeline(launch.lifeline_fd))
    with os.fdopen(launch.report_fd, "wb") as report_pipe:

        def report(message: WorkerReport) -> None:
            report_pipe.write(msgspec.json.encode(message) + b"\n")
            report_pipe.flush()

        try:
            worker, ready = start(launch)
        except (GaitdError, OSError, MemoryError, zmq.ZMQError) as error:
            known = error if isinstance(error, GaitdError) else refused_by_system(error)
            report(WorkerReport(error=printable(str(known)), exit_code=known.exit_code))
            return known.exit_code
        signal.signal(signal.SIGTERM, worker.stop)
        freeze_garbage()
        report(ready)
    try:
        worker.run()
    except Exception as error:
        worker.note_error(error)
        if not isinstance(error, GaitdError):
            raise
        print(f"{title}: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
