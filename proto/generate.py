"""Write what both languages and the readers take from contract.yaml.

Run from anywhere: ``python proto/generate.py``. The output depends only on contract.yaml and this file.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

PROTO = Path(__file__).resolve().parent
SOURCE = PROTO / "contract.yaml"
PYTHON = PROTO.parent / "daemon" / "gaitd" / "wire" / "contract.py"
CPP = PROTO / "cpp" / "include" / "gaitd" / "contract.hpp"
README = PROTO / "README.md"

NOTE = "Generated from proto/contract.yaml by `make proto`: do not edit."
MARKER = "<!-- generated: {} -->\n"
END = "<!-- end -->\n"

_REASON = "Why the mode is what it is, or why a request was refused."
_CAUSE = "Why one state or action was refused."


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Constant(_Strict, frozen=True, kw_only=True):
    """A number that both languages need; its unit is the end of its name."""

    name: str
    value: int | float | str
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
        for kind in (*(enum.members for enum in self.enums), self.reasons, self.causes):
            entries: Sequence[Member | ReasonEntry | CauseEntry] = kind
            for values in ([entry.number for entry in entries], [entry.name for entry in entries]):
                if len(set(values)) != len(values):
                    raise ValueError(f"a number or name is there twice: {values}")
        names = {reason.name for reason in self.reasons}
        for cause in self.causes:
            if cause.reason not in names:
                raise ValueError(f"cause {cause.name}: unknown reason {cause.reason!r}")


def load() -> Contract:
    """The contract, checked."""
    return msgspec.yaml.decode(SOURCE.read_bytes(), type=Contract)


def outputs(contract: Contract) -> dict[Path, str]:
    """What every generated file must hold."""
    return {PYTHON: python(contract), CPP: cpp(contract), README: readme(contract, README.read_text("utf-8"))}


# ---- Python ----


def python(contract: Contract) -> str:
    """daemon/gaitd/wire/contract.py."""
    lines = [
        f'"""The wire contract\'s numbers, names and texts. {NOTE}"""',
        "# ruff: noqa: E501",
        "from __future__ import annotations",
        "",
        "import enum",
        "",
        "from gaitd.wire.numbers import Number",
        f"PROTOCOL_VERSION = {contract.protocol_version}",
        '"""First element of every message. A peer that speaks another version is refused."""',
    ]
    for constant in contract.constants:
        value = repr(constant.value) if isinstance(constant.value, str) else f"{constant.value:_}"
        lines += [f"{constant.name.upper()} = {value}", _doc(constant.meaning)]
    lines += [f"CHANNELS = {tuple(channel.name for channel in contract.channels)!r}"]
    lines += [_doc("in the order of their TCP ports")]
    for enumeration in contract.enums:
        lines += [f"class {enumeration.name}(enum.IntEnum):", "    " + _doc(enumeration.meaning)]
        for member in enumeration.members:
            lines += [f"    {member.name.upper()} = {member.number}", "    " + _doc(member.meaning)]
    reasons, causes = contract.reasons, contract.causes
    lines += ["class Reason(Number):", "    " + _doc(_REASON)]
    for reason in reasons:
        lines += [f"    {reason.name.upper()} = {reason.number}", "    " + _doc(reason.text)]
    lines += ["class CauseKind(Number):", "    " + _doc(_CAUSE)]
    lines += [f"    {cause.name.upper()} = {cause.number}" for cause in causes]

    def table(name: str, types: str, entries: Iterable[str], meaning: str, opening: str = "{") -> None:
        lines.extend([f"{name}: {types} = {opening}", *(f"    {entry}," for entry in entries)])
        lines.extend(["})" if opening.endswith("({") else "}", _doc(meaning)])

    table(
        "LIMP_REASONS",
        "frozenset[Reason]",
        (f"Reason.{reason.name.upper()}" for reason in reasons if reason.limp),
        "no stance for these, not even the rest of one",
        "frozenset({",
    )
    table(
        "WORKER_REPLACING_REASONS",
        "frozenset[Reason]",
        (f"Reason.{reason.name.upper()}" for reason in reasons if reason.replaces_worker),
        "after damping for these, a fresh worker is started",
        "frozenset({",
    )
    table(
        "REASON_TEXTS",
        "dict[Reason, str]",
        (f"Reason.{reason.name.upper()}: {reason.text!r}" for reason in reasons),
        "for people",
    )
    table(
        "CAUSE_REASONS",
        "dict[CauseKind, Reason]",
        (f"CauseKind.{cause.name.upper()}: Reason.{cause.reason.upper()}" for cause in causes),
        "what the guardian gives as its reason",
    )
    table(
        "CAUSE_TEXTS",
        "dict[CauseKind, str]",
        (f"CauseKind.{cause.name.upper()}: {cause.text!r}" for cause in causes),
        "templates for people; see gaitd.wire.causes",
    )
    table(
        "CAUSE_UNITS",
        "dict[CauseKind, str]",
        (f"CauseKind.{cause.name.upper()}: {cause.unit!r}" for cause in causes if cause.unit),
        "of a cause's number and bound; none for the others",
    )
    for message in contract.messages:
        lines += [f"{message.name.upper()}_FIELDS = {tuple(field.name for field in message.fields)!r}"]
        lines += [_doc("the message's elements in their order")]
    table(
        "REQUESTS",
        "dict[str, dict[str, bool]]",
        (f"{r.name!r}: { ({key.key: not key.optional for key in r.body})!r}" for r in contract.requests),
        "the keys of each request's body, and whether they must be there",
    )
    lines += [f"HELLO_REPLY_KEYS = {tuple(key.key for key in contract.hello_reply)!r}"]
    lines += [_doc("the keys of the reply to hello")]
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PYTHON), "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return formatted.stdout


