"""What reads foreign bytes in Python: each target checks one input, for atheris and for hypothesis."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from fuzz.mutate import good
from fuzz.oracle import Peers, is_command, is_raw_observation, is_reply, is_request, is_state
from fuzz.readers import PythonReaders
from gaitd.bundle.read import decode_manifest, open_bundle
from gaitd.errors import InputError
from gaitd.shared.message_ring import RingReader, RingShape, RingWriter
from gaitd.system.config import Config
from gaitd.system.config_doc import documented
from gaitd.system.config_files import load_config
from gaitd.telemetry.channels import recorded_dtype
from gaitd.telemetry.recording import Recording, RecordingInfo, read_recording, write_recording
from support.bundles import npz, write_small_bundle
from support.rings import written_ring

Read = TypeVar("Read")
MAX_ERROR_CHARACTERS = 5000
VECTORS = Path(__file__).parents[2] / "proto/golden/vectors.json"


@dataclass(frozen=True)
class Target:
    """Something that reads foreign bytes."""

    check: Callable[[bytes], None]
    """Raises when the reader does what it must not."""
    seeds: list[bytes]
    """Good inputs to begin with."""


def messages(scratch: Path) -> Target:
    """The messages of the data path: the first byte says how many joints, and of which kind."""
    readers = PythonReaders(open_bundle(write_small_bundle(scratch / "small.gaitd")))

    def check(data: bytes) -> None:
        if not data:
            return
        peers, message = Peers(joints=1 + data[0] // 2 % 64), data[1:]
        if data[0] % 2:
            assert readers.command(message, peers) == is_command(message, peers)
        else:
            expected = is_state(message, peers) or is_raw_observation(message, peers)
            assert readers.sample(message, peers) == expected

    vectors = json.loads(VECTORS.read_text())
    return Target(
        check,
        [
            bytes([2 * (vector["joints"] - 1) + (vector["kind"] == "command")]) + bytes.fromhex(vector["hex"])
            for vector in vectors
        ],
    )


def control(scratch: Path) -> Target:
    """Requests, as the guardian answers them, and replies, as gaitctl reads them."""
    readers = PythonReaders(open_bundle(write_small_bundle(scratch / "small.gaitd")))

    def check(data: bytes) -> None:
        peers = readers.peers
        assert readers.request(data, peers) == is_request(data, peers)
        expected = is_reply(data)
        assert expected is None or readers.reply(data, peers) == expected

    rng = random.Random(1)
    kinds = ["request"] * 40 + ["reply"] * 5
    return Target(check, [b"\x95" + b"".join(good(rng, kind, readers.peers)) for kind in kinds])


def config(scratch: Path) -> Target:
    """gaitd.toml."""
    path = scratch / "gaitd.toml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        _read(lambda: load_config(path))

    return Target(
        check,
        [documented(Config()).encode(), b"[guard]\ndeadline_periods = 5\n", b"a = 1979-05-27T07:32:00Z"],
    )


def manifest(scratch: Path) -> Target:
    """manifest.yaml in a bundle that is whole in everything else."""
    path = write_small_bundle(scratch / "small")
    text = (path / "manifest.yaml").read_bytes()

    def check(data: bytes) -> None:
        (path / "manifest.yaml").write_bytes(data)
        if _read(lambda: decode_manifest(data, "here")) is not None:
            _read(lambda: open_bundle(path))

    compact = yaml.safe_dump(yaml.safe_load(text), default_flow_style=True).encode()
    return Target(check, [text, compact, yaml.safe_dump(_all_of_format_2(yaml.safe_load(text))).encode()])


def _all_of_format_2(small: dict[str, Any]) -> dict[str, Any]:
    """The small bundle's manifest with every key of format 2."""
    wheel = {"joints": ["knee"], "target": "velocity", "scale": 5.0, "damping_nms_per_rad": 0.5}
    part = {"name": "past", "history": {"length": 3, "order": "newest_first", "fill": "zeros"}}
    return {
        **small,
        "format": 2,
        "held_joints": {"joints": ["hip"], "stiffness_nm_per_rad": 9.0, "damping_nms_per_rad": 1.0},
        "continuous_joints": ["knee"],
        "default_joint_position_rad": [0.0, -0.65],
        "inputs": [{"name": "height", "size": 2, "unit": "m", "min": 0.1, "max": 0.4}],
        "phases": {
            "trot": {
                "period_s": 0.6,
                "offsets_turns": [0.0, 0.5],
                "gate": {"below": 0.1, "clock": "freezes", "values": "zero"},
            },
            "step": {"period_s": 0.5, "gate": {"below": 0.1, "turns": 0.5}},
        },
        "motion": {"arrays": {"pose": 3}, "at_end": "repeat"},
        "observation": {
            "parts": [{"name": "now"}, part],
            "terms": [
                {"term": "input", "name": "height", "part": "now"},
                {"term": "phase", "name": "trot", "part": "now"},
                {"term": "velocity_command", "axes": ["turn", "forward"], "part": "now"},
                {"term": "motion", "name": "pose", "part": "past"},
                {"term": "joint_velocity", "joints": ["knee", "hip"], "part": "past"},
            ],
        },
        "action": [
            {
                "joints": ["thigh"],
                "target": "torque",
                "scale": 9.0,
                "low_pass": {"share": 0.5},
                "target_clip": {"min_nm": -5.0, "max_nm": 5.0},
            },
            wheel,
        ],
        "brake": {"stiffness_nm_per_rad": 50.0, "max_nm": 5.0},
        "limits": {
            "position": {"min_rad": [-0.6, -3.5], "max_rad": [0.6, 0.4]},
            "velocity": {"max_rad_per_s": 20.0},
            "acceleration": {"max_rad_per_s2": 99.0, "response": "damp"},
            "torque": {"max_nm": 9.0},
            "torque_rate": {"max_nm_per_s": 99.0},
            "repetition": {"max_turn_rad": 1.0},
        },
        "models": [
            {"name": "encoder", "inputs": {"obs": ["past"]}, "size": 4, "every_steps": 5, "backend": "onnx"},
            {"name": "walker", "inputs": {"obs": ["now", "encoder"]}, "npu_core": "1"},
        ],
    }


