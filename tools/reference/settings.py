"""The keys of a file, read from the msgspec types that decode it."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as types

from gaitd.policy.manifest import JointValues
from gaitd.system.config_doc import field_docs

JOINT_VALUES = types.type_info(JointValues)
UNITS = {
    "_nms_per_rad": "Nm s/rad",
    "_nm_per_rad": "Nm/rad",
    "_rad_per_step": "rad in a control step",
    "_rad_per_s2": "rad/s²",
    "_nm_per_s": "Nm/s",
    "_rad_per_s": "rad/s",
    "_m_per_s": "m/s",
    "_nm": "Nm",
    "_rad": "rad",
    "_periods": "control periods",
    "_steps": "control steps",
    "_per_step": "in a control step",
    "_turns": "turns",
    "_ms": "ms",
    "_s": "s",
    "_m": "m",
    "_kg": "kg",
    "_kib": "KiB",
    "_mb": "MB",
}
"""By the end of a key's name; the first that fits."""


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    name: str
    value: str
    """What it may hold."""
    since: str
    """"format 2" for a key that a file of format 1 does not have."""
    unit: str
    default: str
    """In the file's own notation; "required" where there is none."""
    meaning: str


@dataclass(frozen=True)
class Section:
    """A section of a file, or the file's first level, whose ``path`` is empty."""

    path: str
    """``limits.position``; with ``[]`` behind the name of a list."""
    description: str
    keys: tuple[Key, ...]


def sections(
    kind: type[msgspec.Struct], path: str = "", given: msgspec.Struct | None = None
) -> Iterator[Section]:
    """A type's own keys, then those of every section in it.

    ``given``: what stands there by default; its values are the keys' defaults.
    """
    info = types.type_info(kind)
    assert isinstance(info, types.StructType)
    docs = field_docs(sys.modules[kind.__module__])
    keys = [
        Key(
            name=field.name,
            value=_value(field.type),
            since=_since(field.type),
            unit=next((unit for end, unit in UNITS.items() if field.name.endswith(end)), ""),
            default=_default(field, given),
            meaning=_words(_said(docs, kind, field.name) or _of_section(field.type)),
        )
        for field in info.fields
    ]
    yield Section(path, inspect.cleandoc(kind.__doc__ or ""), tuple(keys))
    for field in info.fields:
        for inner, suffix in _structs(field.type):
            value = None if field.required else _value_of(field, given)
            inside = value if isinstance(value, inner) else None
            yield from sections(inner, f"{path}.{field.name}{suffix}".removeprefix("."), inside)


def _said(docs: dict[tuple[str, str], str], kind: type, field: str) -> str:
    """What a type says of a field, or the one that it has the field from."""
    return next((text for base in kind.__mro__ if (text := docs.get((base.__name__, field)))), "")


def _since(kind: types.Type) -> str:
    extra = (kind.extra or {}) if isinstance(kind, types.Metadata) else {}
    return f"format {extra['since']}" if "since" in extra else ""


def _structs(kind: types.Type) -> Iterator[tuple[type[msgspec.Struct], str]]:
    """The sections that a key may hold, and what is put behind its name."""
    if isinstance(kind, types.Metadata):
        yield from _structs(kind.type)
    elif isinstance(kind, types.StructType):
        yield kind.cls, "" if kind.tag is None else f" ({kind.tag_field}: {kind.tag})"
    elif isinstance(kind, types.UnionType):
        for part in kind.types:
            yield from _structs(part)
    elif isinstance(kind, types.ListType):
        for inner, suffix in _structs(kind.item_type):
            yield inner, f"[]{suffix}"
    elif isinstance(kind, types.DictType):
        for inner, suffix in _structs(kind.value_type):
            yield inner, f".NAME{suffix}"


def _of_section(kind: types.Type) -> str:
    """What a section's own type says of it, in its first paragraph."""
    return next((inspect.getdoc(inner) or "" for inner, _ in _structs(kind)), "").partition("\n\n")[0]


def _value(kind: types.Type) -> str:
    if isinstance(kind, types.Metadata):
        return _value(kind.type)
    if isinstance(kind, types.UnionType):
        parts = [part for part in kind.types if not isinstance(part, types.NoneType)]
        joints = [part for part in parts if part in _JOINT_PARTS]
        if len(joints) == len(_JOINT_PARTS):
            parts = [part for part in parts if part not in joints]
            return " or ".join(["joint values", *map(_value, parts)])
        return " or ".join(map(_value, parts))
    return _WORDS[type(kind)](kind)


def _bounds(kind: Any) -> str:
    if kind.ge is not None and kind.le is not None:
        return f", {kind.ge:g} to {kind.le:g}"
    parts = [
        f"{text} {bound:g}"
        for text, bound in (
            ("above", kind.gt),
            ("at least", kind.ge),
            ("below", kind.lt),
            ("at most", kind.le),
        )
        if bound is not None
    ]
    return f", {', '.join(parts)}" if parts else ""


_JOINT_PARTS = JOINT_VALUES.types if isinstance(JOINT_VALUES, types.UnionType) else ()
_WORDS: dict[type[types.Type], Callable[[Any], str]] = {
    types.BoolType: lambda kind: "`true` or `false`",
    types.StrType: lambda kind: "text",
    types.IntType: lambda kind: f"whole number{_bounds(kind)}",
    types.FloatType: lambda kind: f"number{_bounds(kind)}",
    types.LiteralType: lambda kind: ", ".join(f"`{value}`" for value in kind.values),
    types.ListType: lambda kind: f"list of {_plural(_value(kind.item_type))}",
    types.VarTupleType: lambda kind: f"list of {_plural(_value(kind.item_type))}",
    types.TupleType: lambda kind: f"{len(kind.item_types)} numbers",
    types.DictType: lambda kind: f"map of names to {_plural(_value(kind.value_type))}",
    types.StructType: lambda kind: "section",
}


def _plural(value: str) -> str:
    return re.sub(r"^(text|section|whole number|number)\b", r"\1s", value)


def _value_of(field: types.Field, given: msgspec.Struct | None) -> Any:
    """A key's default."""
    if given is not None:
        return getattr(given, field.encode_name)
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _default(field: types.Field, given: msgspec.Struct | None) -> str:
    if field.required and given is None:
        return "required"
    value = _value_of(field, given)
    if isinstance(value, msgspec.Struct):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _words(text: str) -> str:
    return " ".join(text.split()).replace("None:", "null:")
