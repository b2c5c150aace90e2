"""State, raw observation and command: what goes in comes out, and nothing else is let in."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.codec import (
    decode_command,
    decode_raw_observation,
    decode_state,
    encode_command,
    encode_state,
)
from gaitd.wire.frame import WireError
from gaitd.wire.generated import (
    COMMAND_FIELDS,
    GUARD_SLOT,
    MAX_MESSAGE_BYTES,
    MAX_POLICIES,
    MAX_SLOTS,
    RAW_OBSERVATION_FIELDS,
    STATE_FIELDS,
    CauseKind,
    Mode,
    Reason,
)
from gaitd.wire.messages import JointCommand, RawObservation, RobotState
from support.proto import encode_raw_observation

UINT64 = st.integers(0, 2**64 - 1)
JOINTS = 3
OBSERVATION = 7


def floats(count: int) -> st.SearchStrategy[np.ndarray]:
    """Any float32 at all: the codec carries bits and judges nothing."""
    return arrays(np.float32, count, elements=st.floats(width=32))


@st.composite
def robot_states(draw: st.DrawFn, joints: int = JOINTS) -> RobotState:
    return RobotState(
        session=draw(UINT64),
        seq=draw(UINT64),
        stamp_ns=draw(UINT64),
        angular_velocity=draw(floats(3)),
        orientation=draw(floats(4)),
        linear_acceleration=draw(floats(3)),
        linear_velocity=draw(st.none() | floats(3)),
        velocity_command=draw(floats(3)),
        joint_position=draw(floats(joints)),
        joint_velocity=draw(floats(joints)),
        joint_torque=draw(floats(joints)),
    )


@st.composite
def raw_observations(draw: st.DrawFn) -> RawObservation:
    return RawObservation(
        session=draw(UINT64),
        seq=draw(UINT64),
        stamp_ns=draw(UINT64),
        observation=draw(floats(OBSERVATION)),
        joint_position=draw(floats(JOINTS)),
        joint_velocity=draw(floats(JOINTS)),
    )


def numbers() -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(width=32, allow_nan=False)


@st.composite
def causes(draw: st.DrawFn) -> Cause:
    kind = draw(st.sampled_from(CauseKind))
    return Cause(kind, draw(st.none() | st.integers(0, JOINTS - 1)), draw(numbers()), draw(numbers()))


@st.composite
def joint_commands(draw: st.DrawFn) -> JointCommand:
    return JointCommand(
        session=draw(UINT64),
        epoch=draw(UINT64),
        slot=draw(st.integers(0, MAX_SLOTS - 1) | st.just(GUARD_SLOT)),
        seq=draw(UINT64),
        state_stamp_ns=draw(UINT64),
        publish_stamp_ns=draw(UINT64),
        mode=draw(st.sampled_from(Mode)),
        reason=draw(st.sampled_from(Reason)),
        cause=draw(st.just(NO_CAUSE) | causes()),
        policy=draw(st.integers(0, MAX_POLICIES - 1)),
        joint_position=draw(floats(JOINTS)),
        joint_velocity=draw(floats(JOINTS)),
        stiffness=draw(floats(JOINTS)),
        damping=draw(floats(JOINTS)),
        torque=draw(floats(JOINTS)),
        action=draw(floats(JOINTS)),
    )


def assert_same(sent: Any, got: Any) -> None:
    assert type(sent) is type(got)
    for field in dataclasses.fields(sent):
        there, here = getattr(sent, field.name), getattr(got, field.name)
        if isinstance(there, np.ndarray):
            assert here.dtype == np.float32
            assert there.tobytes() == here.tobytes(), field.name
        else:
            assert there == here, field.name


@given(robot_states())
def test_a_state_comes_back_bit_for_bit(state: RobotState) -> None:
    assert_same(state, decode_state(encode_state(state), JOINTS))


@given(raw_observations())
def test_a_raw_observation_comes_back_bit_for_bit(raw: RawObservation) -> None:
    assert_same(raw, decode_raw_observation(encode_raw_observation(raw), OBSERVATION, JOINTS))


@given(joint_commands())
def test_a_command_comes_back_bit_for_bit(command: JointCommand) -> None:
    assert_same(command, decode_command(encode_command(command), JOINTS))


@pytest.mark.parametrize("joints", [1, 12, 64])
def test_any_number_of_joints(joints: int) -> None:
    rng = np.random.default_rng(joints)
    state = RobotState(1, 2, 3, *_payload(rng, joints))
    assert_same(state, decode_state(encode_state(state), joints))


def _payload(rng: np.random.Generator, joints: int) -> list[Any]:
    sizes = (3, 4, 3, 3, 3, joints, joints, joints)
    return [rng.normal(size=size).astype(np.float32) for size in sizes]


def test_float64_and_strided_arrays_are_sent_as_float32() -> None:
    state = RobotState(1, 2, 3, *_payload(np.random.default_rng(0), JOINTS))
    wide = dataclasses.replace(state, joint_position=np.repeat(state.joint_position.astype(float), 2)[::2])
    assert encode_state(wide) == encode_state(state)


def test_the_documented_layout_of_a_state() -> None:
    state = RobotState(11, 12, 13, *_payload(np.random.default_rng(1), JOINTS))
    state = dataclasses.replace(state, linear_velocity=None)
    assert msgpack.unpackb(encode_state(state)) == [
        2,
        1,
        11,
        12,
        13,
        state.angular_velocity.tobytes(),
        state.orientation.tobytes(),
        state.linear_acceleration.tobytes(),
        b"",
        state.velocity_command.tobytes(),
        state.joint_position.tobytes(),
        state.joint_velocity.tobytes(),
        state.joint_torque.tobytes(),
        [],
    ]


def test_the_documented_layout_of_a_command() -> None:
    blobs = [np.full(JOINTS, value, np.float32) for value in range(6)]
    command = JointCommand(
        11, 12, 255, 13, 14, 15, Mode.DAMPING, Reason.LIMIT, Cause(CauseKind.TILT, None, 1.5, 0.5), 3, *blobs
    )
    assert msgpack.unpackb(encode_command(command)) == [
        *(2, 3, 11, 12, 255, 13, 14, 15, 2, 7, 12, 255),
        np.array([1.5, 0.5], np.float32).tobytes(),
        3,
        *(blob.tobytes() for blob in blobs),
    ]


def test_the_fields_are_those_of_the_contract() -> None:
    """In the contract's order; a cause is one value in Python and three elements on the wire."""
    for kind, names in (
        (RobotState, STATE_FIELDS),
        (RawObservation, RAW_OBSERVATION_FIELDS),
        (JointCommand, COMMAND_FIELDS),
    ):
        fields = [field.name for field in dataclasses.fields(kind)]
        assert fields == [name for name in names[2:] if name not in ("cause_joint", "cause_values")]


