"""The files that configure a gaitd: one that is named, or those of this robot, added up field by field."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from gaitd.errors import InputError, error_of, printable
from gaitd.system.config import Config, Metrics
from gaitd.system.known_names import known_names
from gaitd.system.plain_file import is_there, read_plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGED = "usr/lib/gaitd/gaitd.toml"
"""What the package says; an upgrade replaces it."""
OWN = "etc/gaitd/gaitd.toml"
"""What its owner says; no package touches it."""
DROP_INS = "etc/gaitd/gaitd.toml.d"
"""The same in parts: *.toml, in the order of their names."""
MAX_BYTES = 256 * 1024
"""Of one of them; all that gaitd knows, with its comments, has 6 kB."""


def config_files(root: Path = Path("/")) -> list[Path]:
    """This robot's files; a later one overrides the fields it has. Raises InputError, ResourceError.

    A link that leads nowhere is an error: what its owner set must not become the defaults in silence.
    """
    drop_ins = root / DROP_INS
    try:
        files = [file for file in (root / PACKAGED, root / OWN) if is_there(file)]
        if is_there(drop_ins):
            files += sorted(file for file in drop_ins.iterdir() if file.suffix == ".toml")
    except OSError as error:
        raise error_of(error.errno, f"{error.filename}: cannot be read: {error.strerror}") from None
    return files


def load_config(path: Path | None, root: Path = Path("/")) -> Config:
    """Read that file alone; without one, this robot's files. Raises InputError naming file and field."""
    layers = [(file, _read(file)) for file in (config_files(root) if path is None else [path])]
    merged: dict[str, Any] = {}
    for _, layer in layers:
        _add(merged, layer)
    problem = _problem(merged)
    if problem:
        raise InputError(f"{_origin(problem, layers)}: {problem}")
    return msgspec.convert(merged, Config)


def _read(file: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(read_plain(file, MAX_BYTES).decode())
    except OSError as error:
        raise error_of(error.errno, f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # tomllib's own errors, and what it lets through
        raise InputError(f"{file}: not valid TOML: {printable(str(error))}") from None
    return values


def _add(merged: dict[str, Any], layer: dict[str, Any]) -> None:
    """What is no table stays in sight, to be refused."""
    for section, fields in layer.items():
        known = merged.get(section, {})
        if isinstance(known, dict):
            merged[section] = {**known, **fields} if isinstance(fields, dict) else fields


def _problem(values: dict[str, Any]) -> str:
    """What is wrong with a configuration; empty when nothing is."""
    try:
        config = msgspec.convert(values, Config)
    except (ValueError, RecursionError) as error:
        return printable(f"{error}{_found(str(error), values)}")
    return _problem_of_socket(config.metrics)


def _found(problem: str, values: dict[str, Any]) -> str:
    """What a message of msgspec leaves out: the value that was there, or the names that are known."""
    place = re.search(r" - at `\$\.(\w+)(?:\.(\w+))?`$", problem)
    if place is None or not problem.startswith("Expected"):
        return known_names(problem, Config)
    section, field = place.groups()
    found = values[section][field] if field else values[section]
    return f"; found {printable(repr(found), 80)}"


def _problem_of_socket(metrics: Metrics) -> str:
    """A socket that an earlier gaitd left is replaced; anything else at its path is somebody's file."""
    socket = Path(metrics.address)
    wanted = metrics.wanted and metrics.address.startswith("/")
    if wanted and os.path.lexists(socket) and not socket.is_socket():
        return f"metrics.address: {socket} is there and no socket; name a path that is free"
    return ""


def _origin(problem: str, layers: list[tuple[Path, dict[str, Any]]]) -> Path:
    """The first file with which there is that problem."""
    merged: dict[str, Any] = {}
    for file, layer in layers:
        _add(merged, layer)
        if _problem(merged) == problem:
            return file
    raise AssertionError("all files together have it")
