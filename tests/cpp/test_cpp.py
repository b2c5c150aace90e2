"""Builds the C++ client with its tests and runs each of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.cmake import run

TESTS = (
    "codec", "latch", "robot_clock", "pacer", "ring", "client", "lane",
    "route", "allocation", "policy_runner", "embedded", "package",
)  # fmt: skip


def test_every_ctest_is_run_here(build: Path) -> None:
    listed = json.loads(run("ctest", "--test-dir", build, "--show-only=json-v1"))
    assert sorted(test["name"] for test in listed["tests"]) == sorted(TESTS)


@pytest.mark.parametrize("name", TESTS)
def test_ctest(build: Path, name: str) -> None:
    run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "-R", f"^{name}$")