def test_an_action_may_be_longer_than_the_joints() -> None:
    good = GOOD["command"][0]
    data = msgpack.packb([*good[:19], b"\0" * 20])
    assert decode_command(data, JOINTS, action_dim=5).action.shape == (5,)
    with pytest.raises(WireError, match=r"^action: expected bin of 3 float32"):
        decode_command(data, JOINTS)


def test_a_number_too_large_for_float32_travels_as_infinity() -> None:
    command = decode_command(msgpack.packb(GOOD["command"][0]), JOINTS)
    huge = dataclasses.replace(command, cause=Cause(CauseKind.OUT_OF_RANGE, 0, 1e300, -1e300))
    assert decode_command(encode_command(huge), JOINTS).cause == Cause(
        CauseKind.OUT_OF_RANGE, 0, float("inf"), float("-inf")
    )


# One good message of each kind as a list, its decoder, and the names of its elements.
_F2, _F3, _F4, _FN, _FO = b"\0" * 8, b"\0" * 12, b"\0" * 16, b"\0" * 4 * JOINTS, b"\0" * 4 * OBSERVATION
GOOD: dict[str, tuple[list[Any], Callable[[bytes], object], tuple[str, ...]]] = {
    "state": (
        [2, 1, 5, 6, 7, _F3, _F4, _F3, _F3, _F3, _FN, _FN, _FN, []],
        lambda data: decode_state(data, JOINTS),
        STATE_FIELDS,
    ),
    "raw_observation": (
        [2, 2, 5, 6, 7, _FO, _FN, _FN],
        lambda data: decode_raw_observation(data, OBSERVATION, JOINTS),
        RAW_OBSERVATION_FIELDS,
    ),
    "command": (
        [2, 3, 5, 6, 3, 7, 8, 9, 1, 0, 0, 255, _F2, 0, _FN, _FN, _FN, _FN, _FN, _FN],
        lambda data: decode_command(data, JOINTS),
        COMMAND_FIELDS,
    ),
}
SMALL = ("version", "type", "slot", "mode", "reason", "cause", "cause_joint", "policy")
ELEMENTS = [(kind, index) for kind, (good, _, _) in GOOD.items() for index in range(len(good))]


