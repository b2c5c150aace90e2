"""What the children are given at their start: one JSON argument, and the descriptors that they inherit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gaitd.backends import BackendName
from gaitd.bundle import Bundle
from gaitd.bundle.read import MANIFEST
from gaitd.errors import printable
from gaitd.guardian.policies import title_of
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.lanes import LanesLaunch
from gaitd.shared.launch import Beside, FollowLaunch, TelemetryLaunch, WorkerLaunch
from gaitd.shared.memory import create_memory, read_only
from gaitd.shared.processes import policy_in
from gaitd.shared.telemetry_memory import TelemetryMemory
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Config

Launch = tuple[Callable[[int], str], list[int]]
"""Makes the argument, given the descriptor that the child may report to; and what else it inherits."""


def worker_launch(
    bundle: Bundle,
    backends: list[BackendName],
    config: Config,
    slot: int,
    guard: GuardMemory,
    memory: WorkerMemory,
    lifeline_fd: int,
    follow: FollowLaunch | None,
    lanes: LanesLaunch | None,
    stream_fds: list[int],
) -> Launch:
    """The worker writes its slot's memory and reads the guardian's, and those of whom it follows."""
    guard_fd = read_only(guard.fd)

    def argument(report_fd: int) -> str:
        launch = WorkerLaunch(
            bundle=os.fsencode(bundle.path.resolve()),
            bundle_id=bundle.id,
            backends=backends,
            slot=slot,
            guard_memory_fd=guard_fd,
            worker_memory_fd=memory.fd,
            lifeline_fd=lifeline_fd,
            report_fd=report_fd,
            config=config,
            policy_index=policy_in(slot),
            follow=follow,
            lanes=lanes,
            stream_fds=stream_fds,
        )
        return msgspec.json.encode(launch).decode()

    own = [guard_fd, memory.fd, lifeline_fd, *stream_fds, *(lanes.fds if lanes is not None else ())]
    if follow is None:
        return argument, own
    return argument, [*own, *(other.memory_fd for other in follow.others.values()), follow.wake_fd]


def telemetry_launch(
    bundle: Bundle,
    backends: list[BackendName],
    config: Config,
    guard: GuardMemory,
    memories: Mapping[int, WorkerMemory],
    beside: Sequence[Bundle] = (),
    streams: Mapping[int, list[str]] | None = None,
    encoder_fds: Mapping[str, int] | None = None,
) -> Launch:
    """Telemetry reads the others' memory and has its own; it has nothing to report. ``memories``: by slot."""
    manifest, realtime = bundle.manifest, config.realtime
    own = TelemetryMemory.create(len(manifest.joints))
    launch = TelemetryLaunch(
        guard_memory_fd=read_only(guard.fd),
        worker_memory_fds=[read_only(memory.fd) for memory in memories.values()],
        slots=tuple(memories),
        telemetry_memory_fd=own.fd,
        manifest_fd=_manifest_fd(bundle),
        metrics=config.metrics,
        recorder=config.recorder,
        period_s=manifest.control_period_s,
        deadline_s=manifest.control_period_s * config.guard.deadline_periods,
        state_max_age_s=manifest.control_period_s * config.guard.state_max_age_periods,
        policy=title_of(bundle),
        beside=[Beside(policy=title_of(each), manifest_fd=_manifest_fd(each)) for each in beside],
        streams=dict(streams or {}),
        encoder_fds=dict(encoder_fds or {}),
        backends=backends,
        bundle=printable(bundle.path.name),
        joints=manifest.joints,
        runtime_dir=os.fsencode(config.daemon.runtime_dir),
        hot_cpus=sorted({*realtime.worker_cpus, *realtime.guardian_cpus, *realtime.standby_cpus}),
    )
    argument = msgspec.json.encode(launch).decode()
    manifests = [launch.manifest_fd, *(each.manifest_fd for each in launch.beside)]
    inherited = [launch.guard_memory_fd, *launch.worker_memory_fds, own.fd, *manifests]
    inherited += launch.encoder_fds.values()
    return lambda report_fd: argument, inherited


def _manifest_fd(bundle: Bundle) -> int:
    text = bundle.files[MANIFEST]
    return read_only(create_memory("gaitd-manifest", len(text), text))
