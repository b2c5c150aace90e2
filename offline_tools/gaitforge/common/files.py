"""Files that are whole or not there."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaitd.bundle.untrusted import MAX_BUNDLE_BYTES, MAX_TEXT_BYTES, load_yaml
from gaitd.errors import InputError
from gaitd.system.plain_file import is_there, open_plain, other_kind, read_plain
from gaitforge.common.trainer_yaml import TrainerLoader

MAX_BYTES = 8 << 30
"""Of any file that is read: a checkpoint with its optimizer is the largest."""
MAX_MODEL_BYTES = MAX_BUNDLE_BYTES
"""Of a model or its statistics: it is to go into a bundle."""
_PIECE_BYTES = 1 << 20


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
    """Return the file's hash in hexadecimal. Raises InputError."""
    digest = hashlib.sha256()
    try:
        with open_plain(path, MAX_BYTES) as stream:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def read_model(path: Path, what: str) -> bytes:
    """Read a file of at most MAX_MODEL_BYTES. Raises InputError."""
    try:
        return read_plain(existing(path, what, MAX_MODEL_BYTES), MAX_MODEL_BYTES)
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None


def found(path: Path) -> bool:
    """Whether there is such a file. Raises InputError for a link that leads nowhere."""
    try:
        return is_there(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def existing(path: Path, what: str, max_bytes: int = MAX_BYTES) -> Path:
    """Return ``path``; raises InputError when it is not a plain file, or larger than that."""
    try:
        kind = other_kind(path)
    except OSError as error:
        state = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{what} {path} {state}") from None
    if kind:
        raise InputError(f"{what} {path} is {kind}; a plain file is needed")
    size = path.stat().st_size
    if size > max_bytes:
        raise InputError(f"{what} {path} has {size} bytes, more than the {max_bytes} that it may have")
    return path