@pytest.mark.parametrize("kind", GOOD)
def test_the_good_message_is_good(kind: str) -> None:
    good, decode, _ = GOOD[kind]
    decode(msgpack.packb(good))


@pytest.mark.parametrize(("kind", "index"), ELEMENTS)
def test_a_wrong_element_is_refused_by_its_name(kind: str, index: int) -> None:
    good, decode, names = GOOD[kind]
    wrong: list[Any] = [None, True, False, -1, 1.0, float("nan"), "junk", [], [1], {}, {"a": 1}, [[[1]]]]
    if isinstance(good[index], bytes):
        # b"" is an absent linear velocity and nothing else.
        wrong += [good[index] + b"\0", good[index] + b"\0" * 4, good[index][:-1], good[index][:-4], 1]
        wrong += [] if names[index] == "linear_velocity" else [b""]
    elif names[index] == "inputs":
        wrong = [*(value for value in wrong if value != []), b""]
    else:
        wrong += [b"\1", 2**64 - 1] if names[index] in SMALL else [b"\1"]
    for value in wrong:
        message = [*good[:index], value, *good[index + 1 :]]
        with pytest.raises(WireError) as caught:
            decode(msgpack.packb(message))
        assert caught.value.field == names[index], value
        assert str(caught.value).startswith(names[index])


@pytest.mark.parametrize("kind", GOOD)
def test_another_version_or_type_is_refused(kind: str) -> None:
    good, decode, _ = GOOD[kind]
    for version in (0, 1, 3, 255):
        with pytest.raises(WireError, match=r"^version: expected 2"):
            decode(msgpack.packb([version, *good[1:]]))
    for other in set(range(7)) - {good[1]}:
        with pytest.raises(WireError, match=r"^type: expected"):
            decode(msgpack.packb([2, other, *good[2:]]))


@pytest.mark.parametrize("kind", GOOD)
def test_too_few_and_too_many_elements_are_refused(kind: str) -> None:
    good, decode, _ = GOOD[kind]
    for count in range(len(good)):
        with pytest.raises(WireError):
            decode(msgpack.packb(good[:count]))
    with pytest.raises(WireError, match=f"{len(good)} elements, got {len(good) + 1}"):
        decode(msgpack.packb([*good, 0]))


@pytest.mark.parametrize("kind", GOOD)
def test_trailing_bytes_and_every_truncation_are_refused(kind: str) -> None:
    good, decode, _ = GOOD[kind]
    data = msgpack.packb(good)
    for bad in (data + b"\0", data + data, *(data[:length] for length in range(len(data)))):
        with pytest.raises(WireError):
            decode(bad)


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_not_an_array_is_refused(kind: str) -> None:
    _, decode, _ = GOOD[kind]
    for value in (None, 1, "text", b"bytes", {}, {1: 2}, {"version": 1}, msgpack.Timestamp(1), []):
        with pytest.raises(WireError):
            decode(msgpack.packb(value))


def test_an_oversized_message_is_refused_unread() -> None:
    with pytest.raises(WireError, match=f"at most {MAX_MESSAGE_BYTES} bytes"):
        decode_state(b"\xc1" * (MAX_MESSAGE_BYTES + 1), JOINTS)


@pytest.mark.parametrize("depth", [1, 100, 500, 990, 1000, 1023, 1024, 1025, 5000, 60000])
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\x92\x01"])
def test_deep_nesting_is_refused_and_breaks_nothing(depth: int, opening: bytes) -> None:
    data = opening * depth + b"\xc0"
    for wrapped in (data, b"\x9e\x02" + data, msgpack.packb(GOOD["state"][0])[:-1] + data):
        for _, decode, _ in GOOD.values():
            with pytest.raises(WireError):
                decode(wrapped)


