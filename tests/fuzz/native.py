"""Builds the C++ side of the fuzzing: the judge and the libFuzzer target."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "build/fuzz"

MISSING = (
    "clang++ or cmake is missing: sudo apt-get install clang cmake, and clang's runtime libclang-rt-*-dev"
)


def available() -> bool:
    """Whether this machine can build it."""
    return shutil.which("clang++") is not None and shutil.which("cmake") is not None


def build() -> Path:
    """Build all of it; the directory with the programs. Ends the program with the compiler's words."""
    directory = BUILD / "cpp"
    environment = {**os.environ, "CXX": "clang++"}
    for command in (
        ["cmake", "-S", str(Path(__file__).parent), "-B", str(directory)],
        ["cmake", "--build", str(directory), "--parallel", "2"],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}\n{MISSING}")
    return directory
