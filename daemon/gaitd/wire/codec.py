"""Bytes to messages and back: fixed-order msgpack arrays with little-endian float32 blobs.

Decoding is strict: a message that departs from proto/README.md in any way raises WireError, which names
the field, what was expected and what came.
"""

from __future__ import annotations

import re
import sys

import numpy as np

from gaitd.wire.frame import WireError, describe, pack, unpack
from gaitd.wire.messages import (
    PROTOCOL_VERSION,
    Float32Array,
    JointCommand,
    MessageType,
    Mode,
    RawObservation,
    Reason,
    RobotState,
)

if sys.byteorder != "little":  # pragma: no cover - blobs are sent as they lie in memory
    raise ImportError("gaitd runs on little-endian machines only")

_STATE_ELEMENTS, _RAW_ELEMENTS, _COMMAND_ELEMENTS = 13, 8, 15
_MAX_LENGTH = 64
"""Of any array or map inside a message."""

_FLOAT32 = np.dtype(np.float32)
_LAST_REASON = 255


def encode_state(state: RobotState) -> bytes:
    """Encode a robot state."""
    return pack(
        (
            PROTOCOL_VERSION,
            int(MessageType.STATE),
            state.session,
            state.seq,
            state.stamp_ns,
            _blob(state.angular_velocity),
            _blob(state.orientation),
            _blob(state.linear_acceleration),
            b"" if state.linear_velocity is None else _blob(state.linear_velocity),
            _blob(state.velocity_command),
            _blob(state.joint_position),
            _blob(state.joint_velocity),
            _blob(state.joint_torque),
        )
    )


def encode_raw_observation(raw: RawObservation) -> bytes:
    """Encode a ready-made observation."""
    return pack(
        (
            PROTOCOL_VERSION,
            int(MessageType.RAW_OBSERVATION),
            raw.session,
            raw.seq,
            raw.stamp_ns,
            _blob(raw.observation),
            _blob(raw.joint_position),
            _blob(raw.joint_velocity),
        )
    )


def encode_command(command: JointCommand) -> bytes:
    """Encode a joint command."""
    return pack(
        (
            PROTOCOL_VERSION,
            int(MessageType.COMMAND),
            command.session,
            command.seq,
            command.state_stamp_ns,
            command.publish_stamp_ns,
            int(command.mode),
            int(command.reason),
            command.policy_id,
            _blob(command.joint_position),
            _blob(command.joint_velocity),
            _blob(command.stiffness),
            _blob(command.damping),
            _blob(command.torque),
            _blob(command.action),
        )
    )


def decode_state(data: bytes, joint_count: int) -> RobotState:
    """Decode a robot state of ``joint_count`` joints. Raises WireError. Values may still be non-finite."""
    m = unpack(data, MessageType.STATE, _STATE_ELEMENTS, _MAX_LENGTH)
    return RobotState(
        session=_uint(m[2], "session"),
        seq=_uint(m[3], "seq"),
        stamp_ns=_uint(m[4], "stamp_ns"),
        angular_velocity=_floats(m[5], "angular_velocity", 3),
        orientation=_floats(m[6], "orientation", 4),
        linear_acceleration=_floats(m[7], "linear_acceleration", 3),
        linear_velocity=None if m[8] == b"" else _floats(m[8], "linear_velocity", 3),
        velocity_command=_floats(m[9], "velocity_command", 3),
        joint_position=_floats(m[10], "joint_position", joint_count),
        joint_velocity=_floats(m[11], "joint_velocity", joint_count),
        joint_torque=_floats(m[12], "joint_torque", joint_count),
    )


def decode_raw_observation(data: bytes, observation_dim: int, joint_count: int) -> RawObservation:
    """Decode a ready-made observation. Raises WireError. Values may still be non-finite."""
    m = unpack(data, MessageType.RAW_OBSERVATION, _RAW_ELEMENTS, _MAX_LENGTH)
    return RawObservation(
        session=_uint(m[2], "session"),
        seq=_uint(m[3], "seq"),
        stamp_ns=_uint(m[4], "stamp_ns"),
        observation=_floats(m[5], "observation", observation_dim),
        joint_position=_floats(m[6], "joint_position", joint_count),
        joint_velocity=_floats(m[7], "joint_velocity", joint_count),
    )


def decode_either(data: bytes, observation_dim: int, joint_count: int) -> RobotState | RawObservation:
    """Decode what a controller publishes, whichever kind it is. Raises WireError."""
    try:
        return decode_state(data, joint_count)
    except WireError as error:
        if error.field != "type":
            raise
    return decode_raw_observation(data, observation_dim, joint_count)


def decode_command(data: bytes, joint_count: int) -> JointCommand:
    """Decode a joint command of ``joint_count`` joints. Raises WireError."""
    m = unpack(data, MessageType.COMMAND, _COMMAND_ELEMENTS, _MAX_LENGTH)
    policy_id = m[8]
    if not isinstance(policy_id, str) or not re.fullmatch(r"([0-9a-f]{16})?", policy_id):
        raise WireError("policy_id", "16 hex digits or an empty string", describe(policy_id))
    return JointCommand(
        session=_uint(m[2], "session"),
        seq=_uint(m[3], "seq"),
        state_stamp_ns=_uint(m[4], "state_stamp_ns"),
        publish_stamp_ns=_uint(m[5], "publish_stamp_ns"),
        mode=Mode(_uint(m[6], "mode", last=max(Mode))),
        reason=Reason.received(_uint(m[7], "reason", last=_LAST_REASON)),
        policy_id=policy_id,
        joint_position=_floats(m[9], "joint_position", joint_count),
        joint_velocity=_floats(m[10], "joint_velocity", joint_count),
        stiffness=_floats(m[11], "stiffness", joint_count),
        damping=_floats(m[12], "damping", joint_count),
        torque=_floats(m[13], "torque", joint_count),
        action=_floats(m[14], "action", joint_count),
    )


def _blob(values: Float32Array) -> bytes:
    return np.asarray(values, np.float32).tobytes()


def _uint(value: object, field: str, last: int = 2**64 - 1) -> int:
    # A msgpack integer is at most 64 bits wide; True is an int to Python, but not on the wire.
    if type(value) is not int or value < 0:
        raise WireError(field, "an unsigned integer", describe(value))
    if value > last:
        raise WireError(field, f"0 to {last}", str(value))
    return value


def _floats(value: object, field: str, count: int) -> Float32Array:
    if type(value) is not bytes:
        raise WireError(field, f"bin of {count} float32", describe(value))
    if len(value) != 4 * count:
        raise WireError(field, f"bin of {count} float32 ({4 * count} bytes)", f"{len(value)} bytes")
    return np.frombuffer(value, _FLOAT32)