@pytest.mark.parametrize("announced", [64, 65, 0x7FFF, 0xFFFF])
def test_what_is_only_announced_takes_no_memory(announced: int) -> None:
    """One message of 64 kB whose nested arrays each announced 65535 elements took the worker 60 ms."""
    header = b"\xdc" + announced.to_bytes(2, "big")
    data = (header * 1020).ljust(MAX_MESSAGE_BYTES, b"\xc0")
    for _, decode, _ in GOOD.values():
        tracemalloc.start()
        with pytest.raises(WireError):
            decode(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**20


@pytest.mark.parametrize("format", [b"\xd0", b"\xd1", b"\xd2", b"\xd3"])
def test_a_number_in_a_signed_format_is_a_number(format: bytes) -> None:
    good, decode, _ = GOOD["state"]
    data = msgpack.packb(good)
    assert data[5] == 7
    number = (7).to_bytes(2 ** (format[0] - 0xD0), "big")
    assert decode(data[:5] + format + number + data[6:]).stamp_ns == 7  # type: ignore[attr-defined]


def test_a_reason_of_a_later_gaitd_is_shown_by_its_number() -> None:
    good, decode, _ = GOOD["command"]
    command = decode(msgpack.packb([*good[:8], 2, 255, *good[10:]]))
    assert isinstance(command, JointCommand)
    assert (command.mode, command.reason, command.reason.name) == (Mode.DAMPING, 255, "UNKNOWN_255")
    with pytest.raises(WireError, match=r"^reason: expected 0 to 255, got 256"):
        decode(msgpack.packb([*good[:9], 256, *good[10:]]))


def test_a_cause_of_a_later_gaitd_is_shown_by_its_number() -> None:
    good, decode, _ = GOOD["command"]
    command = decode(msgpack.packb([*good[:10], 255, *good[11:]]))
    assert isinstance(command, JointCommand)
    assert (command.cause.kind, command.cause.kind.name) == (255, "UNKNOWN_255")
    assert command.cause.text([]) == "cause 255 of a later gaitd"


@pytest.mark.parametrize(("index", "values"), [(4, [4, 254, 256]), (11, [JOINTS, 254, 256]), (13, [16, 255])])
def test_a_number_that_names_nothing_is_refused(index: int, values: list[int]) -> None:
    good, decode, names = GOOD["command"]
    for value in values:
        with pytest.raises(WireError, match=f"^{names[index]}: expected 0 to") as caught:
            decode(msgpack.packb([*good[:index], value, *good[index + 1 :]]))
        assert str(value) in str(caught.value)


def test_inputs_are_those_that_the_policy_has() -> None:
    good, decode, _ = GOOD["state"]
    for value in ([b""], [_F3], [None], [[]]):
        with pytest.raises(WireError, match=r"^inputs: expected an array of 0, .* got list of 1"):
            decode(msgpack.packb([*good[:13], value]))
    whole = msgpack.packb([*good[:13], [_F3, _F3[:4]]])
    assert [each.size for each in decode_state(whole, JOINTS, (3, 1)).inputs] == [3, 1]
    for sizes in ((), (3,), (1, 3), (3, 1, 1)):
        with pytest.raises(WireError, match=r"^inputs: "):
            decode_state(whole, JOINTS, sizes)


def test_inputs_of_a_message_whose_policy_is_not_known() -> None:
    good, _, _ = GOOD["state"]
    for value in ([], [_F3], [_F3] * 16, [bytes(4 * 256)]):
        decode_state(msgpack.packb([*good[:13], value]), JOINTS, None)
    for value in ([b""], [b"\0" * 5], [None], [[]], {}, [_F3] * 17, [bytes(4 * 257)]):
        with pytest.raises(WireError, match=r"^inputs: "):
            decode_state(msgpack.packb([*good[:13], value]), JOINTS, None)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_junk_is_a_wire_error(junk: bytes) -> None:
    for _, decode, _ in GOOD.values():
        with pytest.raises(WireError):
            decode(junk)


@given(st.sampled_from(sorted(GOOD)), st.data())
@settings(max_examples=300)
def test_a_damaged_message_is_a_message_or_a_wire_error(kind: str, data: st.DataObject) -> None:
    good, decode, _ = GOOD[kind]
    message = bytearray(msgpack.packb(good))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(message))
    except WireError:
        return
    # A changed number or float is a message still; its shape is then that of the contract.
    arrays_of = [value for value in dataclasses.asdict(decoded).values() if isinstance(value, np.ndarray)]
    assert {array.dtype for array in arrays_of} == {np.dtype(np.float32)}
