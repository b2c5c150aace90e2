"""Telemetry's memory: how far it got. Only telemetry writes it.

It outlives the process: a fresh one goes on where the last one ended, so that no step is counted twice and no
damping or failover goes unrecorded.
"""

from __future__ import annotations

from gaitd.shared import memory
from gaitd.shared.memory import Words, aligned
from gaitd.shared.processes import WORKERS

TELEMETRY_WORDS = {
    "counted": len(WORKERS),
    "occasions": 1,
    "recorded": len(WORKERS),
    "recorded_message": len(WORKERS),
    "recordings": 1,
    "recordings_failed": 1,
    "bytes_written": 1,
}
"""Name and number of 8-byte words: the newest step in the histograms, by slot; how many dampings and
failovers were seen to; the newest step and the newest message of a session in a recording, by slot; files
written, files that could not be, and bytes written."""

_LAYOUT = f"telemetry {TELEMETRY_WORDS}"


class TelemetryMemory:
    """The memory file, as its owner."""

    def __init__(self, fd: int) -> None:
        """Raises ReplacedError when ``fd`` is no such file of this version."""
        self.fd = fd
        memory.read_head(fd, _LAYOUT)
        self.words = Words(memory.map_memory(fd, writable=True)[memory.HEAD_BYTES :], TELEMETRY_WORDS)

    @classmethod
    def create(cls, joint_count: int) -> TelemetryMemory:
        """The guardian makes the file and keeps its descriptor for the telemetry processes to come."""
        size = memory.HEAD_BYTES + aligned(8 * sum(TELEMETRY_WORDS.values()))
        return cls(memory.create_memory("gaitd-telemetry", size, memory.make_head(_LAYOUT, joint_count)))
