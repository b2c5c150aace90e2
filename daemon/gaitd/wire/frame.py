"""What every message of the contract is: one msgpack array with version and type at its head."""

from __future__ import annotations

from typing import Any

import msgpack

from gaitd.wire.generated import MAX_MESSAGE_BYTES, PROTOCOL_VERSION, MessageType


class WireError(ValueError):
    """A message that the contract refuses. ``field`` names the first offending part."""

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")
        self.field = field


class VersionError(WireError):
    """A message of another version of the contract. ``message`` is what it holds, version first."""

    def __init__(self, message: list[Any]) -> None:
        super().__init__("version", str(PROTOCOL_VERSION), describe(message[0]))
        self.message = message


def pack(values: tuple[Any, ...]) -> bytes:
    """The bytes of one array."""
    packed: bytes = msgpack.packb(values, use_bin_type=True)
    return packed


def unpack(data: bytes, kind: MessageType, elements: int, max_length: int) -> list[Any]:
    """The elements of a message of that type, version and type among them. Raises WireError.

    ``max_length`` bounds any array or map inside it. Announced lengths are allocated before their elements
    are seen: without it, 64 kB of nested headers that each announce 65535 elements would stall the worker.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("message", f"at most {MAX_MESSAGE_BYTES} bytes", f"{len(data)} bytes")
    try:
        message = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_unique,
            max_array_len=max_length,
            max_map_len=max_length,
        )
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        # ExtraData, FormatError and StackError are ValueErrors, truncation too.
        raise WireError("message", "one msgpack array", type(error).__name__) from None
    if not isinstance(message, list) or not message:
        raise WireError("message", "a msgpack array", describe(message))
    if not is_number(message[0], PROTOCOL_VERSION):
        raise VersionError(message)
    if len(message) < 2 or not is_number(message[1], kind):
        got = describe(message[1]) if len(message) > 1 else "nothing"
        raise WireError("type", f"{kind.value} ({kind.name})", got)
    if len(message) != elements:
        raise WireError("message", f"{elements} elements", f"{len(message)}")
    return message


def is_number(value: object, expected: int) -> bool:
    """Whether value is that integer; neither 1.0 nor True is 1 on the wire."""
    return type(value) is int and value == expected


def describe(value: object) -> str:
    """What came, in a few words. Containers are not looked into: their nesting is the sender's choice."""
    if isinstance(value, (list, dict)):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map, in which nothing may be said twice: two readers might each take another one."""
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("a key is there twice")
    return body