def bundle(scratch: Path) -> Target:
    """A bundle's zip. Whatever is let in must be what was signed for."""
    path = write_small_bundle(scratch / "small.gaitd")
    whole = open_bundle(path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in whole.files.items():
            archive.writestr(name, content)
    seeds = [path.read_bytes(), packed.getvalue()]

    def check(data: bytes) -> None:
        path.write_bytes(data)
        got = _read(lambda: open_bundle(path))
        assert got is None or got.id != whole.id or got.files == whole.files

    return Target(check, seeds)


def golden(scratch: Path) -> Target:
    """golden.npz, of whose digest it is supposed that it agrees."""
    whole = open_bundle(write_small_bundle(scratch / "small"))

    def check(data: bytes) -> None:
        _read(replace(whole, files={"golden.npz": data}).golden)

    few = {"observation": np.zeros((2, 18), np.float32), "action": np.zeros((2, 3), np.float32)}
    packed = io.BytesIO()
    np.savez_compressed(packed, **few)  # type: ignore[arg-type]
    return Target(check, [npz(**few), packed.getvalue()])


def recording(scratch: Path) -> Target:
    """An MCAP file, as calibration reads it."""
    path = scratch / "recording.mcap"
    info = RecordingInfo(
        policy_id="0" * 16,
        policy="small 1.0.0",
        bundle="small.gaitd",
        period_s=0.012,
        joints=["hip", "thigh", "knee"],
        cause="request",
        clock_offset_ns=0,
    )
    stream = io.BytesIO()
    write_recording(stream, Recording(info=info, records=np.zeros(2, recorded_dtype(3))))

    def check(data: bytes) -> None:
        path.write_bytes(data)
        _read(lambda: read_recording(path))

    return Target(check, [stream.getvalue()])


def ring(scratch: Path) -> Target:
    """A ring of shared memory behind its head, as a worker reads it."""
    shape = RingShape(4, 128)

    def check(data: bytes) -> None:
        memory = memoryview(bytearray(written_ring(shape)))
        rest = data[: len(memory) - 64]
        memory[64 : 64 + len(rest)] = rest
        reader = RingReader(memory, shape)
        for _ in range(2 * shape.records + 2):  # one look to doubt, one to give up
            taken = reader.take()
            assert taken is None or 0 < len(taken) <= shape.room
        writer = RingWriter(memory, shape)
        for _ in range(2):  # the counter may have been at its end
            writer.append(b"goes on")
        assert b"goes on" in (reader.take() for _ in range(2 * shape.records))

    return Target(check, [written_ring(shape)[64:]])


def planted(scratch: Path) -> Target:
    """A reader with a mistake that random bytes hardly ever meet, to see whether fuzzing finds it."""

    def check(data: bytes) -> None:
        if data[:1] == b"g" and data[1:2] == b"a" and data[2:3] == b"i" and data[3:4] == b"t":
            raise RuntimeError("the planted mistake")

    return Target(check, [b"junk"])


def _read(reader: Callable[[], Read]) -> Read | None:
    """What it read; None when it refused with one line for a person. Anything else is a finding."""
    try:
        return reader()
    except InputError as error:
        if not str(error).isprintable() or len(str(error)) > MAX_ERROR_CHARACTERS:
            raise AssertionError(f"not one line: {str(error)!r}") from error
        return None


TARGETS: dict[str, Callable[[Path], Target]] = {
    target.__name__: target
    for target in (messages, control, config, manifest, bundle, golden, recording, ring)
}
