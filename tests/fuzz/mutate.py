"""Messages of the contract, and what a broken, confused or hostile peer might send in their place.

A message is a list of packed elements, so that a mutation can change one and keep the rest in step.
Whether the result still is a message is the oracle's business, not this module's.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgpack

from fuzz.oracle import STATE_FIELDS, Peers
from gaitd.wire.control import Request, encode_request
from gaitd.wire.generated import Reason

Elements = list[bytes]

HEX = "0123456789abcdef"
UNKNOWN_FIELDS = ("seq", "inputs", "", "Orientation", "orientation ", "joint_torques", "observation")
"""What is near: elements that nobody fills, other spellings, nothing."""


def pack(value: object) -> bytes:
    """The shortest form."""
    packed: bytes = msgpack.packb(value)
    return packed


ODD = [
    *(pack(value) for value in (None, True, False, -1, -(2**63), 2**64 - 1, 0, 1, 2, 3, 255, 256)),
    *(pack(value) for value in (1.0, float("nan"), float("inf"), "", "1", "x" * 40, b"", b"1", b"\0" * 12)),
    *(pack(value) for value in ([], [1], [[]], {}, {"a": 1}, {1: 2}, msgpack.Timestamp(1, 2))),
    *(msgpack.packb(1.0, use_single_float=True), b"\xca\x7f\xc0\x00\x00", b"\xc1"),
    *(b"\xd4\x05\x00", b"\xd8\x05" + b"\0" * 16, b"\xc7\x00\x05", b"\xc9\x00\x00\x00\x01\x05\x00"),
    *(tag + b"\xff\xff\xff\xff" for tag in (b"\xc6", b"\xc9", b"\xdb", b"\xdd", b"\xdf")),
    *(tag + b"\x7f\xff\xff\xff" for tag in (b"\xc6", b"\xdb", b"\xdd", b"\xdf")),
    *(tag + b"\xff\xff" for tag in (b"\xc5", b"\xda", b"\xdc", b"\xde")),
    *(b"\xa2\xc3\x28", b"\xa1\xff", b"\xd9\x03\xed\xa0\x80"),
    *(b"\x91" * depth + b"\xc0" for depth in (2, 31, 511, 1023, 1024, 5000)),
    *(b"\x81\xa1a" * depth + b"\xc0" for depth in (2, 33, 1100)),
]
"""Elements that belong nowhere, or only where the contract says so."""

INTERESTING = bytes(sorted({0, 1, 0x7F, 0x80, 0x8F, 0x90, 0x9D, 0x9F, 0xA0, 0xBF, 0xFF, *range(0xC0, 0xE0)}))


# ---- good messages


def good(rng: random.Random, kind: str, peers: Peers) -> Elements:
    """The elements of a message as it should be; of a request, as it might be."""
    if kind == "state":
        n = peers.joints
        sizes = (3, 4, 3, 3 * rng.getrandbits(1), 3, n, n, n)
        blobs = [_blob(rng, size) for size in sizes]
        inputs = bytes([0x90 + len(peers.input_sizes)]) + b"".join(_blob(rng, n) for n in peers.input_sizes)
        return [b"\x02", b"\x01", *(_number(rng) for _ in range(3)), *blobs, inputs]
    if kind == "raw_observation":
        sizes = (peers.observation_dim, peers.joints, peers.joints)
        return [b"\x02", b"\x02", *(_number(rng) for _ in range(3)), *(_blob(rng, size) for size in sizes)]
    if kind == "command":
        return [b"\x02", b"\x03", *_command(rng, peers.joints)]
    if kind == "reply":
        body = (
            {"reason": rng.randrange(13), "error": "no"} if rng.getrandbits(1) else {"session": 7, "x": [1]}
        )
        return [b"\x02", b"\x05", _number(rng), pack(rng.random() < 0.5), pack(body)]
    return [b"\x02", b"\x04", _number(rng), *_ask(rng, peers)]


def _command(rng: random.Random, joints: int) -> Elements:
    """What follows version and type: at times with a number just beyond what names something."""
    slot, joint, policy = rng.choice((0, 3, 4, 254, 255)), rng.choice((0, joints - 1, joints, 255)), 15
    if rng.random() < 0.9:
        slot, joint = rng.choice((0, 1, 2, 3, 255)), rng.choice((rng.randrange(joints), 255))
        policy = rng.randrange(16)
    return [
        *(_number(rng), _number(rng), pack(slot), *(_number(rng) for _ in range(3))),
        *(pack(rng.randrange(3)), pack(rng.randrange(256))),
        *(pack(rng.randrange(256)), pack(joint), _blob(rng, 2), pack(policy)),
        *(_blob(rng, joints) for _ in range(6)),
    ]


def _ask(rng: random.Random, peers: Peers) -> Elements:
    """Name and body of a request: each key good most of the time."""
    joints, fields = list(peers.joint_names), list(STATE_FIELDS)
    rng.shuffle(joints)
    rng.shuffle(fields)
    other_fields = rng.choice((fields[:4], [*fields, rng.choice(UNKNOWN_FIELDS)]))
    sessions = (peers.session, 0, peers.session + 1, -1, 2**64 - 1)
    bodies = {
        "hello": {
            "controller": "c",
            "joints": joints[: -1 - rng.getrandbits(1)] if rng.random() < 0.1 else joints,
            "fields": other_fields if rng.random() < 0.3 else fields,
            "message": rng.choice(("state", "state", "raw_observation", "photo")),
            "account": _account(rng),
            "switchable": rng.random() < 0.5,
            "inputs": _inputs(rng, peers),
        },
        "activate": {},
        "release": {"session": rng.choice(sessions)},
        "damp": {"session": rng.choice(sessions), "reason": rng.randrange(9, 13), "detail": "x"},
        "switch": {"policy": rng.choice((*peers.policy, peers.policy[1][:5], "", "gallop"))},
        "status": {},
        "": {},
    }
    name, body = rng.choice(list(bodies.items()))
    pairs = [(pack(key), pack(value)) for key, value in body.items() if rng.random() < 0.95]
    dice = rng.random()
    if dice < 0.1:
        pairs.append((rng.choice((b"\xa6colour", b"\xa7session", b"\x01", b"\xc4\x01a")), rng.choice(ODD)))
    elif dice < 0.2 and pairs:
        pairs.append(rng.choice(pairs))
    elif dice < 0.4 and pairs:
        index = rng.randrange(len(pairs))
        pairs[index] = (pairs[index][0], rng.choice(ODD))
    rng.shuffle(pairs)
    return [pack(name), bytes([0x80 + len(pairs)]) + b"".join(key + value for key, value in pairs)]


def _inputs(rng: random.Random, peers: Peers) -> list[object]:
    """Names of inputs: those that are needed, most of the time."""
    needed: list[object] = [*sorted(peers.needed_inputs), "height"]
    rng.shuffle(needed)
    odd: tuple[list[object], ...] = ([], ["height"], needed[1:], ["a"] * 16, ["a"] * 17, [1])
    return needed if rng.random() < 0.7 else rng.choice(odd)


def _account(rng: random.Random) -> dict[str, object]:
    """What a controller tells of itself; now and then with something missing, odd or too much."""
    told: dict[str, object] = {"simulated": rng.random() < 0.5, "watched": rng.random() < 0.5}
    for name in ("thread", "session", "reason", "command_ns", "damped_ns"):
        told[name] = rng.choice((0, rng.getrandbits(8), rng.getrandbits(63)))
    if rng.random() < 0.2:
        told[rng.choice((*told, "colour"))] = rng.choice((-1, 2**64 - 1, 0.5, True, None, "x", [], {}))
    if rng.random() < 0.1:
        del told[rng.choice(list(told))]
    return told


def _number(rng: random.Random) -> bytes:
    return pack(rng.getrandbits(rng.choice((3, 8, 16, 40, 64))))


def _blob(rng: random.Random, floats: int) -> bytes:
    return pack(rng.randbytes(4 * floats))


# ---- changes of the elements


def _put_odd(rng: random.Random, elements: Elements) -> None:
    elements[rng.randrange(len(elements))] = rng.choice(ODD)


def _drop(rng: random.Random, elements: Elements) -> None:
    del elements[rng.randrange(len(elements))]


def _double(rng: random.Random, elements: Elements) -> None:
    index = rng.randrange(len(elements))
    elements.insert(index, elements[index])


def _add(rng: random.Random, elements: Elements) -> None:
    elements.insert(rng.randrange(len(elements) + 1), rng.choice(ODD))


def _swap(rng: random.Random, elements: Elements) -> None:
    a, b = rng.randrange(len(elements)), rng.randrange(len(elements))
    elements[a], elements[b] = elements[b], elements[a]


def _version_or_type(rng: random.Random, elements: Elements) -> None:
    elements[rng.getrandbits(1)] = pack(rng.choice((0, 1, 3, 4, 5, 6, 255, 2**32 + 2, -1)))


def _resize(rng: random.Random, elements: Elements) -> None:
    """A blob or text of another length, the announced one right."""
    index = rng.randrange(len(elements))
    value = _unpacked(elements[index])
    if isinstance(value, bytes):
        elements[index] = pack((value + rng.randbytes(64))[: max(0, len(value) + rng.choice(_STEPS))])
    elif isinstance(value, str):
        elements[index] = pack((value + "0" * 64)[: max(0, len(value) + rng.choice(_STEPS))])


_STEPS = (-64, -16, -8, -4, -3, -2, -1, 1, 2, 3, 4, 8, 16)


def _recode(rng: random.Random, elements: Elements) -> None:
    """The same value in another format, as other writers have it; or its twin of another type."""
    index = rng.randrange(len(elements))
    value = _unpacked(elements[index])
    if isinstance(value, int) and not isinstance(value, bool):
        tag, width = rng.choice(_INTEGER_FORMATS)
        elements[index] = tag + (value & (256**width - 1)).to_bytes(width, "big")
    elif isinstance(value, (bytes, str)):
        raw = value if isinstance(value, bytes) else value.encode()
        tag, width = rng.choice(_SIZED_FORMATS)
        elements[index] = tag + (len(raw) & (256**width - 1)).to_bytes(width, "big") + raw


_INTEGER_FORMATS = [(bytes([0xCC + i]), 1 << i) for i in range(4)] + [
    (bytes([0xD0 + i]), 1 << i) for i in range(4)
]
_SIZED_FORMATS = [(bytes([0xC4 + i]), 1 << i) for i in range(3)] + [
    (bytes([0xD9 + i]), 1 << i) for i in range(3)
]


def _unpacked(element: bytes) -> object:
    try:
        return msgpack.unpackb(element, raw=False, strict_map_key=False)
    except (ValueError, msgpack.exceptions.UnpackException):
        return None


def _text(rng: random.Random, elements: Elements) -> None:
    """Characters where none belong, or other ones."""
    texts = ("".join(rng.choices(HEX + "gG\n \u0660A", k=16)), "0" * 15 + "\0", "\u0660" * 8)
    elements[rng.randrange(len(elements))] = pack(rng.choice(texts))


STRUCTURAL: list[Callable[[random.Random, Elements], None]] = [
    *(_put_odd, _put_odd, _drop, _double, _add, _swap, _version_or_type, _resize, _resize, _recode, _text)
]


def _plain_header(count: int) -> bytes:
    return bytes([0x90 + count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def _header(rng: random.Random, count: int) -> bytes:
    """The array's header: right most of the time, in any of its forms."""
    if rng.random() < 0.15:
        count = max(0, count + rng.choice((-2, -1, 1, 2, 100)))
    dice = rng.random()
    if dice < 0.9 and count < 16:
        return bytes([(0x80 if dice < 0.02 else 0x90) + count])
    return b"\xdc" + count.to_bytes(2, "big") if dice < 0.95 else b"\xdd" + count.to_bytes(4, "big")


