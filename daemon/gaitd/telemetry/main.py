"""The telemetry process: feeds the histograms, serves Prometheus, and is the flight recorder."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from gaitd.bundle.read import decode_manifest
from gaitd.errors import GaitdError
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import TelemetryLaunch, read_launch
from gaitd.shared.memory import read_all
from gaitd.shared.processes import TELEMETRY, policy_in
from gaitd.shared.telemetry_memory import TelemetryMemory
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.command_line import run_command
from gaitd.system.realtime import name_process, use_all_cpus
from gaitd.telemetry.encoder_metrics import EncoderCollector
from gaitd.telemetry.endpoint import serve_metrics
from gaitd.telemetry.headroom import Headroom
from gaitd.telemetry.machine import parent_of, read_machine
from gaitd.telemetry.machine_metrics import MachineCollector
from gaitd.telemetry.metrics import LabelledRegistry, MemoryCollector, StepHistograms
from gaitd.telemetry.npu import NpuCollector
from gaitd.telemetry.recorder import FlightRecorder
from gaitd.telemetry.recording import MachineSample
from gaitd.telemetry.say import say
from gaitd.telemetry.session_note import SessionNote
from gaitd.telemetry.shadow_desk import ShadowDesk
from gaitd.telemetry.shadow_metrics import ShadowCollector
from gaitd.telemetry.shift import ShiftRecorder
from gaitd.telemetry.snapshot import Memories

FEED_S = 0.1
RETRY_TURNS = 10
"""A metrics address that is not available is tried again after so many turns; the recorder runs meanwhile."""
MACHINE_TURNS = 10
"""The machine is looked at after so many turns."""
LAST_S = 10
"""However long the disk takes, the process that outlives its guardian ends after so many seconds."""
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Entry point of the telemetry process; returns its exit code (gaitd.errors)."""
    return run_command(TELEMETRY.title, _run)


def _run() -> int:
    name_process(TELEMETRY.title)
    done = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    spawner_pid = _hear_of_the_guardians_death(done)
    use_all_cpus()
    launch = read_launch(sys.argv[1], TelemetryLaunch)
    guard = GuardMemory(launch.guard_memory_fd, writable=False)
    workers = [WorkerMemory(fd, writable=False) for fd in launch.worker_memory_fds]
    progress = TelemetryMemory(launch.telemetry_memory_fd).words
    memories = Memories(guard, workers, launch)
    recorder = FlightRecorder(memories, progress) if launch.recorder.wanted else None
    shift = ShiftRecorder(memories, progress) if recorder and launch.recorder.continuous else None
    policy = f"policy {launch.policy['name']} {launch.policy['version']} ({launch.policy['id']})"
    note = SessionNote(guard, Path(launch.recorder.directory), policy)
    if recorder is not None:
        signal.signal(signal.SIGUSR1, lambda *_: recorder.request())
        recorder.recover()
        if (lost := note.report_lost()) is not None:
            recorder.record_lost(lost)
    registry = CollectorRegistry()
    manifest = decode_manifest(read_all(launch.manifest_fd), launch.bundle)
    beside = [decode_manifest(read_all(each.manifest_fd), each.policy["name"]) for each in launch.beside]
    headroom = Headroom([manifest, *beside], launch.deadline_s)
    histograms = StepHistograms(registry, launch.period_s)
    registry.register(headroom)
    registry.register(MemoryCollector(guard, workers, progress, launch))
    registry.register(EncoderCollector(launch.encoder_fds))
    registry.register(NpuCollector())
    registry.register(MachineCollector(guard.words, parent_of(spawner_pid)))
    desk = ShadowDesk(launch, memories.shadow)
    registry.register(ShadowCollector(desk))
    labelled = LabelledRegistry(registry, {"robot": manifest.robot, "policy": manifest.name})
    turn, served = 0, not launch.metrics.wanted
    while not done.wait(FEED_S if turn else 0.0):
        if not served and turn % RETRY_TURNS == 0:
            try:
                serve_metrics(launch.metrics, labelled)
                served = True
            except GaitdError as error:
                if turn == 0:
                    say(f"{error}; trying again every second")
        counted = progress.row("counted")
        for place, (slot, worker) in enumerate(zip(launch.slots, workers, strict=True)):
            feed = partial(headroom.feed, policy=policy_in(slot))
            counted[place] = histograms.feed(worker.steps, counted[place], feed)
        desk.look()
        if recorder is not None:
            if turn % MACHINE_TURNS == 0:
                sample = read_machine(guard.words.row("worker_pid")[guard.words["holder"]])
                memories.machine.append(MachineSample(time.monotonic_ns(), sample))
            recorder.look()
            note.look()
        if shift is not None:
            shift.look()
        turn += 1
    desk.close()
    if recorder is not None:
        signal.alarm(LAST_S)
        recorder.finish(guardian_died=os.getppid() != spawner_pid)
        note.look()
    if shift is not None:
        shift.finish()
    return 0


def _hear_of_the_guardians_death(done: threading.Event) -> int:
    """With the guardian goes its spawner, this process's parent; returns the parent's process id.

    Until here the kernel would have killed this process with it. Now there may be something to write.
    """
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        done.set()
    return parent


if __name__ == "__main__":
    sys.exit(main())
