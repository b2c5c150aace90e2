"""Which bytes are a message of the contract: written from proto/README.md and the msgpack format, not from
the codecs, so that a mistake in them is not repeated here.

A message is read into items ``(kind, value)``, and each of its elements must fit a rule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Item = tuple[str, Any]
Rule = Callable[[Item], bool]

MAX_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 8 * 1024
MAX_INPUTS = 16
STATE_FIELDS = (
    *("angular_velocity", "orientation", "linear_acceleration", "linear_velocity", "velocity_command"),
    *("joint_position", "joint_velocity", "joint_torque"),
)
"""What a controller may fill."""
MAX_DEPTH = 100
"""No message of the contract nests deeper than 4."""


class MalformedError(Exception):
    """Not msgpack, or cut off."""


@dataclass(frozen=True)
class Peers:
    """What the two sides agreed on, as far as it decides which messages are good."""

    joints: int = 12
    observation_dim: int = 45
    input_sizes: tuple[int, ...] = ()
    """Of the named inputs."""
    joint_names: tuple[str, ...] = ()
    needed_fields: frozenset[str] = frozenset()
    needed_inputs: frozenset[str] = frozenset()
    """Named inputs that the policy wants."""
    session: int = 0
    """The running one."""
    policy: tuple[str, str] = ("", "")
    """Name and id of the only one that is loaded."""


def is_state(data: bytes, peers: Peers) -> bool:
    """STATE, as far as it can be told without the messages before it."""
    return _elements(data, _state(peers.joints, peers.input_sizes)) is not None


def is_raw_observation(data: bytes, peers: Peers) -> bool:
    """RAW_OBSERVATION."""
    return _elements(data, _raw_observation(peers.observation_dim, peers.joints)) is not None


def is_command(data: bytes, peers: Peers) -> bool:
    """COMMAND, as far as it can be told without the session around it."""
    return _elements(data, _command(peers.joints)) is not None


def is_request(data: bytes, peers: Peers) -> bool:
    """A request that these peers must grant."""
    elements = _elements(data, _REQUEST)
    if elements is None or len(data) > MAX_REQUEST_BYTES:
        return False
    body = _keys(elements[4][1])
    return body is not None and _is_granted(elements[3][1], body, peers)


def is_reply(data: bytes) -> bool | None:
    """Array and envelope of a reply; None where only the inside of its body is odd.

    A reader may ignore what it does not know in there, so that is not the contract's business.
    """
    elements = _elements(data, _REPLY)
    if elements is None:
        return False
    return True if _is_ordinary(elements[4]) else None


# ---- rules


def uint(last: int = 2**64 - 1) -> Rule:
    """An integer that is not negative, up to ``last``."""
    return lambda item: item[0] == "int" and 0 <= item[1] <= last


def exactly(number: int) -> Rule:
    """That integer."""
    return lambda item: item == ("int", number)


def f32(*counts: int) -> Rule:
    """A blob of one of these numbers of float32."""
    sizes = [4 * count for count in counts]
    return lambda item: item[0] == "bin" and len(item[1]) in sizes


def _is(kind: str) -> Rule:
    return lambda item: item[0] == kind


def either(*rules: Rule) -> Rule:
    """What one of the rules takes."""
    return lambda item: any(rule(item) for rule in rules)


def array(*rules: Rule) -> Rule:
    """An array of as many items as there are rules, each of which fits its own."""
    return lambda item: (
        item[0] == "array"
        and len(item[1]) == len(rules)
        and all(rule(each) for rule, each in zip(rules, item[1], strict=True))
    )


@functools.cache
def _state(n: int, inputs: tuple[int, ...]) -> Sequence[Rule]:
    vectors = (f32(3), f32(4), f32(3), f32(3, 0), f32(3), f32(n), f32(n), f32(n))
    return (exactly(2), exactly(1), uint(), uint(), uint(), *vectors, array(*map(f32, inputs)))


@functools.cache
def _raw_observation(dim: int, n: int) -> Sequence[Rule]:
    return (exactly(2), exactly(2), uint(), uint(), uint(), f32(dim), f32(n), f32(n))


@functools.cache
def _command(n: int) -> Sequence[Rule]:
    session, epoch, seq, state_stamp, publish_stamp = 5 * (uint(),)
    slot, mode, reason = either(uint(3), exactly(255)), uint(2), uint(255)
    cause, joint, values = uint(255), either(uint(n - 1), exactly(255)), f32(2)
    head = (exactly(2), exactly(3), session, epoch, slot, seq, state_stamp, publish_stamp, mode, reason)
    return (*head, cause, joint, values, uint(15), *6 * (f32(n),))


_REQUEST = (exactly(2), exactly(4), uint(), _is("str"), _is("map"))
_REPLY = (exactly(2), exactly(5), uint(), _is("bool"), _is("map"))


def _elements(data: bytes, rules: Sequence[Rule]) -> list[Item] | None:
    """The elements of the one array that the bytes are, if it is one and each fits its rule."""
    if len(data) > MAX_BYTES:
        return None
    elements = []
    try:
        count, at = _array_header(data)
        if count != len(rules):
            return None
        for rule in rules:
            item, at = _item(data, at, 1)
            if not rule(item):
                return None
            elements.append(item)
    except MalformedError:
        return None
    return elements if at == len(data) else None


def _is_granted(name: str, body: dict[str, Item], peers: Peers) -> bool:
    ours = exactly(peers.session)
    if name == "hello":
        return (
            _has(body, {"controller", "joints", "fields"}, {"message", "account", "switchable", "inputs"})
            and body.get("switchable", ("bool", False))[0] == "bool"
            and len(_texts(body.get("inputs", ("array", []))) or ()) <= MAX_INPUTS
            and _texts(body.get("inputs", ("array", []))) is not None
            and ("account" not in body or _is_account(body["account"]))
            and body["controller"][0] == "str"
            and _texts(body["joints"]) is not None
            and sorted(_texts(body["joints"]) or ()) == sorted(peers.joint_names)
            and _texts(body["fields"]) is not None
            and set(_texts(body["fields"]) or ()) <= set(STATE_FIELDS)
            and body.get("message", ("str", "state")) in (("str", "state"), ("str", "raw_observation"))
            and (
                body.get("message") == ("str", "raw_observation")
                or (
                    peers.needed_fields <= set(_texts(body["fields"]) or ())
                    and peers.needed_inputs <= set(_texts(body.get("inputs", ("array", []))) or ())
                )
            )
        )
    if name == "release":
        return _has(body, {"session"}) and ours(body["session"])
    if name == "damp":
        return (
            _has(body, {"session", "reason"}, {"detail"})
            and (ours(body["session"]) or exactly(0)(body["session"]))
            and body["reason"] in (("int", 10), ("int", 11))
            and body.get("detail", ("str", ""))[0] == "str"
        )
    if name == "switch":
        known, policy_id = peers.policy
        kind, wanted = body.get("policy", ("none", ""))
        named = kind == "str" and (wanted == known or (wanted != "" and policy_id.startswith(wanted)))
        return _has(body, {"policy"}) and named
    return name in ("activate", "status") and not body


def _is_account(item: Item) -> bool:
    body = _keys(item[1]) if item[0] == "map" else None
    numbers = {"thread", "session", "reason", "command_ns", "damped_ns"}
    answers = {"simulated", "watched"}
    return (
        body is not None
        and _has(body, numbers | answers)
        and all(uint()(body[key]) for key in numbers)
        and all(body[key][0] == "bool" for key in answers)
    )


def _has(body: dict[str, Item], needed: set[str], optional: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
    return needed <= set(body) <= needed | optional


def _keys(pairs: list[tuple[Item, Item]]) -> dict[str, Item] | None:
    """The map by its keys; None when one is no text or there twice."""
    if any(key[0] != "str" for key, _ in pairs):
        return None
    body = {key[1]: value for key, value in pairs}
    return body if len(body) == len(pairs) else None


def _texts(item: Item) -> list[str] | None:
    """A list of texts; None when it is something else."""
    kind, items = item
    return [each[1] for each in items] if kind == "array" and all(e[0] == "str" for e in items) else None


def _is_ordinary(item: Item, depth: int = 0) -> bool:
    """Nothing in it that readers of msgpack take differently."""
    kind, value = item
    if kind == "array":
        return depth < 8 and all(_is_ordinary(each, depth + 1) for each in value)
    if kind == "map":
        body = _keys(value)
        return depth < 8 and body is not None and all(_is_ordinary(v, depth + 1) for v in body.values())
    return kind not in ("ext", "not utf-8")


# ---- msgpack

_SIZED = {
    **{0xC4 + i: ("bin", 1 << i) for i in range(3)},
    **{0xC7 + i: ("ext", 1 << i) for i in range(3)},
    **{0xD9 + i: ("str", 1 << i) for i in range(3)},
    **{0xDC + i: ("array", 2 << i) for i in range(2)},
    **{0xDE + i: ("map", 2 << i) for i in range(2)},
}
_NUMBERS = {
    **{0xCC + i: ("int", 1 << i, False) for i in range(4)},
    **{0xD0 + i: ("int", 1 << i, True) for i in range(4)},
    **{0xCA + i: ("float", 4 << i, False) for i in range(2)},
}


def _array_header(data: bytes) -> tuple[int, int]:
    """How many elements the array has, and where the first begins. Raises MalformedError."""
    tag = data[0] if data else None
    if tag is not None and 0x90 <= tag <= 0x9F:
        return tag & 15, 1
    if tag not in (0xDC, 0xDD):
        raise MalformedError
    raw, at = _take(data, 1, 2 if tag == 0xDC else 4)
    return int.from_bytes(raw, "big"), at


def _item(data: bytes, at: int, depth: int) -> tuple[Item, int]:
    if at >= len(data) or depth > MAX_DEPTH:
        raise MalformedError
    tag = data[at]
    at += 1
    if tag <= 0x7F or tag >= 0xE0:
        return ("int", tag if tag <= 0x7F else tag - 256), at
    if tag in _NUMBERS:
        kind, width, signed = _NUMBERS[tag]
        raw, at = _take(data, at, width)
        return (kind, int.from_bytes(raw, "big", signed=signed)), at
    if tag in _SIZED:
        kind, width = _SIZED[tag]
        raw, at = _take(data, at, width)
        return _container(data, at, depth, kind, int.from_bytes(raw, "big"))
    if tag <= 0x8F:
        return _container(data, at, depth, "map", tag & 15)
    if tag <= 0x9F:
        return _container(data, at, depth, "array", tag & 15)
    if tag <= 0xBF:
        return _container(data, at, depth, "str", tag & 31)
    if tag >= 0xD4:
        return _container(data, at, depth, "ext", 1 << (tag - 0xD4))
    if tag == 0xC1:
        raise MalformedError
    return ("nil" if tag == 0xC0 else "bool", tag), at


def _container(data: bytes, at: int, depth: int, kind: str, size: int) -> tuple[Item, int]:
    if kind in ("array", "map"):
        items: list[Item] = []
        for _ in range(size if kind == "array" else 2 * size):
            item, at = _item(data, at, depth + 1)
            items.append(item)
        return (kind, items if kind == "array" else list(zip(items[::2], items[1::2], strict=True))), at
    raw, at = _take(data, at, size + (kind == "ext"))
    if kind != "str":
        return (kind, raw), at
    try:
        return ("str", raw.decode()), at
    except UnicodeDecodeError:
        return ("not utf-8", raw), at


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if len(data) - at < size:
        raise MalformedError
    return data[at : at + size], at + size
