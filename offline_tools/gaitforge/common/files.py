"""Files that are whole or not there."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaitd.bundle.untrusted import MAX_TEXT_BYTES, load_yaml
from gaitd.errors import InputError
from gaitd.system.plain_file import other_kind, read_plain
from gaitforge.common.trainer_yaml import TrainerLoader


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path beside ``target`` to write to, and rename it to ``target`` when all went well.

    Raises InputError when the directory cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as directory:
            beside = Path(directory) / target.name
            yield beside
            beside.replace(target)
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from error


def write_text(target: Path, text: str) -> None:
    """Write a whole text file."""
    with replacing(target) as beside:
        beside.write_text(text, encoding="utf-8")


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """Read a YAML file of keys and values, as a person or a trainer wrote it. Raises InputError."""
    try:
        raw = load_yaml(read_plain(existing(path, what), MAX_TEXT_BYTES), TrainerLoader)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
    if raw is None:
        raise InputError(f"{path}: is empty")
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected keys and values, got {type(raw).__name__}")
    return raw


def sha256(path: Path) -> str:
    """Return the file's hash in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def existing(path: Path, what: str) -> Path:
    """Return ``path``; raises InputError when it is not a plain file."""
    try:
        kind = other_kind(path)
    except OSError as error:
        state = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{what} {path} {state}") from None
    if kind:
        raise InputError(f"{what} {path} is {kind}; a plain file is needed")
    return path
