"""What contract.yaml holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Constant(_Strict, frozen=True, kw_only=True):
    """A number or name that code reads; its unit is the end of its name."""

    name: str
    value: int | float | str
    only: Literal["python", "cpp", None] = None
    """The one language that needs it; None: both do."""
    meaning: str


class Channel(_Strict, frozen=True, kw_only=True):
    """One ZeroMQ endpoint."""

    name: str
    pattern: str
    binds: str
    carries: str


class Member(_Strict, frozen=True, kw_only=True):
    """One value of an enumeration."""

    number: int
    name: str
    meaning: str


class Enumeration(_Strict, frozen=True, kw_only=True):
    """Numbers that travel, without properties."""

    name: str
    meaning: str
    members: list[Member]


class ReasonEntry(_Strict, frozen=True, kw_only=True):
    """Why the mode is what it is."""

    number: int
    name: str
    text: str
    limp: bool = False
    replaces_worker: bool = False


class CauseEntry(_Strict, frozen=True, kw_only=True):
    """Why one state or action was refused."""

    number: int
    name: str
    reason: str
    text: str
    unit: str = ""

    @property
    def bare_text(self) -> str:
        """Without the parts that need values."""
        return re.sub(r"\[.*?\]", "", self.text)


class Field(_Strict, frozen=True, kw_only=True):
    """One element of a message."""

    name: str
    type: str
    unit: str = ""
    meaning: str = ""
    refused: str = ""


class Message(_Strict, frozen=True, kw_only=True):
    """The elements of a message that is streamed."""

    name: str
    fields: list[Field]

    @property
    def values(self) -> dict[str, int | None]:
        """Lengths of the elements that are arrays of numbers; None: of one number per joint."""
        lengths = {field.name: re.match(r"f32\[(\d+|n)\]", field.type) for field in self.fields}
        return {name: None if match[1] == "n" else int(match[1]) for name, match in lengths.items() if match}


class Key(_Strict, frozen=True, kw_only=True):
    """One entry of a map."""

    key: str
    type: str
    meaning: str
    optional: bool = False


class RequestEntry(_Strict, frozen=True, kw_only=True):
    """One question on the control channel."""

    name: str
    body: list[Key]
    reply: str
    refused: str

    @property
    def keys_needed(self) -> dict[str, bool]:
        """Whether each key of the body must be there."""
        return {key.key: not key.optional for key in self.body}


class Contract(_Strict, frozen=True, kw_only=True):
    """The file."""

    protocol_version: int
    constants: list[Constant]
    channels: list[Channel]
    enums: list[Enumeration]
    reasons: list[ReasonEntry]
    causes: list[CauseEntry]
    messages: list[Message]
    requests: list[RequestEntry]
    hello_reply: list[Key]

    def __post_init__(self) -> None:
        """Refuse numbers and names that are there twice, and causes with an unknown reason."""
        numbered: list[Sequence[Member | ReasonEntry | CauseEntry]] = [self.reasons, self.causes]
        for entries in (*numbered, *(enum.members for enum in self.enums)):
            for values in ([entry.number for entry in entries], [entry.name for entry in entries]):
                if len(set(values)) != len(values):
                    raise ValueError(f"a number or name is there twice: {values}")
        names = {reason.name for reason in self.reasons}
        for cause in self.causes:
            if cause.reason not in names:
                raise ValueError(f"cause {cause.name}: unknown reason {cause.reason!r}")
