"""Recordings: what the processes left in their memory as an MCAP file, and back.

Each subject has a channel in the messages of ROS 2 (gaitd.telemetry.channels), so that tools show them
without a plug-in. What holds for the whole file is its metadata, and the policy's manifest is attached: both
come first, so that a file that was cut can be read up to its last whole chunk. A damaged chunk is left out.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from mcap.exceptions import McapError
from mcap.records import Attachment, Channel, Chunk, McapRecord, Metadata
from mcap.records import Message as FileMessage
from mcap.stream_reader import CRCValidationError, StreamReader, breakup_chunk
from mcap.writer import CompressionType, Writer

import gaitd
from gaitd.errors import InputError
from gaitd.shared.events import Event, EventKind
from gaitd.shared.frame_ring import frame_record_dtype
from gaitd.shared.shadow import QUANTILES, ShadowReport
from gaitd.system.plain_file import open_plain
from gaitd.telemetry.channels import (
    DIAGNOSTICS,
    FRAME,
    LOG,
    STEP,
    Channels,
    Message,
    Orders,
    recorded_dtype,
    step_times_ns,
)
from gaitd.telemetry.event_messages import (
    MACHINE,
    SHADOW,
    diagnostic,
    read_diagnostic,
    read_event,
    read_log_line,
)
from gaitd.wire.generated import MAX_JOINTS

METADATA = "gaitd"
COUNTERS = "gaitd counters"
MANIFEST = "manifest.yaml"
FORMAT = 2
CHUNK_BYTES = 256 * 1024
PIECE = 500
"""Steps and messages that are taken into a file at a time: each becomes several messages of the file, and a
minute of them at a high rate would take 200 MB, of which the allocator keeps most."""
MAX_RECORD_BYTES = 64 << 20
MAX_BYTES = 512 * 1024 * 1024
"""A minute at 83 Hz has 15 MB for 12 joints; a part of a shift at most an eighth of what all may have."""

_UNREADABLE = (
    McapError,
    struct.error,
    EOFError,
    ValueError,
    KeyError,
    AssertionError,
    OverflowError,
    MemoryError,
    RuntimeError,
    msgspec.MsgspecError,
)
"""What reading a file that is not whole can end in."""


class RecordingInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a whole recording."""

    policy_id: str
    policy: str
    """Name and version."""
    bundle: str
    """The bundle's file or directory name."""
    period_s: float
    joints: list[str]
    """In the policy's order, which is that of all joint arrays."""
    cause: str
    """The reason of the damping; ``request``, ``shift`` or ``guardian_died``."""
    clock_offset_ns: int
    """Add it to the records' CLOCK_MONOTONIC times for Unix time."""
    deadline_s: float = 0.0
    """Without a command for so long: damping."""
    state_max_age_s: float = 0.0
    """An older state is not answered."""
    observation_dim: int = 0
    backend: str = ""
    format: int = FORMAT
    gaitd: str = gaitd.__version__
    """The version that wrote it."""


@dataclass(frozen=True, slots=True)
class MachineSample:
    """How the machine did at one moment; what the kernel does not tell is absent."""

    at_ns: int
    """CLOCK_MONOTONIC."""
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ShadowSample:
    """What a shadow told at one moment of how it does."""

    at_ns: int
    """CLOCK_MONOTONIC."""
    text: str
    """Its verdict, for people."""
    values: Mapping[str, str]

    @classmethod
    def of(cls, at_ns: int, report: ShadowReport) -> ShadowSample:
        """The report, flat: a quantile's name ends in it, as in ``difference_hip_0.99``, rad."""
        values = {"policy": report.policy, "policy_id": report.policy_id, "against": report.against}
        counts = ("compared", "missed", "left_out", "another_policy", "one_only", "not_finite", "errors")
        for name in counts:
            values[name] = str(getattr(report, name))
        for kind, by_name in (("refused", report.refused), ("clamped", report.clamped)):
            values |= {f"{kind}_{name}": str(count) for name, count in by_name.items()}
        for name, numbers in (("step_s", report.step_s), ("cpu_s", report.cpu_s), *_differences(report)):
            pairs = zip(QUANTILES, numbers, strict=True)
            values |= {f"{name}_{quantile:g}": f"{value:.4g}" for quantile, value in pairs}
        return cls(at_ns, f"{report.verdict}: {report.why}", values)


