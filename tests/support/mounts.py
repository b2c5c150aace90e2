"""File systems of a test's own; mounted without another process, which could hold up a walk."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_READ_ONLY, _REMOUNT, _BIND, _DETACH = 1, 32, 4096, 2
_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    if _libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, data.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


@contextlib.contextmanager
def small_file_system(directory: Path, size: str) -> Iterator[Path]:
    """One in memory of that size, mounted there; skips the test where nobody may mount one."""
    try:
        _mount("tmpfs", directory, "tmpfs", 0, f"size={size},mode=755")
    except PermissionError:
        pytest.skip("only root may mount file systems: sudo make test")
    try:
        yield directory
    finally:
        _libc.umount2(os.fsencode(directory), _DETACH)


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """From now on whoever opens something below it finds a read-only file system."""
    _mount(str(directory), directory, "none", _BIND)
    try:
        _mount("none", directory, "none", _REMOUNT | _BIND | _READ_ONLY)
        yield
    finally:
        _libc.umount2(os.fsencode(directory), _DETACH)
