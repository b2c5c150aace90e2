"""Files that are whole or not there."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gaitd.errors import InputError


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


def sha256(path: Path) -> str:
    """Return the file's hash in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def existing(path: Path, what: str) -> Path:
    """Return ``path``; raises InputError when it is not a file."""
    if not path.is_file():
        state = "is a directory" if path.is_dir() else "does not exist"
        raise InputError(f"{what} {path} {state}")
    return path
