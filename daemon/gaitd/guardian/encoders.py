"""The guardian's encoders: each a child that nothing depends on, replaced when it dies or hangs."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gaitd.backends.encoder import check_onnxruntime
from gaitd.bundle import Bundle
from gaitd.guardian.child import Child
from gaitd.guardian.children import Children
from gaitd.guardian.streams import StreamDesk
from gaitd.policy.encoder import encoded
from gaitd.policy.schema_stream import Encoder, Stream
from gaitd.policy.stream import FrameFault
from gaitd.shared.encoder_memory import EncoderMemory
from gaitd.shared.launch import EncoderLaunch
from gaitd.shared.memory import read_only
from gaitd.shared.processes import encoder_row
from gaitd.system.config import Realtime
from gaitd.system.log import log

HUNG_NS = 2_000_000_000
"""An encoder that has not moved for so long is killed; what it makes was stale long before."""
START_LIMIT_NS = 60_000_000_000
"""The same of one that has not moved since its start, when it loads its model."""


@dataclass(frozen=True, slots=True)
class _Running:
    child: Child
    stream: Stream
    encoder: Encoder
    memory: EncoderMemory


class Encoders:
    """Those of all policies, by the stream that each makes. Never waits."""

    def __init__(self, bundles: Sequence[Bundle], desk: StreamDesk | None, realtime: Realtime) -> None:
        """``desk``: where the streams are. Raises BackendError where nothing here could run them."""
        self._all: dict[str, _Running] = {}
        for bundle in bundles:
            for stream, encoder in encoded(bundle.manifest.streams):
                if desk is not None and stream.name not in self._all:
                    check_onnxruntime(stream)
                    self._all[stream.name] = _prepare(bundle, stream, encoder, desk, realtime)

    @property
    def children(self) -> list[Child]:
        """Their processes."""
        return [each.child for each in self._all.values()]

    def launch(self) -> dict[str, int]:
        """Read-only descriptors of their memory, by stream, for telemetry."""
        return {name: read_only(each.memory.fd) for name, each in self._all.items()}

    def is_running(self, stream: str) -> bool:
        """Whether a process makes that stream."""
        return stream in self._all and self._all[stream].child.pid != 0

    def look(self, children: Children, now_ns: int) -> None:
        """Start again what died, and end what hangs."""
        for each in self._all.values():
            moved_ns = max(each.memory.words["heartbeat_ns"], each.child.started_ns)
            limit_ns = HUNG_NS if moved_ns > each.child.started_ns else START_LIMIT_NS
            if each.child.pid and now_ns - moved_ns > limit_ns and not each.child.has_died():
                silent_s = f"{(now_ns - moved_ns) / 1e9:.1f} s"
                log.warning(f"{each.child.name} hangs", pid=each.child.pid, silent=silent_s)
                each.child.send(signal.SIGKILL)
            children.restart_if_dead(each.child, now_ns)

    def describe(self, desk: StreamDesk | None) -> list[dict[str, Any]]:
        """Part of the reply to ``status``: one entry an encoder."""
        return [
            {
                "stream": name,
                "takes": each.encoder.takes.name,
                "producer": desk is not None and desk.is_produced(each.encoder.takes.name),
                "pid": each.child.pid,
                "starts": each.child.starts,
                "frames": each.memory.words["frames"],
                "refused": {
                    fault.name.lower(): count
                    for fault in FrameFault
                    if (count := each.memory.words.row("refused")[fault])
                },
                "encoded": each.memory.words["encoded"],
                "took_s": each.memory.words["took_ns"] / 1e9,
            }
            for name, each in self._all.items()
        ]


def _prepare(
    bundle: Bundle, stream: Stream, encoder: Encoder, desk: StreamDesk, realtime: Realtime
) -> _Running:
    memory = EncoderMemory.create()
    launch = EncoderLaunch(
        bundle=os.fsencode(bundle.path.resolve()),
        bundle_id=bundle.id,
        stream=stream.name,
        frames_fd=desk.frames_fd(encoder.takes),
        stream_fd=desk.stream_fd(stream),
        memory_fd=memory.fd,
        hot_cpus=sorted({*realtime.worker_cpus, *realtime.guardian_cpus, *realtime.standby_cpus}),
    )
    argument = msgspec.json.encode(launch).decode()
    inherited = [launch.frames_fd, launch.stream_fd, launch.memory_fd]
    child = Child(encoder_row(stream.name), lambda report_fd: argument, inherited)
    return _Running(child, stream, encoder, memory)
