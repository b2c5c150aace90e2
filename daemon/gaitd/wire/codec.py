"""Bytes to messages and back: fixed-order msgpack arrays with little-endian float32 blobs.

Decoding is strict: a message that departs from proto/README.md in any way raises WireError, which names
the field, what was expected and what came.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np

from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.frame import WireError, describe, pack, unpack
from gaitd.wire.generated import (
    COMMAND_FIELDS,
    GUARD_SLOT,
    LAST_NUMBER,
    MAX_INPUT_VALUES,
    MAX_INPUTS,
    MAX_POLICIES,
    MAX_SLOTS,
    MAX_STREAM_LENGTH,
    NO_JOINT,
    PROTOCOL_VERSION,
    RAW_OBSERVATION_FIELDS,
    STATE_FIELDS,
    CauseKind,
    MessageType,
    Mode,
    Reason,
)
from gaitd.wire.messages import Float32Array, JointCommand, RawObservation, RobotState

if sys.byteorder != "little":  # pragma: no cover - blobs are sent as they lie in memory
    raise ImportError("gaitd runs on little-endian machines only")

_STATE_ELEMENTS, _RAW_ELEMENTS = len(STATE_FIELDS), len(RAW_OBSERVATION_FIELDS)
_COMMAND_ELEMENTS = len(COMMAND_FIELDS)

_FLOAT32 = np.dtype(np.float32)
_NO_VALUES = np.full(2, np.nan, np.float32).tobytes()


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
            [_blob(values) for values in state.inputs],
        )
    )


def encode_command(command: JointCommand) -> bytes:
    """Encode a joint command."""
    cause = command.cause
    return pack(
        (
            PROTOCOL_VERSION,
            int(MessageType.COMMAND),
            command.session,
            command.epoch,
            command.slot,
            command.seq,
            command.state_stamp_ns,
            command.publish_stamp_ns,
            int(command.mode),
            int(command.reason),
            int(cause.kind),
            NO_JOINT if cause.joint is None else cause.joint,
            _NO_VALUES if cause is NO_CAUSE else _cause_values(cause),
            command.policy,
            _blob(command.joint_position),
            _blob(command.joint_velocity),
            _blob(command.stiffness),
            _blob(command.damping),
            _blob(command.torque),
            _blob(command.action),
        )
    )


def decode_state(data: bytes, joint_count: int, input_sizes: Sequence[int] | None = ()) -> RobotState:
    """Decode a robot state of ``joint_count`` joints. Raises WireError. Values may still be non-finite.

    ``input_sizes``: the lengths of the named inputs of hello's reply; None: not known, any are taken.
    """
    m = unpack(data, MessageType.STATE, _STATE_ELEMENTS, MAX_STREAM_LENGTH)
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
        inputs=_inputs(m[13], input_sizes),
    )


def decode_raw_observation(data: bytes, observation_dim: int, joint_count: int) -> RawObservation:
    """Decode a ready-made observation. Raises WireError. Values may still be non-finite."""
    m = unpack(data, MessageType.RAW_OBSERVATION, _RAW_ELEMENTS, MAX_STREAM_LENGTH)
    return RawObservation(
        session=_uint(m[2], "session"),
        seq=_uint(m[3], "seq"),
        stamp_ns=_uint(m[4], "stamp_ns"),
        observation=_floats(m[5], "observation", observation_dim),
        joint_position=_floats(m[6], "joint_position", joint_count),
        joint_velocity=_floats(m[7], "joint_velocity", joint_count),
    )


def decode_either(
    data: bytes, observation_dim: int, joint_count: int, input_sizes: Sequence[int] | None = None
) -> RobotState | RawObservation:
    """Decode what a controller publishes, whichever kind it is. Raises WireError.

    ``input_sizes``: as of ``decode_state``.
    """
    try:
        return decode_state(data, joint_count, input_sizes)
    except WireError as error:
        if error.field != "type":
            raise
    return decode_raw_observation(data, observation_dim, joint_count)


def decode_command(data: bytes, joint_count: int, action_dim: int | None = None) -> JointCommand:
    """Decode a joint command of ``joint_count`` joints. Raises WireError.

    ``action_dim`` is the one of hello's reply; without it, the action is taken to be as long as the joints.
    """
    m = unpack(data, MessageType.COMMAND, _COMMAND_ELEMENTS, MAX_STREAM_LENGTH)
    return JointCommand(
        session=_uint(m[2], "session"),
        epoch=_uint(m[3], "epoch"),
        slot=_index(m[4], "slot", MAX_SLOTS, GUARD_SLOT),
        seq=_uint(m[5], "seq"),
        state_stamp_ns=_uint(m[6], "state_stamp_ns"),
        publish_stamp_ns=_uint(m[7], "publish_stamp_ns"),
        mode=Mode(_uint(m[8], "mode", last=max(Mode))),
        reason=Reason.received(_uint(m[9], "reason", last=LAST_NUMBER)),
        cause=_cause(m[10], m[11], m[12], joint_count),
        policy=_uint(m[13], "policy", last=MAX_POLICIES - 1),
        joint_position=_floats(m[14], "joint_position", joint_count),
        joint_velocity=_floats(m[15], "joint_velocity", joint_count),
        stiffness=_floats(m[16], "stiffness", joint_count),
        damping=_floats(m[17], "damping", joint_count),
        torque=_floats(m[18], "torque", joint_count),
        action=_floats(m[19], "action", joint_count if action_dim is None else action_dim),
    )


def decode_mode(data: bytes) -> Mode:
    """The mode of a joint command, of whatever robot. Raises WireError."""
    command = unpack(data, MessageType.COMMAND, _COMMAND_ELEMENTS, MAX_STREAM_LENGTH)
    return Mode(_uint(command[8], "mode", last=max(Mode)))


def _cause_values(cause: Cause) -> bytes:
    values = [math.nan if value is None else value for value in (cause.number, cause.bound)]
    with np.errstate(over="ignore"):  # What is too large for a float32 travels as infinity.
        return np.array(values).astype(np.float32).tobytes()


def _cause(kind: object, joint: object, values: object, joint_count: int) -> Cause:
    number, bound = _floats(values, "cause_values", 2).tolist()
    cause = CauseKind.received(_uint(kind, "cause", last=LAST_NUMBER))
    index = _index(joint, "cause_joint", joint_count, NO_JOINT)
    if index == NO_JOINT and values == _NO_VALUES and not cause:
        return NO_CAUSE
    return Cause(
        cause,
        None if index == NO_JOINT else index,
        None if math.isnan(number) else number,
        None if math.isnan(bound) else bound,
    )


def _inputs(values: object, sizes: Sequence[int] | None) -> tuple[Float32Array, ...]:
    if sizes is None:
        return _any_inputs(values)
    if type(values) is not list or len(values) != len(sizes):
        what = f"an array of {len(sizes)}, as hello's reply has named inputs"
        raise WireError("inputs", what, describe(values))
    if not sizes:
        return ()
    return tuple(_floats(value, "inputs", size) for value, size in zip(values, sizes, strict=True))


def _any_inputs(values: object) -> tuple[Float32Array, ...]:
    """Of a message whose contract is not known: as many values as there may ever be."""
    if type(values) is not list or len(values) > MAX_INPUTS:
        raise WireError("inputs", f"an array of at most {MAX_INPUTS}", describe(values))
    inputs = []
    for value in values:
        if type(value) is not bytes or len(value) % 4 or not value:
            raise WireError("inputs", "bin of float32", describe(value))
        inputs.append(np.frombuffer(value, _FLOAT32))
    if sum(each.size for each in inputs) > MAX_INPUT_VALUES:
        raise WireError(
            "inputs", f"at most {MAX_INPUT_VALUES} values", str(sum(each.size for each in inputs))
        )
    return tuple(inputs)


def _blob(values: Float32Array) -> bytes:
    return np.asarray(values, np.float32).tobytes()


def _uint(value: object, field: str, last: int = 2**64 - 1) -> int:
    # A msgpack integer is at most 64 bits wide; True is an int to Python, but not on the wire.
    if type(value) is not int or value < 0:
        raise WireError(field, "an unsigned integer", describe(value))
    if value > last:
        raise WireError(field, f"0 to {last}", str(value))
    return value


def _index(value: object, field: str, count: int, none: int) -> int:
    number = _uint(value, field)
    if number >= count and number != none:
        raise WireError(field, f"0 to {count - 1}, or {none}", str(number))
    return number


def _floats(value: object, field: str, count: int) -> Float32Array:
    if type(value) is not bytes:
        raise WireError(field, f"bin of {count} float32", describe(value))
    if len(value) != 4 * count:
        raise WireError(field, f"bin of {count} float32 ({4 * count} bytes)", f"{len(value)} bytes")
    return np.frombuffer(value, _FLOAT32)