# ---- changes of the bytes


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 3))):
        data[rng.randrange(len(data))] = rng.choice(INTERESTING)


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def _trail(rng: random.Random, data: bytearray) -> None:
    data += rng.choice((b"\0", b"\xc0", bytes(data), rng.randbytes(rng.randrange(1, 20))))


def _remove(rng: random.Random, data: bytearray) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 1, 2, 4, 9, 50))]


def _insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 9)))


def _inflate(rng: random.Random, data: bytearray) -> None:
    data += rng.choice((b"\0", b"\xc0", b"\x80", b"\x91")) * 70_000


RAW: list[Callable[[random.Random, bytearray], None]] = [_flip, _overwrite, _cut, _trail, _remove, _insert]


def mutant(rng: random.Random, kind: str, peers: Peers) -> bytes:
    """A message of that kind with something done to it; now and then with nothing."""
    elements = good(rng, kind, peers)
    dice = rng.random()
    if dice < 0.02:
        return rng.randbytes(rng.randrange(300))
    if kind == "request" and dice > 0.99:
        body = {"session": 0, "reason": int(Reason.OPERATOR), "detail": "x" * rng.randrange(8100, 8200)}
        return encode_request(Request(rng.getrandbits(32), "damp", body))
    if dice < 0.6:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            if elements:
                rng.choice(STRUCTURAL)(rng, elements)
        return _header(rng, len(elements)) + b"".join(elements)
    data = bytearray(_plain_header(len(elements)) + b"".join(elements))
    if dice < 0.98:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            if data:
                rng.choice(RAW)(rng, data)
    elif dice < 0.9802:
        _inflate(rng, data)
    return bytes(data)