def _differences(report: ShadowReport) -> Iterable[tuple[str, Sequence[float]]]:
    return ((f"difference_{joint}", numbers) for joint, numbers in report.joints.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What one recording holds, each kind oldest first."""

    info: RecordingInfo
    records: npt.NDArray[Any]
    """Steps (gaitd.telemetry.channels.recorded_dtype)."""
    frames: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, frame_record_dtype(0, 0)))
    """The messages that the worker got (gaitd.shared.frame_ring)."""
    events: list[Event] = field(default_factory=list)
    machine: list[MachineSample] = field(default_factory=list)
    shadow: list[ShadowSample] = field(default_factory=list)
    """Of a candidate that ran beside the policy."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """What gaitd had counted since its start, when the file was begun."""
    manifest: bytes = b""
    is_cut: bool = False
    """The file ends before its end: what came last is missing."""
    damaged: int = 0
    """Parts of the file that are damaged, and left out."""

    @property
    def whole(self) -> bool:
        """Nothing that was written is missing."""
        return not self.lack

    @property
    def lack(self) -> str:
        """What is missing of the file, in words; empty for nothing."""
        parts = ["its end is missing"] if self.is_cut else []
        parts += [f"{self.damaged} damaged parts of it are left out"] if self.damaged else []
        return "the file is not whole: " + ", ".join(parts) if parts else ""


def wall_clock_offset_ns() -> int:
    """Unix time minus CLOCK_MONOTONIC, now."""
    return time.time_ns() - time.monotonic_ns()


class RecordingWriter:
    """One file, from its metadata on. Raises OSError as the stream does."""

    def __init__(
        self,
        stream: IO[bytes],
        recording: Recording,
        *,
        compress: bool = False,
        orders: Orders | None = None,
    ) -> None:
        """``recording``: its info, counters and manifest are written. ``orders``: known from files before."""
        info = recording.info
        self._info = info
        self._stream = stream
        self._orders = orders or Orders()
        self._channels = Channels(info.joints, info.observation_dim, info.clock_offset_ns)
        compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._writer = Writer(stream, CHUNK_BYTES, compression)
        self._writer.start("ros2", f"gaitd {info.gaitd}")
        texts = {key: _text(value) for key, value in msgspec.to_builtins(info).items()}
        self._writer.add_metadata(METADATA, texts)
        self._writer.add_metadata(COUNTERS, {name: str(count) for name, count in recording.counters.items()})
        self._writer.add_attachment(0, time.time_ns(), MANIFEST, "application/yaml", recording.manifest)
        self._ids: dict[str, int] = {}
        schemas: dict[str, int] = {}
        for topic, (name, text) in self._channels.describe().items():
            if name not in schemas:
                schemas[name] = self._writer.register_schema(name, "ros2msg", text.encode())
            self._ids[topic] = self._writer.register_channel(topic, "cdr", schemas[name])

    def add(self, part: Recording) -> None:
        """Add what ``part`` holds, in the order of time."""
        self._orders.learn(part.events)
        for piece in _pieces(part):
            self._add_piece(piece)

    def _add_piece(self, part: Recording) -> None:
        channels, offset_ns = self._channels, self._info.clock_offset_ns
        messages: list[Message] = [
            *channels.of_steps(part.records),
            *(channels.of_frames(part.frames, self._orders) if len(part.frames) else ()),
            *channels.of_events(part.events, self._info.joints),
        ]
        for sample in part.machine:
            values = {name: f"{value:.6g}" for name, value in sample.values.items()}
            at_ns = sample.at_ns + offset_ns
            messages.append(Message(at_ns, DIAGNOSTICS, 0, diagnostic(at_ns, 0, MACHINE, "", values)))
        for told in part.shadow:
            at_ns = told.at_ns + offset_ns
            status = diagnostic(at_ns, 0, SHADOW, told.text, told.values)
            messages.append(Message(at_ns, DIAGNOSTICS, 0, status))
        for message in sorted(messages, key=_log_time):
            self._writer.add_message(
                self._ids[message.topic], message.log_ns, message.data, message.log_ns, message.sequence
            )

    def flush(self) -> None:
        """What was added is in the stream, and readable when nothing more comes."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """The file's end and index."""
        self._writer.finish()  # type: ignore[no-untyped-call]


def write_recording(stream: IO[bytes], recording: Recording) -> None:
    """Write one recording. Raises OSError as the stream does."""
    writer = RecordingWriter(stream, recording)
    writer.add(recording)
    writer.finish()


def read_recording(path: Path) -> Recording:
    """Read a recording, or what is whole of one that is damaged. Raises InputError for anything else."""
    found = _Found()
    try:
        with open_plain(path, MAX_BYTES) as stream:
            found.read(stream)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if found.metadata is None:
        raise InputError(
            f"{path}: {found.problem}"
            if found.problem
            else f"{path}: an MCAP file, but not a recording of gaitd"
        )
    form = found.metadata.get("format", "1")
    if form != str(FORMAT):
        raise InputError(
            f"{path}: a recording of format {form}, written by gaitd {found.metadata.get('gaitd', '?')}; "
            f"this gaitd reads format {FORMAT}; explain and replay it with that version"
        )
    try:
        return found.recording()
    except _UNREADABLE as error:
        raise InputError(f"{path}: not a recording of gaitd: {_one_line(error)}") from None


class _Read(NamedTuple):
    """A message of a file."""

    log_ns: int
    sequence: int
    data: bytes


class _Found:
    """What a file turned out to hold, so far."""

    def __init__(self) -> None:
        self.metadata: Mapping[str, str] | None = None
        self.problem = ""
        self._counters: Mapping[str, str] = {}
        self._manifest = b""
        self._channels: dict[str, int] = {}
        self._messages: dict[int, list[_Read]] = {}
        """By channel: which topic that is may come behind them, where the first chunk is damaged."""
        self._is_cut = False
        self._damaged = 0

    def read(self, stream: IO[bytes]) -> None:
        """Take what is there and whole. Raises OSError."""
        try:
            try:
                self._read_on(StreamReader(stream, False, True, True, MAX_RECORD_BYTES))
            except CRCValidationError:  # at the end of the data, of all of it; the index comes then
                self._damaged = max(1, self._damaged)
                self._read_on(StreamReader(stream, True, True, False, MAX_RECORD_BYTES))
        except _UNREADABLE as error:
            self._is_cut = True
            self.problem = f"not a whole recording: {_one_line(error)}"

    def _read_on(self, reader: StreamReader) -> None:
        for record in reader.records:
            self._take(self._parts(record) if isinstance(record, Chunk) else [record])

    def _parts(self, chunk: Chunk) -> list[McapRecord]:
        try:
            return breakup_chunk(chunk, validate_crc=True)
        except _UNREADABLE:
            self._damaged += 1
            return []

    def _take(self, records: Iterable[McapRecord]) -> None:
        for record in records:
            if isinstance(record, FileMessage):
                message = _Read(record.log_time, record.sequence, record.data)
                self._messages.setdefault(record.channel_id, []).append(message)
            elif isinstance(record, Channel):
                self._channels[record.topic] = record.id
            elif isinstance(record, Metadata) and record.name == METADATA:
                self.metadata = record.metadata
            elif isinstance(record, Metadata) and record.name == COUNTERS:
                self._counters = record.metadata
            elif isinstance(record, Attachment) and record.name == MANIFEST:
                self._manifest = record.data

    def _of(self, topic: str) -> list[_Read]:
        return self._messages.get(self._channels.get(topic, 0), [])

    def recording(self) -> Recording:
        info = _info(self.metadata or {})
        channels = Channels(info.joints, info.observation_dim, info.clock_offset_ns)
        steps = channels.step.read([message.data for message in self._of(STEP)])
        records = np.zeros(len(steps), recorded_dtype(len(info.joints), info.observation_dim))
        for name in records.dtype.names or ():
            records[name] = steps[name]
        frames = channels.read_frames([message.data for message in self._of(FRAME)])
        frames["index"] = [message.sequence for message in self._of(FRAME)]
        events, machine, shadow = self._happened(info)
        return Recording(
            info=info,
            records=records,
            frames=frames,
            events=events,
            machine=machine,
            shadow=shadow,
            counters={name: int(count) for name, count in self._counters.items()},
            manifest=self._manifest,
            is_cut=self._is_cut,
            damaged=self._damaged,
        )

    def _happened(self, info: RecordingInfo) -> tuple[list[Event], list[MachineSample], list[ShadowSample]]:
        events, machine, shadow = [], [], []
        for _, _, data in self._of(DIAGNOSTICS):
            name, text, values = read_diagnostic(data)
            stamp = np.frombuffer(data, "<i4", 2, 4)
            at_ns = int(stamp[0]) * 1_000_000_000 + int(stamp[1]) - info.clock_offset_ns
            if name == SHADOW:
                shadow.append(ShadowSample(at_ns, text, values))
            elif name == MACHINE:
                machine.append(MachineSample(at_ns, {key: float(value) for key, value in values.items()}))
            else:
                events.append(read_event(name, values))
        for log_ns, _, data in self._of(LOG):
            level, text = read_log_line(data)
            at_ns = log_ns - info.clock_offset_ns
            events.append(Event(at_ns=at_ns, kind=EventKind.LOG, code=level, text=text))
        return sorted(events, key=lambda event: event.at_ns), machine, shadow


def _info(metadata: Mapping[str, str]) -> RecordingInfo:
    texts = dict(metadata)
    joints = msgspec.json.decode(texts.pop("joints"), type=list[str])
    info = msgspec.convert({**texts, "joints": joints}, RecordingInfo, strict=False)
    if not (0 < len(joints) <= MAX_JOINTS and 0 <= info.observation_dim <= 1 << 20 and info.period_s > 0):
        raise ValueError("its metadata is not that of a robot")
    return info


def _pieces(part: Recording) -> Iterator[Recording]:
    """The same one after the other, each later than the one before."""
    steps_ns, frames_ns = step_times_ns(part.records), part.frames["received_ns"]
    edges_ns = np.sort(np.concatenate([steps_ns, frames_ns]))[PIECE::PIECE]

    def piece_of(at_ns: npt.ArrayLike) -> npt.NDArray[np.intp]:
        return np.searchsorted(edges_ns, np.asarray(at_ns, np.uint64), side="right")

    of_steps, of_frames = piece_of(steps_ns), piece_of(frames_ns)
    of_events = piece_of([each.at_ns for each in part.events])
    of_machine = piece_of([each.at_ns for each in part.machine])
    of_shadow = piece_of([each.at_ns for each in part.shadow])
    for number in range(len(edges_ns) + 1):
        yield replace(
            part,
            records=part.records[of_steps == number],
            frames=part.frames[of_frames == number],
            events=list(compress(part.events, of_events == number)),
            machine=list(compress(part.machine, of_machine == number)),
            shadow=list(compress(part.shadow, of_shadow == number)),
        )


def _log_time(message: Message) -> int:
    return message.log_ns


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
