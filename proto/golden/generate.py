"""Write vectors.json: the bytes that hold the Python and the C++ codec together.

Run from the repository: ``python proto/golden/generate.py``. The output depends on nothing but this file and
the codec, so that a changed byte shows in the difference.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.codec import encode_command, encode_state
from gaitd.wire.frame import pack
from gaitd.wire.generated import (
    GUARD_SLOT,
    MAX_POLICIES,
    MAX_SLOTS,
    NO_JOINT,
    PROTOCOL_VERSION,
    STATE_FIELDS,
    CauseKind,
    MessageType,
    Mode,
    Reason,
)
from gaitd.wire.messages import Float32Array, JointCommand, RawObservation, RobotState

JOINTS = 12
OBSERVATION_DIM = 45
TARGET = Path(__file__).with_name("vectors.json")

Vector = dict[str, Any]


def values(count: int, start: float) -> Float32Array:
    """Quarters: exact in float32 and in JSON."""
    return (start + 0.25 * np.arange(count)).astype(np.float32)


def state(joints: int = JOINTS) -> RobotState:
    """A state in which every number is another one."""
    return RobotState(
        session=0x0102030405060708,
        seq=3,
        stamp_ns=123_456_789_012_345,
        angular_velocity=values(3, 1.0),
        orientation=values(4, 2.0),
        linear_acceleration=values(3, 4.0),
        linear_velocity=values(3, 6.0),
        velocity_command=values(3, -1.0),
        joint_position=values(joints, 10.0),
        joint_velocity=values(joints, 20.0),
        joint_torque=values(joints, -30.0),
    )


def raw_observation() -> RawObservation:
    """A ready-made observation."""
    return RawObservation(
        session=7,
        seq=300,
        stamp_ns=70_000,
        observation=values(OBSERVATION_DIM, -5.0),
        joint_position=values(JOINTS, 10.0),
        joint_velocity=values(JOINTS, 20.0),
    )


def encode_raw_observation(raw: RawObservation) -> bytes:
    """As a controller does; gaitd itself sends none."""
    arrays = (raw.observation, raw.joint_position, raw.joint_velocity)
    return pack(
        (
            *(PROTOCOL_VERSION, int(MessageType.RAW_OBSERVATION), raw.session, raw.seq, raw.stamp_ns),
            *(np.asarray(values, "<f4").tobytes() for values in arrays),
        )
    )


def command(joints: int = JOINTS) -> JointCommand:
    """An active command in which every number is another one."""
    return JointCommand(
        session=2**64 - 1,
        epoch=70_000,
        slot=2,
        seq=200,
        state_stamp_ns=123_456_789_012_345,
        publish_stamp_ns=123_456_789_999_999,
        mode=Mode.ACTIVE,
        reason=Reason.NONE,
        cause=NO_CAUSE,
        policy=1,
        joint_position=values(joints, 1.0),
        joint_velocity=values(joints, 10.0),
        stiffness=values(joints, 20.0),
        damping=values(joints, 30.0),
        torque=values(joints, -40.0),
        action=values(joints, -50.0),
    )


def accepted() -> list[Vector]:
    """Messages that both sides read, with the values that they must find."""
    zeros = np.zeros(JOINTS, np.float32)
    damping = dataclasses.replace(
        command(),
        session=7,
        slot=GUARD_SLOT,
        seq=0,
        state_stamp_ns=0,
        mode=Mode.DAMPING,
        reason=Reason.LIMIT,
        cause=Cause(CauseKind.SLEW_LIMIT, joint=JOINTS - 1, number=0.75, bound=0.5),
        stiffness=zeros,
        torque=zeros,
    )
    poison = np.array([np.nan, np.inf, -np.inf, *values(JOINTS - 3, 0.0)], np.float32)
    small = dataclasses.replace(state(), session=7)
    sample_header = (2, 3, 4)  # The C++ client writes these at full width: its messages then have one size.
    return [
        taken("state", encode_state(state()), state()),
        taken("state as C++ writes it", widen(encode_state(state()), sample_header), state(), writer="cpp"),
        taken(
            "state without linear velocity",
            encode_state(dataclasses.replace(state(), linear_velocity=None)),
            dataclasses.replace(state(), linear_velocity=None),
        ),
        taken("state of one joint", encode_state(state(1)), state(1)),
        taken("state of 64 joints", encode_state(state(64)), state(64)),
        taken("raw observation", encode_raw_observation(raw_observation()), raw_observation()),
        taken(
            "raw observation as C++ writes it",
            widen(encode_raw_observation(raw_observation()), sample_header),
            raw_observation(),
            writer="cpp",
        ),
        taken("command", encode_command(command()), command()),
        taken("command of 64 joints", encode_command(command(64)), command(64)),
        taken("damping command", encode_command(damping), damping),
        taken(
            "damping command without a cause's numbers",
            encode_command(dataclasses.replace(damping, cause=Cause(CauseKind.NOT_FINITE))),
            dataclasses.replace(damping, cause=Cause(CauseKind.NOT_FINITE)),
        ),
        taken(
            "damping for a cause of a later gaitd",
            encode_command(dataclasses.replace(damping, cause=Cause(CauseKind.received(200), joint=0))),
            dataclasses.replace(damping, cause=Cause(CauseKind.received(200), joint=0)),
        ),
        taken(
            "command that is not finite",  # Well-formed: refusing it is the latch's business.
            encode_command(dataclasses.replace(command(), action=poison)),
            dataclasses.replace(command(), action=poison),
        ),
        taken(
            "command with wide integers",
            widen(encode_command(damping), (*range(12), 13)),
            damping,
            writer="none",
        ),
        taken(
            "state with signed integers",
            widen(encode_state(small), range(5), signed=True),
            small,
            writer="none",
        ),
        taken(
            "damping for a reason of a later gaitd",
            encode_command(dataclasses.replace(damping, reason=Reason.received(200))),
            dataclasses.replace(damping, reason=Reason.received(200)),
        ),
    ]


def taken(
    name: str, data: bytes, message: RobotState | RawObservation | JointCommand, writer: str = "python"
) -> Vector:
    """One vector that is accepted; ``writer`` is the side whose encoder gives exactly these bytes."""
    kind = {RobotState: "state", RawObservation: "raw_observation", JointCommand: "command"}[type(message)]
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if isinstance(value, Cause):
            fields |= cause_fields(value)
        elif isinstance(value, tuple):
            fields[field.name] = [values.astype("<f4").tobytes().hex() for values in value]
        elif isinstance(value, np.ndarray):
            fields[field.name] = value.astype("<f4").tobytes().hex()
        elif value is None:
            fields[field.name] = ""
        else:
            fields[field.name] = int(value)
    return {
        "name": name,
        "kind": kind,
        "joints": len(message.joint_position),
        "hex": data.hex(),
        "writer": writer,
        "fields": fields,
    }


def cause_fields(cause: Cause) -> dict[str, Any]:
    """The three elements of a cause."""
    numbers = [np.nan if value is None else value for value in (cause.number, cause.bound)]
    return {
        "cause": int(cause.kind),
        "cause_joint": NO_JOINT if cause.joint is None else cause.joint,
        "cause_values": np.array(numbers, "<f4").tobytes().hex(),
    }


def refused() -> list[Vector]:
    """Messages that both sides refuse: ``refusal`` is the C++ client's word, ``field`` the Python codec's."""
    vectors: list[Vector] = []
    for kind, data in (("state", encode_state(state())), ("command", encode_command(command()))):

        def refuse(name: str, refusal: str, field: str, data: bytes, kind: str = kind) -> None:
            vectors.append(
                {
                    "name": f"{kind}: {name}",
                    "kind": kind,
                    "joints": JOINTS,
                    "hex": data.hex(),
                    "refusal": refusal,
                    "field": field,
                }
            )

        def change(index: int, value: object, data: bytes = data) -> bytes:
            return repack(data, {index: value})

        elements = msgpack.unpackb(data)
        refuse("empty", "malformed", "message", b"")
        refuse("junk", "malformed", "message", b"\xc1junk")
        refuse("a map", "malformed", "message", msgpack.packb({"version": 2}))
        refuse("an empty array", "malformed", "message", msgpack.packb([]))
        refuse("truncated", "malformed", "message", data[:-1])
        refuse("a byte too many", "malformed", "message", data + b"\x00")
        refuse("an element too few", "malformed", "message", msgpack.packb(elements[:-1]))
        refuse("an element too many", "malformed", "message", msgpack.packb([*elements, 0]))
        refuse("version 1", "version", "version", change(0, 1))
        refuse("version 3", "version", "version", change(0, 3))
        refuse("version 0", "version", "version", change(0, 0))
        refuse("another type", "type", "type", change(1, 5))
        refuse("session is negative", "malformed", "session", change(2, -1))
        refuse("session is -2**63", "malformed", "session", change(2, -(2**63)))
        refuse("session is text", "malformed", "session", change(2, "7"))
        refuse("session is a float", "malformed", "session", change(2, 7.0))
        refuse("session is true", "malformed", "session", change(2, True))
        third = "seq" if kind == "state" else "epoch"
        refuse(f"{third} is nil", "malformed", third, change(3, None))
        last = STATE_FIELDS.index("joint_torque") if kind == "state" else len(elements) - 1
        field = "joint_torque" if kind == "state" else "action"
        refuse("a joint too few", "length", field, change(last, elements[last][:-4]))
        refuse("a joint too many", "length", field, change(last, elements[last] + b"\x00" * 4))
        refuse("a blob cut inside a float", "length", field, change(last, elements[last][:-1]))
        refuse("an empty blob", "length", field, change(last, b""))
        refuse("text for a blob", "malformed", field, change(last, "x" * 48))
        refuse("numbers for a blob", "malformed", field, change(last, [0.0] * JOINTS))
        if kind == "state":
            refuse("half a linear velocity", "length", "linear_velocity", change(8, b"\x00" * 8))
            refuse("an orientation of three", "length", "orientation", change(6, b"\x00" * 12))
            refuse("an input that was not asked for", "malformed", "inputs", change(13, [b"\x00" * 4]))
            refuse("a blob for the inputs", "malformed", "inputs", change(13, b""))
            refuse("nil for the inputs", "malformed", "inputs", change(13, None))
        else:
            refuse("epoch is negative", "malformed", "epoch", change(3, -1))
            refuse("slot 4", "malformed", "slot", change(4, MAX_SLOTS))
            refuse("slot 254", "malformed", "slot", change(4, GUARD_SLOT - 1))
            refuse("mode 3", "malformed", "mode", change(8, 3))
            refuse("reason 256", "malformed", "reason", change(9, 256))
            refuse("cause 256", "malformed", "cause", change(10, 256))
            refuse("a cause's joint that is not there", "malformed", "cause_joint", change(11, JOINTS))
            refuse("three numbers of a cause", "length", "cause_values", change(12, b"\x00" * 12))
            refuse("text for a cause's numbers", "malformed", "cause_values", change(12, "x" * 8))
            refuse("policy 16", "malformed", "policy", change(13, MAX_POLICIES))
            refuse("policy is text", "malformed", "policy", change(13, "0123456789abcdef"))
    return vectors


def repack(data: bytes, changes: dict[int, object]) -> bytes:
    """The message with elements replaced."""
    elements = msgpack.unpackb(data)
    for index, value in changes.items():
        elements[index] = value
    packed: bytes = msgpack.packb(elements)
    return packed


def widen(data: bytes, indices: Iterable[int], signed: bool = False) -> bytes:
    """The message with the integers at these places in their widest form."""
    wide = b"\xd3" if signed else b"\xcf"
    elements = msgpack.unpackb(data)
    packer = msgpack.Packer()
    out = packer.pack_array_header(len(elements))
    for index, element in enumerate(elements):
        out += wide + element.to_bytes(8, "big") if index in set(indices) else packer.pack(element)
    return bytes(out)


def main() -> None:
    """Write the file."""
    vectors = [*accepted(), *refused()]
    TARGET.write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")
    print(f"{TARGET.name}: {len(vectors)} vectors")


if __name__ == "__main__":
    main()
