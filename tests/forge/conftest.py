"""Runs gaitforge's commands as a person would, in a directory of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gaitforge.cli import main
from gaitforge.rknn import environment

Forge = Callable[..., int]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def forge(workplace: Path) -> Forge:
    """Run one command line; returns the exit code."""

    def run(*argv: object) -> int:
        return main([str(word) for word in argv])

    return run


@pytest.fixture
def refused(forge: Forge, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must fail in one clear line; returns that line."""

    def run(code: int, *argv: object) -> str:
        capsys.readouterr()
        assert forge(*argv) == code
        lines = capsys.readouterr().err.strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, lines
        assert not any("Traceback" in line for line in lines)
        return errors[0]

    return run


@pytest.fixture(scope="session")
def rknn_venv() -> Path:
    """The environment of rknn-toolkit2, made if it is not there yet."""
    assert main(["setup-rknn"]) == 0
    return environment.location()
