"""The telemetry process: feeds the histograms, serves Prometheus, and is the flight recorder."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from prometheus_client import CollectorRegistry

from gaitd.errors import GaitdError
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import TelemetryLaunch, read_launch
from gaitd.shared.processes import TELEMETRY
from gaitd.shared.telemetry_memory import TelemetryMemory
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.command_line import run_command
from gaitd.system.realtime import name_process, use_all_cpus
from gaitd.telemetry.endpoint import serve_metrics
from gaitd.telemetry.metrics import MemoryCollector, StepHistograms
from gaitd.telemetry.npu import NpuCollector
from gaitd.telemetry.recorder import FlightRecorder
from gaitd.telemetry.say import say
from gaitd.telemetry.session_note import SessionNote

FEED_S = 0.1
RETRY_TURNS = 10
"""A metrics address that is not available is tried again after so many turns; the recorder runs meanwhile."""


def main() -> int:
    """Entry point of the telemetry process; returns its exit code (gaitd.errors)."""
    return run_command(TELEMETRY.title, _run)


def _run() -> int:
    name_process(TELEMETRY.title)
    done = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    use_all_cpus()
    launch = read_launch(sys.argv[1], TelemetryLaunch)
    guard = GuardMemory(launch.guard_memory_fd, writable=False)
    workers = [WorkerMemory(fd, writable=False) for fd in launch.worker_memory_fds]
    rings = [worker.steps for worker in workers]
    progress = TelemetryMemory(launch.telemetry_memory_fd).words
    recorder = FlightRecorder(guard, rings, progress, launch) if launch.recorder.wanted else None
    policy = f"policy {launch.policy['name']} {launch.policy['version']} ({launch.policy['id']})"
    note = SessionNote(guard, Path(launch.recorder.directory), policy)
    if recorder is not None:
        signal.signal(signal.SIGUSR1, lambda *_: recorder.request())
        note.report_lost()
    registry = CollectorRegistry()
    histograms = StepHistograms(registry, launch.period_s)
    registry.register(MemoryCollector(guard, workers, launch))
    registry.register(NpuCollector())
    turn, served = 0, not launch.metrics.enabled
    while not done.wait(FEED_S if turn else 0.0):
        if not served and turn % RETRY_TURNS == 0:
            try:
                serve_metrics(launch.metrics, registry)
                served = True
            except GaitdError as error:
                if turn == 0:
                    say(f"{error}; trying again every second")
        turn += 1
        counted = progress.row("counted")
        for slot, ring in enumerate(rings):
            counted[slot] = histograms.feed(ring, counted[slot])
        if recorder is not None:
            recorder.look()
            note.look()
    if recorder is not None:
        recorder.finish()
        note.look()
    return 0


if __name__ == "__main__":
    sys.exit(main())
