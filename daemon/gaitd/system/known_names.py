"""What msgspec leaves out when it refuses a name in somebody's file: the names that it would take."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect


def known_names(problem: str, kind: type[msgspec.Struct]) -> str:
    """Text to put behind msgspec's message about a file that should be a ``kind``.

    "; known: ..." for an unknown field or an unknown value of a fixed set; empty for any other message.
    """
    path = re.search(r" - at `\$(.*)`$", problem)
    kinds = [inspect.type_info(kind)]
    for name in re.findall(r"\.(\w+)|\[", path[1] if path else ""):
        kinds = [inner for outer in kinds for inner in _within(outer, name)]
    known: list[str] = []
    for there in kinds:
        if isinstance(there, inspect.StructType) and "unknown field" in problem:
            known = [field.name for field in there.fields]
        elif isinstance(there, inspect.LiteralType) and problem.startswith("Invalid enum value"):
            known = [str(value) for value in there.values]
    return f"; known: {', '.join(known)}" if known else ""


def _within(outer: inspect.Type, name: str) -> Iterator[inspect.Type]:
    """The types of a struct's field, or for an empty name of a container's values, without unions."""
    found: list[inspect.Type] = []
    if isinstance(outer, inspect.Metadata):
        outer = outer.type
    if isinstance(outer, inspect.StructType):
        found = [field.type for field in outer.fields if field.name == name]
    elif isinstance(outer, inspect.ListType):
        found = [outer.item_type]
    elif isinstance(outer, inspect.DictType):
        found = [outer.value_type]
    elif isinstance(outer, inspect.TupleType):
        found = list(outer.item_types)
    for kind in found:
        kind = kind.type if isinstance(kind, inspect.Metadata) else kind
        yield from kind.types if isinstance(kind, inspect.UnionType) else [kind]
