"""What a shadow and telemetry say to each other, at a socket of their own in the runtime directory.

A shadow asks for the processes' memory and gets it read-only; from then on it tells how it does. A message is
one JSON object. Nothing of this reaches the guardian or a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from gaitd.errors import InputError
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.wire.generated import MAX_JOINTS

SOCKET = "shadow.sock"
MAX_MESSAGE_BYTES = 64 * 1024
QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""Of the differences and durations that a shadow tells; 1 is the largest."""

Text = Annotated[str, msgspec.Meta(max_length=1000)]
Name = Annotated[str, msgspec.Meta(max_length=100)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Number = Annotated[float, msgspec.Meta(ge=0)]
ByQuantile = Annotated[list[Number], msgspec.Meta(min_length=len(QUANTILES), max_length=len(QUANTILES))]
"""In the order of QUANTILES."""
Verdict: TypeAlias = Literal[
    "too few", "equivalent", "as simulated", "different", "faulty", "too slow", "inconclusive"
]


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a candidate has done so far beside the policy that walks."""

    policy: Name
    """Name and version of the candidate."""
    policy_id: Name
    of: Name
    """Of the policy that walks."""
    of_id: Name
    verdict: Verdict
    why: Text
    """The verdict's numbers, for people."""
    against: Text
    """What the verdict holds the differences against."""
    compared: Count
    """Steps in which both have a target."""
    missed: Count
    """Steps that were overwritten, or came too late to be compared."""
    left_out: Count
    """Steps whose messages are not known, or not all that the candidate observes of the steps before."""
    another_policy: Count = 0
    """Steps in which another policy walked than the one that it is compared with: of no account."""
    one_only: Count
    """Steps in which only one of the two has a target."""
    not_finite: Count
    errors: Count
    """Inferences that failed."""
    refused: Mapping[Name, Count]
    """Steps in which the candidate's own limits refuse the state or the action, by cause."""
    clamped: Annotated[Mapping[Name, Count], msgspec.Meta(max_length=len(LIMIT_NAMES))]
    """Joints that its own limits would have held back, by limit."""
    step_s: ByQuantile
    """From a state to the target."""
    cpu_s: ByQuantile
    """So much of it was computed; the rest the shadow waited, on a busy machine for the CPU."""
    joints: Annotated[Mapping[Name, ByQuantile], msgspec.Meta(max_length=MAX_JOINTS)]
    """Difference of the two targets, rad, by joint."""
    mean_rad: Annotated[Mapping[Name, Number], msgspec.Meta(max_length=MAX_JOINTS)]
    """Its mean."""
    term: Text = ""
    """The term that it observes differently, where one stands out."""


class Follow(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A shadow asks for the memory; there is one at a time."""

    policy: Name


class Told(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How it does, from then on."""

    report: ShadowReport


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Anybody: how does the shadow do?"""


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Anybody: it shall end."""


Request: TypeAlias = Follow | Told | Ask | Stop


class Memory(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a shadow gets, with descriptors of the guardian's memory, the manifest and the workers' memory."""

    gaitd: Name
    policy: dict[str, str]
    bundle: str
    backends: list[str]
    """Those of the worker; the guardian's memory tells which one runs."""
    period_s: float
    state_max_age_s: float
    joints: list[str]
    """In the policy's order."""
    hot_cpus: list[int]
    """On which it must not run."""


class News(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Whether a shadow runs, and the newest that is known of it or of the one before."""

    runs: bool
    report: ShadowReport | None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Why not."""

    error: str


Reply: TypeAlias = Memory | News | Refused
M = TypeVar("M")
_encoder = msgspec.json.Encoder()
_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """One message."""
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    """What a peer sent. Raises InputError."""
    request: Request = _decode(data, _requests)
    return request


def decode_reply(data: bytes) -> Reply:
    """What telemetry answered. Raises InputError."""
    reply: Reply = _decode(data, _replies)
    return reply


def _decode(data: bytes, decoder: msgspec.json.Decoder[M]) -> M:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{SOCKET}: not a message of this version of gaitd: {error}") from None
