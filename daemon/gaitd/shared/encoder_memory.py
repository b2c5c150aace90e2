"""An encoder's memory: that it lives, and what it took and made. Only that encoder writes it.

It outlives the process: a fresh one goes on counting where the last one ended.
"""

from __future__ import annotations

from gaitd.policy.stream import FrameFault
from gaitd.shared import memory
from gaitd.shared.memory import Words, aligned

ENCODER_WORDS = {"heartbeat_ns": 1, "frames": 1, "refused": len(FrameFault), "encoded": 1, "took_ns": 1}
"""Name and number of 8-byte words. ``frames``: taken of what it encodes; ``refused``: not taken, by fault.
``encoded``: frames that it made; ``took_ns``: how long the newest of them took."""

_LAYOUT = f"encoder {ENCODER_WORDS}"


class EncoderMemory:
    """The memory file, as its owner or as a reader."""

    def __init__(self, fd: int, *, writable: bool) -> None:
        """Raises ReplacedError when ``fd`` is no such file of this version."""
        self.fd = fd
        memory.read_head(fd, _LAYOUT, 0)
        mapped = memory.map_memory(fd, writable=writable)
        self.words = Words(mapped[memory.HEAD_BYTES :], ENCODER_WORDS)

    @classmethod
    def create(cls) -> EncoderMemory:
        """The guardian makes the file, keeps its descriptor for the processes to come, and reads."""
        size = memory.HEAD_BYTES + aligned(8 * sum(ENCODER_WORDS.values()))
        return cls(memory.create_memory("gaitd-encoder", size, memory.make_head(_LAYOUT)), writable=False)