def _doc(text: str) -> str:
    start = text[0] if text.startswith("gaitd") else text[0].upper()
    return f'"""{start}{text[1:].removesuffix(".")}."""'


# ---- C++ ----


def cpp(contract: Contract) -> str:
    """proto/cpp/include/gaitd/contract.hpp."""
    reasons, causes = contract.reasons, contract.causes
    members: dict[str, Sequence[Member | ReasonEntry | CauseEntry]] = {
        **{enumeration.name: enumeration.members for enumeration in contract.enums},
        "Reason": reasons,
        "CauseKind": causes,
    }
    meanings = {
        **{enumeration.name: enumeration.meaning for enumeration in contract.enums},
        "Reason": _REASON,
        "CauseKind": _CAUSE,
    }
    lines = [
        f"// The wire contract's numbers, names and texts. {NOTE}",
        "#pragma once",
        "",
        "#include <array>",
        "#include <cstddef>",
        "#include <cstdint>",
        "",
        "namespace gaitd {",
        "",
        f"inline constexpr std::uint64_t kProtocolVersion = {contract.protocol_version};",
    ]
    for constant in contract.constants:
        kind, value = _cpp_value(constant.value)
        lines.append(f"/// {constant.meaning[0].upper()}{constant.meaning[1:]}.")
        lines.append(f"inline constexpr {kind} {_cpp_constant(constant.name)} = {value};")
    channels = contract.channels
    lines += [
        "",
        "/// In the order of their TCP ports.",
        f"enum class Channel : std::uint8_t {{ {', '.join(_camel(c.name) for c in channels)} }};",
        f"inline constexpr std::array<const char*, {len(channels)}> kChannelNames{{"
        + ", ".join(json.dumps(channel.name) for channel in channels)
        + "};",
        "",
    ]
    for message in contract.messages:
        lines.append(f"inline constexpr std::size_t k{_camel(message.name)}Elements = {len(message.fields)};")
    for name, entries in members.items():
        lines += ["", f"/// {meanings[name]}", f"enum class {name} : std::uint8_t {{"]
        for entry in entries:
            text = "" if isinstance(entry, CauseEntry) else f"  ///< {_plain(entry)}"
            lines.append(f"    {_camel(entry.name)} = {entry.number},{text}")
        lines += ["};", ""]
        lines += _switch(
            "const char* toString", name, [(e.name, json.dumps(e.name)) for e in entries], '"unknown"'
        )

    def of_reason(signature: str, value: Callable[[ReasonEntry], str], default: str) -> list[str]:
        return _switch(signature, "Reason", [(r.name, value(r)) for r in reasons], default)

    lines += ["", "/// For people."]
    lines += of_reason("const char* text", lambda reason: json.dumps(reason.text), '"an unknown reason"')
    lines += ["", "/// No stance for these, not even the rest of one."]
    lines += of_reason("bool isLimp", lambda reason: str(reason.limp).lower(), "false")
    lines += ["", "/// For people: what was checked; number and bound are in unitOf()."]
    plain = [(cause.name, json.dumps(re.sub(r"\[.*?\]", "", cause.text))) for cause in causes]
    lines += _switch("const char* text", "CauseKind", plain, '"an unknown cause"')
    lines += ["", "/// Of a cause's number and bound; empty for none."]
    units = [(cause.name, json.dumps(cause.unit)) for cause in causes]
    lines += _switch("const char* unitOf", "CauseKind", units, '""')
    lines += ["", "}  // namespace gaitd", ""]
    return "\n".join(lines)


