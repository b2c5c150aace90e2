"""Compile the stand-in runtime."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent


def build_standin(compiler: str, target: Path, version: str = "2.3.2") -> Path:
    """Compile librknnrt.so for the compiler's machine into ``target`` (a file). Returns ``target``.

    ``version``: what it says of itself.
    """
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC",
             f'-DVERSION="{version}"']  # fmt: skip
    subprocess.run([compiler, *flags, "-o", str(target), *sources, "-lm"], check=True)
    return target
