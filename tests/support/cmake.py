"""Builds the C++ tests."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "cpp"
BUILD = SOURCE.parents[1] / "build/cpp-tests"


def run(*command: str | Path) -> str:
    """Run a command; its output. Fails the test with that output."""
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(str(part) for part in command)}\n{done.stdout}", pytrace=False)
    return done.stdout


def build_tests() -> Path:
    """The directory of the tests. Cannot be skipped: the client is the robot's last line of safety."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.fail(
            "the C++ client cannot be built here: install cmake, g++, make, libzmq3-dev, cppzmq-dev and "
            "libmsgpack-cxx-dev",
            pytrace=False,
        )
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:  # tests in two processes want it
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("cmake", "-S", SOURCE, "-B", BUILD)
        run("cmake", "--build", BUILD, "--parallel", "2")
    return BUILD
