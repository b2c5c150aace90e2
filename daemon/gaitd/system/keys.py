"""CURVE keys in files: a secret key alone in its file, public keys by name, one on each line.

``NAME.key`` holds a secret key, readable by its owner only. ``NAME.pub`` holds the line ``NAME KEY``; such
lines, one below the other, are the list of those who may connect. Keys are 40 characters of Z85.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import zmq
from zmq.utils import z85

from gaitd.errors import InputError, error_of
from gaitd.system.plain_file import open_plain, read_to_end
from gaitd.system.trust import check_trusted

KEY_LENGTH = 40
MAX_BYTES = 1 << 20
"""Of a file of keys."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def make_key_pair(name: str, directory: Path) -> tuple[Path, Path]:
    """Write a new NAME.key (0600) and NAME.pub; returns both paths. Raises InputError; replaces nothing."""
    if not _NAME.fullmatch(name):
        raise InputError(f"name {name!r}: use letters, digits and . _ -, beginning with a letter or digit")
    public, secret = zmq.curve_keypair()
    secret_path, public_path = directory / f"{name}.key", directory / f"{name}.pub"
    for path in (secret_path, public_path):
        if path.exists():
            raise InputError(f"{path}: is there already; who has its key would be locked out")
    _write_new(public_path, 0o644, f"{name} {public.decode()}\n")
    _write_new(secret_path, 0o600, f"{secret.decode()}\n")
    return secret_path, public_path


def read_secret_key(path: Path, *, serves: bool = True) -> bytes:
    """The secret key in a file. Raises InputError, also when others than its owner may read it.

    ``serves``: it is a robot's, and others must not be able to replace it (gaitd.system.trust). Who only
    connects, perhaps to stop a robot, is not kept from that.
    """
    text = _read(path, 0o077, f"others may use it; chmod 600 {path}", serves).strip()
    if not _is_key(text):
        raise InputError(
            f"{path}: holds no secret key, which is {KEY_LENGTH} characters alone; gaitctl keygen makes one"
        )
    return text.encode()


def read_public_keys(path: Path, *, serves: bool = True) -> dict[str, bytes]:
    """The public keys in a file by their names; at least one. Raises InputError naming the line.

    ``serves``: they are of those who may connect; see ``read_secret_key``.
    """
    keys: dict[str, bytes] = {}
    text = _read(path, 0o022, f"others may add keys to it; chmod go-w {path}", serves)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, key = line.strip().partition(" ")
        if not _NAME.fullmatch(name) or not _is_key(key.strip()):
            raise InputError(f"{path}, line {number}: expected a name and a public key, as in a NAME.pub")
        if name in keys or key.strip().encode() in keys.values():
            raise InputError(f"{path}, line {number}: {name} or its key is there twice")
        keys[name] = key.strip().encode()
    if not keys:
        raise InputError(
            f"{path}: holds no public key; gaitctl keygen makes NAME.pub, whose line belongs here"
        )
    return keys


def read_public_key(path: Path) -> bytes:
    """The one public key in a file, of whom to connect to. Raises InputError."""
    keys = read_public_keys(path, serves=False)
    if len(keys) != 1:
        raise InputError(
            f"{path}: holds {len(keys)} keys ({', '.join(keys)}); the robot's own alone is wanted"
        )
    return next(iter(keys.values()))


def _write_new(path: Path, mode: int, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "w") as file:
            file.write(text)
    except OSError as error:
        raise error_of(error.errno, f"{path}: cannot be written: {error.strerror}") from None


def _read(path: Path, forbidden: int, fix: str, serves: bool) -> str:
    try:
        with open_plain(path, MAX_BYTES) as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & forbidden:
                raise InputError(f"{path}: has mode {mode:04o}: {fix}")
            if serves:
                check_trusted(path)
            return read_to_end(file, path, MAX_BYTES).decode()
    except OSError as error:
        raise error_of(error.errno, f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text") from None


def _is_key(text: str) -> bool:
    """Whether the text is 32 bytes in Z85."""
    try:
        return len(text) == KEY_LENGTH and len(z85.decode(text)) == 32
    except (KeyError, ValueError, struct.error):  # foreign characters, or five that are too large a number
        return False
