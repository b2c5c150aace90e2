"""Requests and replies of the control channel: an array header around a map body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgpack
import msgspec

from gaitd.wire.codec import MAX_MESSAGE_BYTES, WireError, describe, is_number
from gaitd.wire.messages import PROTOCOL_VERSION, MessageType

_MAX_LENGTH = 1024
"""Of any array or map inside a message: announced lengths are allocated before their elements are seen."""


@dataclass(frozen=True, slots=True)
class Request:
    """A controller's or a tool's question."""

    request_id: int
    """Chosen by the sender; the reply carries it back."""
    name: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """gaitd's answer. When not ok, body holds ``reason`` and ``error``, one line for a person."""

    request_id: int
    ok: bool
    body: dict[str, Any]


class _Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class Hello(_Body, frozen=True, kw_only=True):
    """Body of ``hello``: who the controller is and what its states hold."""

    controller: str
    """A name for people."""
    joints: list[str]
    """In the controller's order."""
    fields: list[str]
    """The fields of the state message that it really fills."""
    message: Literal["state", "raw_observation"] = "state"


class Activate(_Body, frozen=True):
    """Body of ``activate``: empty."""


class Release(_Body, frozen=True, kw_only=True):
    """Body of ``release``."""

    session: int


class Damp(_Body, frozen=True, kw_only=True):
    """Body of ``damp``: session 0 means whatever session there is."""

    session: int
    reason: int
    """Reason.OPERATOR or Reason.CLIENT_DEADLINE."""
    detail: str = ""


class Status(_Body, frozen=True):
    """Body of ``status``: empty."""


_B = TypeVar("_B", bound=_Body)


def read_body(request: Request, kind: type[_B]) -> _B:
    """Check a request's body. Raises WireError naming the field."""
    try:
        return msgspec.convert(request.body, kind)
    except msgspec.ValidationError as error:
        raise WireError(f"{request.name} body", kind.__name__, str(error)) from None


def encode_request(request: Request) -> bytes:
    """Encode a request."""
    return _pack([PROTOCOL_VERSION, int(MessageType.REQUEST), request.request_id, request.name, request.body])


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply."""
    return _pack([PROTOCOL_VERSION, int(MessageType.REPLY), reply.request_id, reply.ok, reply.body])


def decode_request(data: bytes) -> Request:
    """Decode a request. Raises WireError."""
    request_id, name, body = _unpack(data, MessageType.REQUEST)
    if not isinstance(name, str):
        raise WireError("name", "a string", describe(name))
    return Request(request_id, name, body)


def decode_reply(data: bytes) -> Reply:
    """Decode a reply. Raises WireError."""
    request_id, ok, body = _unpack(data, MessageType.REPLY)
    if not isinstance(ok, bool):
        raise WireError("ok", "a boolean", describe(ok))
    return Reply(request_id, ok, body)


def _pack(values: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(values, use_bin_type=True)
    return packed


def _unpack(data: bytes, kind: MessageType) -> tuple[int, Any, dict[str, Any]]:
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("message", f"at most {MAX_MESSAGE_BYTES} bytes", f"{len(data)} bytes")
    try:
        message = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_unique,
            max_array_len=_MAX_LENGTH,
            max_map_len=_MAX_LENGTH,
        )
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise WireError("message", "one msgpack array", type(error).__name__) from None
    if not isinstance(message, list) or len(message) != 5:
        raise WireError("message", "an array of 5 elements", describe(message))
    version, message_type, request_id, head, body = message
    if not is_number(version, PROTOCOL_VERSION):
        raise WireError("version", str(PROTOCOL_VERSION), describe(version))
    if not is_number(message_type, kind):
        raise WireError("type", f"{kind.value} ({kind.name})", describe(message_type))
    if not isinstance(request_id, int) or isinstance(request_id, bool) or request_id < 0:
        raise WireError("request_id", "an unsigned integer", describe(request_id))
    if not isinstance(body, dict):
        raise WireError("body", "a map", describe(body))
    return request_id, head, body


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map, in which nothing may be said twice: two readers might each take another one."""
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key is there twice")
    return body
