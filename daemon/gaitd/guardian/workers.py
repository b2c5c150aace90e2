"""The workers of one gaitd by slot: what each is started with, and whom it follows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gaitd.backends import BackendName
from gaitd.bundle import Bundle
from gaitd.guardian.backend_choice import BackendChoice
from gaitd.guardian.child import Child
from gaitd.guardian.lanes import Lanes
from gaitd.guardian.launches import worker_launch
from gaitd.guardian.streams import StreamDesk
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.policy.manifest import Stream
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.launch import Followed, FollowLaunch
from gaitd.shared.lifeline import create_lifeline, map_lifeline
from gaitd.shared.memory import read_only
from gaitd.shared.processes import POLICY_SLOTS, STANDBY_SLOT, WORKER_SLOT, WORKERS, ChildProcess, policy_in
from gaitd.shared.worker_memory import WorkerMemory, WorkerShape
from gaitd.system.config import Config

CPU_BACKENDS: list[BackendName] = ["onnx"]
"""Of the standby, and of the policies beside the first one: two models at once may freeze an NPU."""
METRICS_WINDOW_S = 5.0
"""Of steps in a worker's memory without a flight recorder: telemetry looks ten times a second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One worker that there is to be."""

    row: ChildProcess
    bundle: Bundle
    backends: list[BackendName]


def plan_workers(
    bundle: Bundle,
    beside: Sequence[Bundle],
    backends: list[BackendName],
    rows: Mapping[int, ChildProcess],
    *,
    standby: bool,
) -> dict[int, Plan]:
    """What runs, by slot. ``rows``: where a slot's row is not that of the table of processes."""
    plans = {WORKER_SLOT: (bundle, backends)}
    if standby:
        plans[STANDBY_SLOT] = (bundle, CPU_BACKENDS)
    plans |= {slot: (other, CPU_BACKENDS) for slot, other in zip(POLICY_SLOTS[1:], beside, strict=False)}
    return {slot: Plan(rows.get(slot, WORKERS[slot]), *plan) for slot, plan in plans.items()}


class Workers:
    """The worker, the standby where there is one, and those of further policies."""

    def __init__(
        self,
        plans: Mapping[int, Plan],
        config: Config,
        guard: GuardMemory,
        start: Callable[[Child, int], None],
        lanes: Lanes | None,
        streams: StreamDesk | None,
    ) -> None:
        """``plans``: by slot. ``lanes``, ``streams``: where they are served."""
        self._plans = plans
        self.by_slot: dict[int, WorkerProcess] = {}
        self.standby_is_ready = False
        """It could take over, or has (gaitd.guardian.readiness)."""
        shape = _worker_shape(plans[WORKER_SLOT].bundle, config)
        memories = {slot: WorkerMemory.create(*shape) for slot in plans}
        self._wake_fds: dict[int, int] = {}
        for slot, plan in plans.items():
            follow = self._follow(slot, plans, memories)
            lifeline_fd, memory, bundle = create_lifeline(), memories[slot], plan.bundle
            launch = worker_launch(
                bundle,
                plan.backends,
                config,
                slot,
                guard,
                memory,
                lifeline_fd,
                follow,
                None if lanes is None else lanes.launch(slot),
                [] if streams is None else streams.launch(bundle.manifest.streams),
            )
            child, choice = Child(plan.row, *launch), BackendChoice(plan.backends)
            self.by_slot[slot] = WorkerProcess(child, choice, memory, map_lifeline(lifeline_fd), start, slot)

    @property
    def all(self) -> list[WorkerProcess]:
        """By slot, those that there are."""
        return list(self.by_slot.values())

    @property
    def standby(self) -> WorkerProcess | None:
        """The one that follows; None without."""
        return self.by_slot.get(STANDBY_SLOT)

    def streams(self, slot: int) -> list[Stream]:
        """Of the policy of the worker there."""
        return self._plans[slot].bundle.manifest.streams

    def wake(self, slot: int) -> None:
        """The lease has come to it. Its standby, if it has one, hears of that, too, and stands by for it."""
        os.eventfd_write(self._wake_fds[slot], 1)
        if slot == WORKER_SLOT and self.standby is not None:
            os.eventfd_write(self._wake_fds[STANDBY_SLOT], 1)

    def _follow(
        self, slot: int, plans: Mapping[int, Plan], memories: Mapping[int, WorkerMemory]
    ) -> FollowLaunch | None:
        """Whom it follows; None: nobody, a worker beside which there is a standby at most."""
        alone = all(policy_in(each) == 0 for each in plans)
        if slot == WORKER_SLOT and alone:
            return None
        self._wake_fds[slot] = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        others = {
            other: _followed(memories[other], plan.bundle, same_policy=policy_in(other) == policy_in(slot))
            for other, plan in plans.items()
            if other != slot
        }
        return FollowLaunch(others=others, wake_fd=self._wake_fds[slot])


def _followed(memory: WorkerMemory, bundle: Bundle, *, same_policy: bool) -> Followed:
    fd = read_only(memory.fd)
    if same_policy:
        return Followed(memory_fd=fd)
    mapper = bundle.pipeline().mapper
    return Followed(memory_fd=fd, stiffness=mapper.stiffness.tolist(), damping=mapper.damping.tolist())


def _worker_shape(bundle: Bundle, config: Config) -> WorkerShape:
    """Room for what the flight recorder is to keep; without one, for what the metrics need.

    One shape for all, that of the first policy: they come into one recording.
    """
    manifest, recorder = bundle.manifest, config.recorder
    window_s = recorder.window_s if recorder.wanted else METRICS_WINDOW_S
    dim = bundle.pipeline().builder.dim if recorder.wanted else 0
    return WorkerShape.for_window(len(manifest.joints), dim, manifest.control_period_s, window_s)
