"""The workers of one gaitd by slot: what each is started with."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from gaitd.backends import BackendName
from gaitd.bundle import Bundle
from gaitd.guardian.backend_choice import BackendChoice
from gaitd.guardian.child import Child
from gaitd.guardian.launches import worker_launch
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import StandbyLaunch
from gaitd.shared.lifeline import create_lifeline, map_lifeline
from gaitd.shared.memory import read_only
from gaitd.shared.processes import ChildProcess
from gaitd.shared.worker_memory import WorkerMemory, WorkerShape
from gaitd.system.config import Config

STANDBY_BACKENDS: list[BackendName] = ["onnx"]
METRICS_WINDOW_S = 5.0
"""Of steps in a worker's memory without a flight recorder: telemetry looks ten times a second."""


class Workers:
    """The worker, and the standby where there is one."""

    def __init__(
        self,
        rows: Sequence[ChildProcess],
        bundle: Bundle,
        backends: list[BackendName],
        config: Config,
        guard: GuardMemory,
        start: Callable[[Child, int], None],
    ) -> None:
        """``rows``: of the table of processes, by slot."""
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.by_slot: list[WorkerProcess] = []
        shape = _worker_shape(bundle, config)
        for slot, row in enumerate(rows):
            memory = WorkerMemory.create(*shape)
            lifeline_fd = create_lifeline()
            standby, to_try = None, backends
            if slot > 0:
                standby = StandbyLaunch(
                    holder_memory_fd=read_only(self.by_slot[0].memory.fd), wake_fd=self._wake_fd
                )
                to_try = STANDBY_BACKENDS
            launch = worker_launch(bundle, to_try, config, slot, guard, memory, lifeline_fd, standby)
            self.by_slot.append(
                WorkerProcess(
                    Child(row, *launch), BackendChoice(to_try), memory, map_lifeline(lifeline_fd), start, slot
                )
            )

    @property
    def standby(self) -> WorkerProcess | None:
        """The one that follows; None without."""
        return self.by_slot[1] if len(self.by_slot) > 1 else None

    def wake_standby(self) -> None:
        """The lease has come to it."""
        os.eventfd_write(self._wake_fd, 1)


def _worker_shape(bundle: Bundle, config: Config) -> WorkerShape:
    """Room for what the flight recorder is to keep; without one, for what the metrics need."""
    manifest, recorder = bundle.manifest, config.recorder
    window_s = recorder.window_s if recorder.wanted else METRICS_WINDOW_S
    dim = bundle.pipeline().builder.dim if recorder.wanted else 0
    return WorkerShape.for_window(len(manifest.joints), dim, manifest.control_period_s, window_s)
