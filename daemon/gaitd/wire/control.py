"""Requests and replies of the control channel: an array header around a map body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeGuard, TypeVar

import msgspec

from gaitd.wire.frame import VersionError, WireError, describe, is_number, pack, unpack
from gaitd.wire.generated import (
    MAX_CONTROL_LENGTH,
    MAX_INPUTS,
    MAX_JOINTS,
    MAX_REQUEST_BYTES,
    PROTOCOL_VERSION,
    STATE_VALUES,
    MessageType,
    Reason,
)

_ELEMENTS = 5
_DAMP = b"\xa4damp"
_HEAD_BYTES = 17
"""Array, version, type, a request id of nine bytes at most, and that name."""


@dataclass(frozen=True, slots=True)
class Request:
    """A controller's or a tool's question."""

    request_id: int
    """Chosen by the sender; the reply carries it back."""
    name: str
    body: dict[str, Any]
    over_network: bool = False
    """It came over TCP, where only the first policy's worker can be reached."""


@dataclass(frozen=True, slots=True)
class Reply:
    """gaitd's answer. When not ok, body holds ``reason`` and ``error``, one line for a person."""

    request_id: int
    ok: bool
    body: dict[str, Any]


class ForeignRequestError(WireError):
    """A request of another version whose header can be read; ``reply`` is the answer to it."""

    def __init__(self, version: int, request_id: int) -> None:
        super().__init__("version", str(PROTOCOL_VERSION), str(version))
        error = (
            f"the request is of version {version} of the wire contract, this gaitd speaks version "
            f"{PROTOCOL_VERSION}: use the client library of this gaitd's release"
        )
        self.reply = Reply(request_id, False, {"reason": int(Reason.CONTRACT), "error": error})


class _Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


_Uint = Annotated[int, msgspec.Meta(ge=0)]


class Account(_Body, frozen=True, kw_only=True):
    """What a controller tells people and tools of itself; times are of CLOCK_MONOTONIC."""

    simulated: bool
    """No real robot is behind it."""
    watched: bool
    """It gives the motors damping although its loop stands still."""
    thread: _Uint
    """The kernel's id of its loop's thread; 0: not known yet."""
    session: _Uint
    """The newest one that ended in damping; 0: none yet."""
    reason: _Uint
    """Why, a Reason."""
    command_ns: _Uint
    """When the last command came into force before that; 0: none had."""
    damped_ns: _Uint
    """When the motors were first given damping."""


class Hello(_Body, frozen=True, kw_only=True):
    """Body of ``hello``: who the controller is and what its states hold."""

    controller: str
    """A name for people."""
    joints: Annotated[list[str], msgspec.Meta(max_length=MAX_JOINTS)]
    """In the controller's order."""
    fields: Annotated[list[str], msgspec.Meta(max_length=MAX_JOINTS)]
    """The fields of the state message that it really fills; names of ``STATE_VALUES``."""
    message: Literal["state", "raw_observation"] = "state"
    inputs: Annotated[list[str], msgspec.Meta(max_length=MAX_INPUTS)] = []
    """The named inputs that it sends beyond those fields."""
    switchable: bool = False
    """Others may change the policy while it walks."""
    account: Account | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Refuse fields that a state does not have. Raises ValueError."""
        for field in self.fields:
            if field not in STATE_VALUES:
                known = ", ".join(STATE_VALUES)
                raise ValueError(f"fields: a state has no field {field[:40]!r}; known are {known}")


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


class Switch(_Body, frozen=True, kw_only=True):
    """Body of ``switch``."""

    policy: str
    """Its name, or the beginning of its id."""


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
    return pack((PROTOCOL_VERSION, int(MessageType.REQUEST), request.request_id, request.name, request.body))


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply."""
    return pack((PROTOCOL_VERSION, int(MessageType.REPLY), reply.request_id, reply.ok, reply.body))


def asks_for_damping(data: bytes) -> bool:
    """Whether it is a request to damp; the others are told by their head, without decoding them."""
    if _DAMP not in data[:_HEAD_BYTES]:
        return False
    try:
        return decode_request(data).name == "damp"
    except WireError:
        return False


def decode_request(data: bytes) -> Request:
    """Decode a request. Raises WireError, ForeignRequestError where it can be answered."""
    if len(data) > MAX_REQUEST_BYTES:
        raise WireError("message", f"at most {MAX_REQUEST_BYTES} bytes", f"{len(data)} bytes")
    try:
        request_id, name, body = _unpack(data, MessageType.REQUEST)
    except VersionError as error:
        version, kind, asked, *_ = [*error.message, None, None]
        if is_number(kind, MessageType.REQUEST) and _is_uint(version) and _is_uint(asked):
            raise ForeignRequestError(version, asked) from None
        raise
    if not isinstance(name, str):
        raise WireError("name", "a string", describe(name))
    return Request(request_id, name, body)


def decode_reply(data: bytes) -> Reply:
    """Decode a reply. Raises WireError."""
    request_id, ok, body = _unpack(data, MessageType.REPLY)
    if not isinstance(ok, bool):
        raise WireError("ok", "a boolean", describe(ok))
    return Reply(request_id, ok, body)


def _unpack(data: bytes, kind: MessageType) -> tuple[int, Any, dict[str, Any]]:
    _, _, request_id, head, body = unpack(data, kind, _ELEMENTS, MAX_CONTROL_LENGTH)
    if not _is_uint(request_id):
        raise WireError("request_id", "an unsigned integer", describe(request_id))
    if not isinstance(body, dict):
        raise WireError("body", "a map", describe(body))
    return request_id, head, body


def _is_uint(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0
