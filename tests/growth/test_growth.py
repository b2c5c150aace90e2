"""The command that measures growth measures what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from growth import __main__ as growth
from growth.cases import manifest_of

DAEMON = Path(__file__).parents[2] / "daemon"


def test_a_policy_of_each_size_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "CASES", (growth.BASE, growth.CASES[3], growth.CASES[-1]))
    options = ["growth", "--blocks", "1", "--steps", "20", "--against", str(DAEMON)]
    monkeypatch.setattr(sys, "argv", options)
    assert growth.main() in (0, 1), "so few steps prove nothing of time"
    said = capsys.readouterr().out
    assert "| 64 | 1 | 1 |" in said
    assert "| 12 | 1 | 2 |" in said
    assert "a format 1 policy here against" in said


def test_sizes_are_what_they_say() -> None:
    for case in growth.CASES:
        manifest = manifest_of(case)
        sizes = len(manifest.joints), len(manifest.inputs), max(1, len(manifest.models))
        assert sizes == (case.joints, case.inputs, case.models)
    assert manifest_of(growth.FORMAT_1).format == 1
