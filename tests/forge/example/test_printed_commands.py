"""The commands that `gaitforge example` prints work as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

Forge = Callable[..., int]


@pytest.mark.thorough
@pytest.mark.usefixtures("rknn_venv")
def test_printed_commands(forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    assert forge("example") == 0
    printed = capsys.readouterr().out.splitlines()
    commands = [shlex.split(line)[1:] for line in printed if line.startswith("  gaitforge ")]
    assert [words[0] for words in commands] == ["export", "calibrate", "convert", "agent", "chain"]
    for words in commands:
        assert forge(*words) == 0, words
    assert Path("demo_policy/demo.gaitd").is_file()
