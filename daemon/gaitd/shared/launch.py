"""The launch protocol: what a process is told when it is started, and what a worker reports once."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gaitd.backends import BackendName
from gaitd.errors import ReplacedError
from gaitd.shared.lanes import LanesLaunch
from gaitd.shared.processes import STANDBY_SLOT, WORKER_SLOT
from gaitd.system.config import Config, Metrics, Recorder

Launch = TypeVar("Launch", "WorkerLaunch", "TelemetryLaunch", "EncoderLaunch")


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that another one may follow."""

    memory_fd: int
    """Its memory, read-only."""
    stiffness: list[float] = []
    """Nm/rad, policy's order: of its policy, where that is another one than the follower's."""
    damping: list[float] = []
    """Nm s/rad, likewise."""


class FollowLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker that follows others is told beside what every worker is told."""

    others: dict[int, Followed]
    """By slot."""
    wake_fd: int
    """An eventfd: the lease has come to it."""


class WorkerLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """The worker's one argument, as JSON. The descriptors are inherited."""

    bundle: bytes
    """Its path; one that is no UTF-8 text has no place in JSON as a string."""
    bundle_id: str
    backends: list[BackendName]
    """Those to try, in order; the guard memory tells which one is to run."""
    slot: int
    guard_memory_fd: int
    worker_memory_fd: int
    lifeline_fd: int
    report_fd: int
    config: Config
    policy_index: int
    """Index of its policy among those of this gaitd."""
    follow: FollowLaunch | None
    """None: it follows nobody."""
    lanes: LanesLaunch | None
    """None: there is no shared-memory transport."""
    stream_fds: list[int] = []
    """Read-only, one of each of its policy's streams."""


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """A policy beside the first one, as telemetry is told of it."""

    policy: dict[str, str]
    manifest_fd: int
    """Its bundle's manifest.yaml."""


class TelemetryLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """Telemetry's one argument, as JSON; others' descriptors are read-only."""

    guard_memory_fd: int
    worker_memory_fds: list[int]
    slots: tuple[int, ...] = (WORKER_SLOT, STANDBY_SLOT)
    """Of the workers whose memory that is."""
    telemetry_memory_fd: int
    manifest_fd: int
    """The bundle's manifest.yaml."""
    metrics: Metrics
    recorder: Recorder
    period_s: float
    deadline_s: float
    """Without a command for so long, an active session goes to damping."""
    state_max_age_s: float
    """An older state is not answered."""
    policy: dict[str, str]
    """Of the first policy: ``id``, ``name``, ``version``."""
    beside: list[Beside] = []
    """Further policies, in their order."""
    streams: dict[int, list[str]] = {}
    """Names of the streams of the policy of each slot."""
    encoder_fds: dict[str, int] = {}
    """Of encoders' memory, by the stream that each makes."""
    backends: list[BackendName]
    """As the worker's."""
    bundle: str
    """The bundle's file or directory name, for people."""
    joints: list[str]
    """In the policy's order."""
    runtime_dir: bytes
    """Its path."""
    hot_cpus: list[int]
    """Those that guardian and workers are pinned to; empty: they are not."""

    def place_of(self, slot: int) -> int:
        """Of a slot's memory among those of the workers; the first one's where there is no such worker."""
        return self.slots.index(slot) if slot in self.slots else 0


class EncoderLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """An encoder's one argument, as JSON. The descriptors are inherited."""

    bundle: bytes
    """Its path."""
    bundle_id: str
    stream: str
    """Name of the one that it makes."""
    frames_fd: int
    """Of what it takes, read-only."""
    stream_fd: int
    """Of what it makes; it writes it."""
    memory_fd: int
    hot_cpus: list[int]
    """Those that guardian and workers are pinned to; it stays off them."""


class WorkerReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The worker's one line to the guardian: it is ready, or why it cannot be."""

    error: str = ""
    exit_code: int = 0
    backend: str = ""
    versions: dict[str, str] = {}
    memory: dict[str, int] = {}
    """What the model takes of the NPU's memory, bytes."""
    selftest: dict[str, float] = {}
    realtime: dict[str, str] = {}
    """Real-time settings that are not available, with the fix."""


def read_launch(text: str, kind: type[Launch]) -> Launch:
    """A process's argument. Raises ReplacedError when it comes from other code than this."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise ReplacedError(f"gaitd was replaced while it ran ({error}); restart gaitd") from None
