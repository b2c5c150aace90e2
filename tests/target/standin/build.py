"""Compile the stand-in runtime."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent


def build_standin(compiler: str, target: Path) -> Path:
    """Compile librknnrt.so for the compiler's machine into ``target`` (a file). Returns ``target``."""
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(target), *sources, "-lm"], check=True)
    return target
