"""gaitd.toml with every field's value and meaning, made from the config's own types."""

from __future__ import annotations

import ast
import inspect
import json
from types import ModuleType

import msgspec

from gaitd.system import config


def documented(values: config.Config) -> str:
    """That gaitd.toml, each field under its documentation."""
    docs = field_docs(config)
    lines = ["# gaitd's configuration: every field there is. What is left out keeps its default.", ""]
    for section in msgspec.structs.fields(config.Config):
        kind = section.type
        assert isinstance(kind, type)
        assert issubclass(kind, msgspec.Struct)
        lines += [f"# {inspect.getdoc(kind)}", f"[{section.name}]"]
        section_values = getattr(values, section.name)
        for field in msgspec.structs.fields(kind):
            text = docs.get((kind.__name__, field.name))
            lines += [f"# {line}" for line in (text or "").splitlines()]
            lines.append(f"{field.name} = {json.dumps(getattr(section_values, field.name))}")
        lines.append("")
    return "\n".join(lines)


def field_docs(module: ModuleType) -> dict[tuple[str, str], str]:
    """The string under each field of a module's classes, by class and field."""
    docs = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    docs[node.name, field.target.id] = inspect.cleandoc(str(text.value.value))
    return docs
