"""A worker's memory: its heartbeat, counters, findings and steps. Only the worker of that slot writes it.

It outlives the worker process: a fresh one goes on counting where the last one ended.
"""

from __future__ import annotations

from gaitd.policy.limits import LIMIT_NAMES
from gaitd.shared import findings, memory, step_ring
from gaitd.shared.findings import FindingBlock
from gaitd.shared.memory import Words, aligned
from gaitd.shared.step_ring import StepRing
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
}
"""Name and number of 8-byte words. ``state_interval_ns``: how far apart the controller samples its states, in
the session of the epoch beside it; 0 until known. ``prepared_ns``: when the newest state came to which a
standby has an answer ready, in the session that another worker answers under the epoch beside it.
``proving_pid``: the process that loads and proves its backend; 0 once it has.

Every received state ends in exactly one of: standby (session 0, before activate), followed (another worker
answers them), refused (itself or the
action that came of it, by cause), superseded (into the history, a newer one was answered), withheld (the
lease was gone), steps.
"""


class WorkerMemory:
    """One slot's memory file, as its owner or as a reader."""

    def __init__(self, fd: int, *, writable: bool) -> None:
        """Raises ReplacedError when ``fd`` is no such file of this version."""
        self.fd = fd
        self.joint_count = memory.read_head(fd, _LAYOUT)
        mapped = memory.map_memory(fd, writable=writable)
        words = memory.HEAD_BYTES
        refusal = words + aligned(8 * sum(WORKER_WORDS.values()))
        trip = refusal + aligned(findings.BYTES)
        ring = trip + aligned(findings.BYTES)
        self.words = Words(mapped[words:refusal], WORKER_WORDS)
        self.refusal = FindingBlock(mapped[refusal:trip], self.joint_count)
        """The newest state refused or action rejected in a session."""
        self.trip = FindingBlock(mapped[trip:ring], self.joint_count)
        """The newest one whose limit asks for damping."""
        self.steps = StepRing(mapped[ring:], self.joint_count)

    @classmethod
    def create(cls, joint_count: int) -> WorkerMemory:
        """The guardian makes the file for a slot, keeps its descriptor for the workers to come, and reads."""
        record = step_ring.step_record_dtype(joint_count).itemsize
        size = memory.HEAD_BYTES + aligned(8 * sum(WORKER_WORDS.values())) + 2 * aligned(findings.BYTES)
        size += step_ring.COUNTERS_BYTES + step_ring.RECORDS * record
        fd = memory.create_memory("gaitd-worker", size, memory.make_head(_LAYOUT, joint_count))
        return cls(fd, writable=False)


_LAYOUT = (
    f"worker {WORKER_WORDS} {findings.LAYOUT} {step_ring.step_record_dtype(1).descr} {step_ring.RECORDS}"
)
