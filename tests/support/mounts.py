"""File systems of a test's own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_file_system(directory: Path, size: str) -> Iterator[Path]:
    """One in memory of that size, mounted there; skips the test where nobody may mount one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(directory)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount file systems: sudo make test")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def remount(directory: Path, how: str) -> None:
    """With that option, as "ro"."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(directory)], check=True)
