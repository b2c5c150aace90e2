"""Entry point of an encoder's process: the newest frame of one stream becomes the newest frame of another.

It has the one's memory to read, the other's to write, and nothing else of gaitd: no socket, no lease. Slow,
hung or dead, what it makes grows old, as any stream does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from gaitd.backends.encoder import EncoderModel
from gaitd.bundle import open_bundle
from gaitd.errors import InputError
from gaitd.policy.encoder import EncoderStep, encoded
from gaitd.shared.encoder_memory import EncoderMemory
from gaitd.shared.launch import EncoderLaunch, read_launch
from gaitd.shared.memory import map_memory
from gaitd.shared.message_ring import RingWriter
from gaitd.shared.processes import encoder_row
from gaitd.shared.streams import StreamReader, stream_shape
from gaitd.system.background import avoid_cpus, keep_out_of_the_way
from gaitd.system.command_line import run_command
from gaitd.system.realtime import name_process, use_all_cpus

MAX_BYTES = 512 << 20
"""Of private memory; gaitd.service has 768 MB for all its processes."""
LOOK_S = 0.002
"""Between two looks for a frame: what that adds to the age of what the policy sees."""


def main() -> int:
    """Entry point of an encoder; returns its exit code (gaitd.errors)."""
    return run_command("gaitd-encoder", _run)


def _run() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the guardian decides
    launch = read_launch(sys.argv[1], EncoderLaunch)
    name_process(encoder_row(launch.stream).title)
    use_all_cpus()
    keep_out_of_the_way(MAX_BYTES)
    avoid_cpus(launch.hot_cpus)
    words = EncoderMemory(launch.memory_fd, writable=True).words
    bundle = open_bundle(Path(os.fsdecode(launch.bundle)))
    if bundle.id != launch.bundle_id:
        raise InputError(f"{bundle.path}: the bundle was changed since gaitd started; restart gaitd")
    (made,) = (each for each in encoded(bundle.manifest.streams) if each[0].name == launch.stream)
    stream, encoder = made
    step = EncoderStep(stream, EncoderModel(bundle, stream, encoder))
    frames = StreamReader(encoder.takes, launch.frames_fd, words.row("frames"), words.row("refused"))
    ring = RingWriter(map_memory(launch.stream_fd, writable=True), stream_shape(stream))
    while True:
        began_ns = time.monotonic_ns()
        words["heartbeat_ns"] = began_ns
        if frames.look(began_ns) and (frame := step.step(frames.frame)) is not None:
            ring.append(frame)
            words["encoded"] += 1
            words["took_ns"] = time.monotonic_ns() - began_ns
        time.sleep(LOOK_S)


if __name__ == "__main__":
    sys.exit(main())
