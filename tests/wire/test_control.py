"""Requests and replies of the control channel."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitd.wire.control import (
    Activate,
    Damp,
    ForeignRequestError,
    Hello,
    Release,
    Reply,
    Request,
    Status,
    Switch,
    asks_for_damping,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    read_body,
)
from gaitd.wire.frame import WireError
from gaitd.wire.generated import MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES, Reason
from support.proto import CONTRACT

BODIES = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 2**64 - 1) | st.text(max_size=10) | st.binary(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=10,
    ),
    max_size=5,
)
IDS = st.integers(0, 2**64 - 1)


@given(IDS, st.text(max_size=20), BODIES)
def test_a_request_comes_back(request_id: int, name: str, body: dict[str, Any]) -> None:
    request = Request(request_id, name, body)
    assert decode_request(encode_request(request)) == request


@given(IDS, st.booleans(), BODIES)
def test_a_reply_comes_back(request_id: int, ok: bool, body: dict[str, Any]) -> None:
    reply = Reply(request_id, ok, body)
    assert decode_reply(encode_reply(reply)) == reply


@pytest.mark.parametrize(
    ("index", "field", "values"),
    [
        (0, "version", [0, 1, 3, None, True, 1.0, "1", [], [[1]]]),
        (1, "type", [0, 1, 5, None, True, 4.0, "4", {}]),
        (2, "request_id", [-1, None, True, 1.5, "1", b"1"]),
        (3, "name", [None, 1, b"hello", ["hello"]]),
        (4, "body", [None, 1, "x", [], [1]]),
    ],
)
def test_a_wrong_element_is_refused_by_its_name(index: int, field: str, values: list[Any]) -> None:
    good: list[Any] = [2, 4, 9, "status", {}]
    for value in values:
        with pytest.raises(WireError) as caught:
            decode_request(msgpack.packb([*good[:index], value, *good[index + 1 :]]))
        assert caught.value.field == field


def test_a_reply_says_ok_with_a_boolean() -> None:
    for ok in (1, 0, None, "true"):
        with pytest.raises(WireError, match=r"^ok: expected a boolean"):
            decode_reply(msgpack.packb([2, 5, 9, ok, {}]))


@pytest.mark.parametrize("message", [[], [2], [2, 4, 9, "status"], [2, 4, 9, "status", {}, 0], {}, None, "x"])
def test_another_shape_is_refused(message: Any) -> None:
    with pytest.raises(
        WireError, match=r"^(message: expected (a msgpack array|5 elements)|type: expected 4 )"
    ):
        decode_request(msgpack.packb(message))


def test_oversize_and_trailing_bytes_are_refused() -> None:
    good = encode_request(Request(1, "status", {}))
    for bad in (good + b"\0", good[:-1], b"\0" * (MAX_REQUEST_BYTES + 1)):
        with pytest.raises(WireError):
            decode_request(bad)


@pytest.mark.parametrize("depth", [1, 500, 1000, 1024, 5000, 60000])
def test_deep_nesting_is_refused_and_breaks_nothing(depth: int) -> None:
    nested = b"\x91" * depth + b"\xc0"
    for data in (nested, b"\x95\x02\x04\x09" + nested + b"\x80", b"\x95\x02\x04\x09\xa1x" + nested):
        with pytest.raises(WireError):
            decode_request(data)


@pytest.mark.parametrize("body", [b"\x82\xa1a\x01\xa1a\x02", b"\x81\xa1a\x82\xa1b\xc0\xa1b\xc0"])
def test_a_key_that_is_there_twice_is_refused(body: bytes) -> None:
    request, reply = b"\x95\x02\x04\x09\xa4damp", b"\x95\x02\x05\x09\xc3"
    for decode, start in ((decode_request, request), (decode_reply, reply)):
        with pytest.raises(WireError, match="one msgpack array"):
            decode(start + body)


@pytest.mark.parametrize("header", [b"\xdc\xff\xff", b"\xde\xff\xff\xa1a", b"\xdd\x00\x00\xff\xff"])
def test_what_is_only_announced_takes_no_memory(header: bytes) -> None:
    data = (b"\x95\x02\x04\x09\xa1x" + header * 1000).ljust(MAX_REQUEST_BYTES, b"\xc0")
    tracemalloc.start()
    with pytest.raises(WireError):
        decode_request(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_junk_is_a_wire_error(junk: bytes) -> None:
    with pytest.raises(WireError):
        decode_request(junk)
    with pytest.raises(WireError):
        decode_reply(junk)


HELLO: dict[str, Any] = {"controller": "c", "joints": ["hip"], "fields": ["orientation"], "message": "state"}


def test_bodies_are_read() -> None:
    assert read_body(Request(1, "hello", HELLO), Hello) == Hello(
        controller="c", joints=["hip"], fields=["orientation"], message="state"
    )
    assert read_body(Request(1, "activate", {}), Activate) == Activate()
    assert read_body(Request(1, "release", {"session": 5}), Release) == Release(session=5)
    assert read_body(Request(1, "damp", {"session": 0, "reason": 10}), Damp) == Damp(session=0, reason=10)
    assert read_body(Request(1, "status", {}), Status) == Status()


@pytest.mark.parametrize(
    ("kind", "body", "named"),
    [
        (Hello, {key: value for key, value in HELLO.items() if key != "joints"}, "joints"),
        (Hello, HELLO | {"colour": "red"}, "colour"),
        (Hello, HELLO | {"joints": "hip"}, "joints"),
        (Hello, HELLO | {"joints": [1]}, "joints"),
        (Hello, HELLO | {"fields": None}, "fields"),
        (Hello, HELLO | {"fields": ["orientation", "Gravity"]}, "fields: a state has no field 'Gravity'"),
        (Hello, HELLO | {"fields": ["seq"]}, "no field 'seq'; known are angular_velocity, orientation, "),
        (Hello, HELLO | {"fields": ["x" * 8000]}, f"no field '{'x' * 40}'"),
        (Hello, HELLO | {"message": "photo"}, "message"),
        (Hello, HELLO | {"controller": b"c"}, "controller"),
        (Activate, {"session": 1}, "session"),
        (Release, {}, "session"),
        (Release, {"session": "1"}, "session"),
        (Release, {"session": True}, "session"),
        (Damp, {"session": 1}, "reason"),
        (Damp, {"session": 1, "reason": 10, "detail": 5}, "detail"),
        (Switch, {}, "policy"),
        (Switch, {"policy": 1}, "policy"),
        (Hello, HELLO | {"switchable": 1}, "switchable"),
        (Status, {"all": True}, "all"),
        (Status, {b"all": True}, "key"),
    ],
)
def test_a_wrong_body_is_refused_by_its_key(kind: Any, body: dict[Any, Any], named: str) -> None:
    request = decode_request(msgpack.packb([2, 4, 1, "ask", body]))
    with pytest.raises(WireError, match=named) as caught:
        read_body(request, kind)
    assert caught.value.field == "ask body"


@given(BODIES)
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    for kind in (Hello, Release, Damp):
        with pytest.raises(WireError):
            read_body(Request(1, "ask", body), kind)


def test_the_bodies_are_those_of_the_contract() -> None:
    bodies = {
        "hello": Hello,
        "activate": Activate,
        "release": Release,
        "damp": Damp,
        "switch": Switch,
        "status": Status,
    }
    assert {
        name: {field.name: field.required for field in msgspec.structs.fields(body)}
        for name, body in bodies.items()
    } == {request.name: request.keys_needed for request in CONTRACT.requests}


@pytest.mark.parametrize("version", [0, 1, 3, 2**64 - 1])
@pytest.mark.parametrize("rest", [["hello", {}], [], ["hello", {}, "what a later version has"]])
def test_a_request_of_another_version_is_answered_with_both_versions(version: int, rest: list[Any]) -> None:
    with pytest.raises(ForeignRequestError) as caught:
        decode_request(msgpack.packb([version, 4, 77, *rest]))
    reply = decode_reply(encode_reply(caught.value.reply))
    assert (reply.request_id, reply.ok, reply.body["reason"]) == (77, False, Reason.CONTRACT)
    assert f"of version {version} of" in reply.body["error"]
    assert "this gaitd speaks version 2" in reply.body["error"]


@pytest.mark.parametrize("message", [[1], [1, 4], [1, 5, 77], [1, 4, -1], [1, 4, True], [1.0, 4, 7]])
def test_what_has_no_readable_header_is_not_answered(message: list[Any]) -> None:
    with pytest.raises(WireError) as caught:
        decode_request(msgpack.packb(message))
    assert not isinstance(caught.value, ForeignRequestError)


def test_a_request_is_smaller_than_other_messages() -> None:
    body = {"detail": "x" * MAX_REQUEST_BYTES}
    with pytest.raises(WireError, match=f"at most {MAX_REQUEST_BYTES} bytes"):
        decode_request(encode_request(Request(1, "damp", body)))
    assert decode_reply(encode_reply(Reply(1, True, body))).body == body
    with pytest.raises(WireError, match=f"at most {MAX_MESSAGE_BYTES} bytes"):
        decode_reply(encode_reply(Reply(1, True, {"detail": "x" * MAX_MESSAGE_BYTES})))


def test_only_a_request_to_damp_goes_first() -> None:
    """Whatever its number looks like: these bytes are ``damp`` as a name is written."""
    number = int.from_bytes(b"\x01\xa4damp\x01\x01", "big")
    assert asks_for_damping(encode_request(Request(1, "damp", {"session": 0, "reason": 1, "detail": ""})))
    assert not asks_for_damping(encode_request(Request(number, "release", {"session": 1})))
    assert not asks_for_damping(encode_request(Request(1, "damp", {}))[:-1])
