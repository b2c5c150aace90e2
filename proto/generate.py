"""Write what both languages and the readers take from contract.yaml.

Run from anywhere: ``python proto/generate.py``. The output depends only on contract.yaml and templates/.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from schema import Contract

PROTO = Path(__file__).resolve().parent
SOURCE = PROTO / "contract.yaml"
PYTHON = PROTO.parent / "daemon" / "gaitd" / "wire" / "generated.py"
CPP = PROTO / "cpp" / "include" / "gaitd" / "contract.hpp"
README = PROTO / "README.md"

NOTE = "Generated from proto/contract.yaml by `make proto`: do not edit."
MARKER = "<!-- generated: {} -->\n"
END = "<!-- end -->\n"


def load() -> Contract:
    """The contract, checked."""
    return msgspec.yaml.decode(SOURCE.read_bytes(), type=Contract)


def outputs(contract: Contract) -> dict[Path, str]:
    """What every generated file must hold."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PROTO / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "camel": camel,
        "cpp": cpp,
        "cpp_constant": cpp_constant,
        "cpp_type": cpp_type,
        "grouped": grouped,
        "python": python,
        "sentence": sentence,
        "tuple": tuple,
    }
    state = next(message for message in contract.messages if message.name == "state")
    names = {**msgspec.structs.asdict(contract), "state_values": state.values, "note": NOTE}
    return {
        PYTHON: formatted(environment.get_template("generated.py.j2").render(names)),
        CPP: environment.get_template("contract.hpp.j2").render(names),
        README: with_tables(README.read_text("utf-8"), contract, environment.get_template("tables.md.j2")),
    }


def formatted(source: str) -> str:
    """Python as ruff lays it out."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PYTHON), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def with_tables(text: str, contract: Contract, template: jinja2.Template) -> str:
    """The page with its tables renewed. Raises ValueError when a table has no place."""
    types = {member.name: member.number for member in contract.enums[0].members}
    context = template.new_context(
        {
            **msgspec.structs.asdict(contract),
            "first_port": next(c.value for c in contract.constants if c.name == "default_port"),
            "fixed": {
                message.name: {"version": contract.protocol_version, "type": types[message.name]}
                for message in contract.messages
            },
        }
    )
    # Defines the template's macros, which its blocks use.
    "".join(template.root_render_func(context))
    for name, block in template.blocks.items():
        head, marker, rest = text.partition(MARKER.format(name))
        _, end, tail = rest.partition(END)
        if not marker or not end:
            raise ValueError(f"{README.name}: no place for the table {name!r}")
        text = f"{head}{marker}\n{''.join(block(context))}\n{end}{tail}"
    return text


def camel(name: str) -> str:
    """StateLost of state_lost."""
    return "".join(word.capitalize() for word in name.split("_"))


def cpp_constant(name: str) -> str:
    """kMaxStance_ns of max_stance_ns: a unit of time stays as it is."""
    stem, _, last = name.rpartition("_")
    return f"k{camel(stem)}_{last}" if last in ("ns", "ms") else f"k{camel(name)}"


def cpp_type(value: float | str) -> str:
    """The type of a constant."""
    if isinstance(value, str):
        return "const char*"
    return "std::uint64_t" if isinstance(value, int) else "double"


def cpp(value: Any) -> str:
    """A literal."""
    return f"{value:,}".replace(",", "'") if is_number(value) else json.dumps(value)


def python(value: Any) -> str:
    """A literal."""
    return f"{value:_}" if is_number(value) else repr(value)


def grouped(value: Any) -> str:
    """A number for people."""
    if not is_number(value):
        return f"`{value}`"
    return f"{value:,}".replace(",", " ") if value >= 10_000 else str(value)


def is_number(value: Any) -> bool:
    """True is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    start = text[0] if text.startswith("gaitd") else text[0].upper()
    return f"{start}{text[1:].removesuffix('.')}."


def main() -> None:
    """Write the files."""
    for path, text in outputs(load()).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(PROTO.parent))


if __name__ == "__main__":
    main()
