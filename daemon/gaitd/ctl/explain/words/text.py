"""A text in both languages, and what a verdict's words are made of."""

from __future__ import annotations

from typing import Literal, NamedTuple

Language = Literal["en", "zh"]


class Text(NamedTuple):
    """The same in both languages; ``{name}`` is a value."""

    en: str
    zh: str


class Kind(NamedTuple):
    """A verdict's words, and the exit code of its family."""

    family: str
    what: Text
    then: Text
