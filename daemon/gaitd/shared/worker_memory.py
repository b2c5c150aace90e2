"""A worker's memory: its heartbeat, counters, findings, steps, events, and the messages that it got.

Only the worker of that slot writes it. It outlives the worker process: a fresh one goes on counting where the
last one ended.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gaitd.policy.limits import LIMIT_NAMES
from gaitd.policy.stream import MAX_STREAMS, FrameFault
from gaitd.shared import events, findings, memory, step_ring
from gaitd.shared.events import EventRing
from gaitd.shared.findings import FindingBlock
from gaitd.shared.frame_ring import FrameRing, frame_record_dtype
from gaitd.shared.memory import Words, aligned
from gaitd.shared.record_ring import ring_bytes
from gaitd.shared.step_ring import StepRing, step_record_dtype
from gaitd.wire.generated import CauseKind

WORKER_WORDS = {
    "heartbeat_ns": 1,
    "busy_since_ns": 1,
    "last_state_ns": 1,
    "last_command_ns": 1,
    "last_command_epoch": 1,
    "state_interval_ns": 1,
    "state_interval_epoch": 1,
    "prepared_ns": 1,
    "prepared_epoch": 1,
    "unanswered_ns": 1,
    "errors_in_a_row": 1,
    "fading": 1,
    "received": 1,
    "standby": 1,
    "followed": 1,
    "steps": 1,
    "late_steps": 1,
    "missed": 1,
    "superseded": 1,
    "withheld": 1,
    "proving_pid": 1,
    "npu_weights_bytes": 1,
    "npu_internal_bytes": 1,
    "npu_dma_bytes": 1,
    "peers_disconnected": 1,
    "refused": max(CauseKind) + 1,
    "clamped": len(LIMIT_NAMES),
    "stream_stale_since_ns": MAX_STREAMS,
    "stream_frames": MAX_STREAMS,
    "stream_refused": MAX_STREAMS * len(FrameFault),
}
"""Name and number of 8-byte words. ``state_interval_ns``: how far apart the controller samples its states, in
the session of the epoch beside it; 0 until known. ``prepared_ns``: when the newest state came to which a
standby has an answer ready, in the session that another worker answers under the epoch beside it.
``unanswered_ns``: when the oldest state came to which a standby has an answer and the holder is not known to
have sent one; 0: there is none. ``errors_in_a_row``: for so many states since the last command the inference
failed.
``fading``: the newest command is part of a change of policies.
``stream_stale_since_ns``: by stream, in the policy's order; 0: it is fresh. ``stream_frames``: taken.
``stream_refused``: all faults of the first stream, then of the next.
``proving_pid``: the process that loads and proves its backend; 0 once it has.

Every received state ends in exactly one of: standby (session 0, before activate), followed (another worker
answers them), refused (itself or the
action that came of it, by cause), superseded (into the history, a newer one was answered), withheld (the
lease was gone), steps.
"""


MAX_RING_BYTES = 48 << 20
"""Of steps and messages together: a faster policy, or a longer observation, is kept for a shorter time."""


class WorkerShape(NamedTuple):
    """What a worker's memory is made for."""

    joint_count: int
    observation_dim: int = 0
    """Values of an observation that are kept with each step."""
    records: int = step_ring.RECORDS
    """Steps, and messages, that are kept."""

    @classmethod
    def for_window(
        cls, joint_count: int, observation_dim: int, period_s: float, window_s: float
    ) -> WorkerShape:
        """Enough for the steps of ``window_s``, as far as they fit into MAX_RING_BYTES."""
        step = step_record_dtype(joint_count, observation_dim).itemsize
        frame = frame_record_dtype(joint_count, observation_dim).itemsize
        wanted = math.ceil(window_s / period_s)
        return cls(joint_count, observation_dim, max(1, min(wanted, MAX_RING_BYTES // (step + frame))))


class WorkerMemory:
    """One slot's memory file, as its owner or as a reader."""

    def __init__(self, fd: int, *, writable: bool) -> None:
        """Raises ReplacedError when ``fd`` is no such file of this version."""
        self.fd = fd
        self.shape = shape = WorkerShape(*memory.read_head(fd, _LAYOUT, len(WorkerShape._fields)))
        self.joint_count = shape.joint_count
        mapped = memory.map_memory(fd, writable=writable)
        words, refusal, trip, happened, frames, ring, _ = _places(shape)
        self.words = Words(mapped[words:refusal], WORKER_WORDS)
        self.refusal = FindingBlock(mapped[refusal:trip], self.joint_count)
        """The newest state refused or action rejected in a session."""
        self.trip = FindingBlock(mapped[trip:happened], self.joint_count)
        """The newest one whose limit asks for damping."""
        self.events = EventRing(mapped[happened:frames])
        self.frames = FrameRing(mapped[frames:ring], frame_record_dtype(*shape[:2]), shape.records)
        """The messages that came, whatever became of them."""
        self.steps = StepRing(mapped[ring:], *shape)

    @classmethod
    def create(cls, *sizes: int) -> WorkerMemory:
        """The guardian makes the file for a slot, keeps its descriptor for the workers to come, and reads.

        ``sizes``: those of a WorkerShape.
        """
        shape = WorkerShape(*sizes)
        fd = memory.create_memory("gaitd-worker", _places(shape)[-1], memory.make_head(_LAYOUT, *shape))
        return cls(fd, writable=False)


def _places(shape: WorkerShape) -> list[int]:
    """Where words, refusal, trip, events, messages and steps begin, and where the file ends."""
    sizes = (
        8 * sum(WORKER_WORDS.values()),
        findings.BYTES,
        findings.BYTES,
        events.BYTES,
        ring_bytes(frame_record_dtype(*shape[:2]), shape.records),
        step_ring.COUNTERS_BYTES + shape.records * step_record_dtype(*shape[:2]).itemsize,
    )
    places = [memory.HEAD_BYTES]
    for size in sizes:
        places.append(places[-1] + aligned(size))
    return places


_LAYOUT = (
    f"worker {WORKER_WORDS} {findings.LAYOUT} {events.LAYOUT} {step_record_dtype(1, 1).descr} "
    f"{frame_record_dtype(1, 1).descr}"
)
