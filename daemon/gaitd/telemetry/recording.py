"""Recordings: step records as an MCAP file that Foxglove opens, and back.

One channel, /gaitd/step, with one JSON message a control step; what holds for the whole file is its metadata.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

import gaitd
from gaitd.errors import InputError
from gaitd.shared.step_ring import PADDING, step_record_dtype
from gaitd.system.plain_file import open_plain

TOPIC = "/gaitd/step"
METADATA = "gaitd"
MAX_BYTES = 256 * 1024 * 1024
"""A whole ring of steps has 8 MB for 12 joints."""

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
    """The reason of the damping, or ``request``."""
    clock_offset_ns: int
    """Add it to the records' CLOCK_MONOTONIC times for Unix time."""
    gaitd: str = gaitd.__version__
    """The version that wrote it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The steps of one recording, oldest first; fields of a step record."""

    info: RecordingInfo
    records: npt.NDArray[Any]


def recorded_dtype(joint_count: int) -> np.dtype[Any]:
    """One recorded step: a step record without what belongs to its place in memory."""
    dtype = step_record_dtype(joint_count)
    return np.dtype([entry for entry in dtype.descr if entry[0] not in ("checksum", PADDING)])


def wall_clock_offset_ns() -> int:
    """Unix time minus CLOCK_MONOTONIC, now."""
    return time.time_ns() - time.monotonic_ns()


def write_recording(stream: IO[bytes], records: npt.NDArray[Any], info: RecordingInfo) -> None:
    """Write step records as MCAP. Raises OSError as the stream does."""
    dtype = recorded_dtype(len(info.joints))
    # Uncompressed: pure Python on the robot.
    writer = Writer(stream, compression=CompressionType.NONE)
    writer.start(library=f"gaitd {info.gaitd}")
    schema = writer.register_schema("gaitd.Step", "jsonschema", msgspec.json.encode(_schema(dtype)))
    channel = writer.register_channel(TOPIC, "json", schema, {"joints": " ".join(info.joints)})
    names = dtype.names or ()
    encode = msgspec.json.Encoder().encode
    for values in zip(*(records[name].tolist() for name in names), strict=True):
        step = dict(zip(names, values, strict=True))
        writer.add_message(
            channel,
            log_time=(step["sent_ns"] or step["infer_end_ns"]) + info.clock_offset_ns,
            data=encode(step),
            publish_time=step["state_stamp_ns"] + info.clock_offset_ns,
            sequence=step["seq"] & 0xFFFFFFFF,
        )
    writer.add_metadata(METADATA, {key: _text(value) for key, value in msgspec.to_builtins(info).items()})
    writer.finish()  # type: ignore[no-untyped-call]


def read_recording(path: Path) -> Recording:
    """Read a recording. Raises InputError when it is truncated, damaged or not gaitd's."""
    try:
        with open_plain(path, MAX_BYTES) as stream:
            return _read(path, stream)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except _UNREADABLE as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a whole recording: {detail}") from None


def _read(path: Path, stream: IO[bytes]) -> Recording:
    reader = make_reader(stream, validate_crcs=True)
    found = [entry.metadata for entry in reader.iter_metadata() if entry.name == METADATA]
    if not found:
        raise InputError(f"{path}: an MCAP file, but not a recording of gaitd")
    info = _info(found[0])
    dtype = recorded_dtype(len(info.joints))
    steps = [msgspec.json.decode(message.data) for _, _, message in reader.iter_messages(topics=[TOPIC])]
    records = np.zeros(len(steps), dtype)
    for name in dtype.names or ():
        # null, which JSON has for what is not finite, becomes nan.
        kind = dtype[name].base
        records[name] = np.array([step[name] for step in steps], kind).reshape(records[name].shape)
    return Recording(info, records)


def _info(metadata: Mapping[str, str]) -> RecordingInfo:
    texts = dict(metadata)
    joints = msgspec.json.decode(texts.pop("joints"), type=list[str])
    return msgspec.convert({**texts, "joints": joints}, RecordingInfo, strict=False)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _schema(dtype: np.dtype[Any]) -> dict[str, Any]:
    def kind(field: np.dtype[Any]) -> dict[str, Any]:
        scalar = {"type": "integer" if field.base.kind == "u" else "number"}
        return {"type": "array", "items": scalar} if field.shape else scalar

    properties = {name: kind(dtype[name]) for name in dtype.names or ()}
    return {"title": "gaitd.Step", "type": "object", "properties": properties}
