"""Enumerations that may grow without a new protocol version."""

from __future__ import annotations

import enum
from typing import TypeVar

_N = TypeVar("_N", bound="Number")


class Number(enum.IntEnum):
    """A number that travels and whose list may be longer in a later gaitd."""

    @classmethod
    def received(cls: type[_N], number: int) -> _N:
        """The member with that number; one that a later gaitd added is called by its number."""
        try:
            return cls(number)
        except ValueError:
            unknown = int.__new__(cls, number)
            unknown._name_, unknown._value_ = f"UNKNOWN_{number}", number
            return unknown
