"""Builds the C++ client with its tests and runs each of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent
BUILD = SOURCE.parents[1] / "build/cpp-tests"
TESTS = ("codec", "latch", "robot_clock", "client", "route", "allocation", "policy_runner", "package")


def run(*command: str | Path) -> str:
    """Run a command; its output. Fails the test with that output."""
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(str(part) for part in command)}\n{done.stdout}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="session")
def build() -> Path:
    """The built tests. Cannot be skipped: the client is the robot's last line of safety."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.fail(
            "the C++ client cannot be built here: install cmake, g++, make, libzmq3-dev, cppzmq-dev and "
            "libmsgpack-cxx-dev",
            pytrace=False,
        )
    run("cmake", "-S", SOURCE, "-B", BUILD)
    run("cmake", "--build", BUILD, "--parallel", "2")
    return BUILD


def test_every_ctest_is_run_here(build: Path) -> None:
    listed = json.loads(run("ctest", "--test-dir", build, "--show-only=json-v1"))
    assert sorted(test["name"] for test in listed["tests"]) == sorted(TESTS)


@pytest.mark.parametrize("name", TESTS)
def test_ctest(build: Path, name: str) -> None:
    run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "-R", f"^{name}$")