def _switch(signature: str, kind: str, cases: Iterable[tuple[str, str]], default: str) -> list[str]:
    return [
        f"constexpr {signature}({kind} value) noexcept {{",
        "    switch (value) {",
        *(f"        case {kind}::{_camel(name)}: return {result};" for name, result in cases),
        "    }",
        f"    return {default};",
        "}",
    ]


def _plain(entry: Member | ReasonEntry | CauseEntry) -> str:
    return entry.meaning if isinstance(entry, Member) else entry.text


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _cpp_value(value: int | float | str) -> tuple[str, str]:
    """Type and literal."""
    if isinstance(value, str):
        return "const char*", json.dumps(value)
    return "std::uint64_t" if isinstance(value, int) else "double", f"{value:,}".replace(",", "'")


def _cpp_constant(name: str) -> str:
    """kMaxStance_ns of max_stance_ns: a unit stays as it is."""
    stem, _, last = name.rpartition("_")
    return f"k{_camel(stem)}_{last}" if last in ("ns", "ms") else f"k{_camel(name)}"


# ---- the tables for readers ----


def readme(contract: Contract, text: str) -> str:
    """The page with its tables renewed. Raises ValueError when a table has no place."""
    for name, lines in tables(contract).items():
        head, marker, rest = text.partition(MARKER.format(name))
        _, end, tail = rest.partition(END)
        if not marker or not end:
            raise ValueError(f"{README.name}: no place for the table {name!r}")
        text = head + marker + "\n" + "\n".join(lines) + "\n\n" + end + tail
    return text


def tables(contract: Contract) -> dict[str, list[str]]:
    """Every table by its marker's name."""
    version = contract.protocol_version
    types = {member.name: member.number for member in contract.enums[0].members}
    result = {
        "channels": _table(
            ("channel", "endpoint under `/run/gaitd`", "TCP port", "pattern", "who binds", "carries"),
            (
                (
                    c.name,
                    f"`ipc://…/{c.name}.sock`",
                    str(port),
                    c.pattern,
                    c.binds,
                    c.carries,
                )
                for port, c in enumerate(contract.channels, _value(contract, "default_port"))
            ),
        ),
        "constants": _table(
            ("name", "value", "meaning"),
            ((f"`{c.name}`", _grouped(c.value), c.meaning) for c in contract.constants),
        ),
        "modes": _table(
            ("mode", "", "meaning"),
            ((str(m.number), m.name.upper(), m.meaning) for m in contract.enums[1].members),
        ),
        "reasons": _table(
            ("reason", "", "meaning", "stance", "worker replaced"),
            (
                (
                    str(r.number),
                    r.name,
                    r.text,
                    "no" if r.limp else "",
                    "yes" if r.replaces_worker else "",
                )
                for r in contract.reasons
            ),
        ),
        "causes": _table(
            ("cause", "", "reason", "unit", "text"),
            ((str(c.number), c.name, c.reason, c.unit, f"`{c.text}`") for c in contract.causes),
        ),
        "requests": _table(
            ("name", "body", "reply", "refused"),
            (
                (f"`{r.name}`", "; ".join(map(_body_key, r.body)), r.reply, r.refused)
                for r in contract.requests
            ),
        ),
        "hello_reply": _table(
            ("key", "type", "meaning"), ((f"`{k.key}`", k.type, k.meaning) for k in contract.hello_reply)
        ),
    }
    for message in contract.messages:
        fixed = {"version": str(version), "type": str(types[message.name])}
        result[message.name] = _table(
            ("#", "field", "type", "unit, frame", "meaning", "refused"),
            (
                (str(index), f.name, f.type, f.unit, fixed.get(f.name, f.meaning), f.refused)
                for index, f in enumerate(message.fields)
            ),
        )
    return result


def _value(contract: Contract, name: str) -> int:
    return next(int(constant.value) for constant in contract.constants if constant.name == name)


def _grouped(value: int | float | str) -> str:
    if isinstance(value, str):
        return f"`{value}`"
    return f"{value:,}".replace(",", " ") if value >= 10_000 else str(value)


def _body_key(key: Key) -> str:
    return f"`{key.key}` {key.type}: {key.meaning}" + (" (may be left out)" if key.optional else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def main() -> None:
    """Write the files."""
    for path, text in outputs(load()).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(PROTO.parent))


if __name__ == "__main__":
    main()
