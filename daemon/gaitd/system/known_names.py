"""What msgspec leaves out when it refuses a name in somebody's file: the names that it would take."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect


def known_names(problem: str, kind: type[msgspec.Struct]) -> str:
    """Text to put behind msgspec's message about a file that should be a ``kind``.

    "; known: ..." for an unknown field or an unknown value of a fixed set, and where a field belongs that
    stands in the wrong place; empty for any other message.
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
    return f"; known: {', '.join(known)}{_belongs(problem, kind)}" if known else ""


def _belongs(problem: str, kind: type[msgspec.Struct]) -> str:
    """In which part of the file the unknown field would be known."""
    name = re.search(r"unknown field `(\w+)`", problem)
    parts = [(part, inspect.type_info(part.type)) for part in msgspec.structs.fields(kind)] if name else []
    homes = [
        part.name
        for part, info in parts
        if isinstance(info, inspect.StructType) and name and name[1] in {field.name for field in info.fields}
    ]
    return f"; {name[1]} belongs below {' or '.join(homes)}" if name and homes else ""


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
