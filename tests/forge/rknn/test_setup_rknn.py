"""The toolkit's environment: found, finished or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gaitforge.rknn import environment

Forge = Callable[..., int]
Refused = Callable[..., str]


def test_is_small_and_without_torch(rknn_venv: Path) -> None:
    assert environment.size_bytes(rknn_venv) < 2.5e9
    packages = subprocess.run(
        [rknn_venv / "bin" / "python", "-m", "pip", "list", "--format", "json"],
        capture_output=True,
        check=True,
        text=True,
    )
    names = {package["name"] for package in json.loads(packages.stdout)}
    assert "rknn-toolkit2" in names
    assert not {name for name in names if name == "torch" or name.startswith("nvidia")}


def test_is_made_once(rknn_venv: Path, forge: Forge, capsys: pytest.CaptureFixture[str]) -> None:
    before = (rknn_venv / "pyvenv.cfg").stat().st_mtime_ns
    assert forge("setup-rknn") == 0
    assert "ready: rknn-toolkit2 2.5.0" in capsys.readouterr().out
    assert (rknn_venv / "pyvenv.cfg").stat().st_mtime_ns == before


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GAITFORGE_RKNN_VENV", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert environment.location() == tmp_path / "gaitd" / "rknn-venv"
    monkeypatch.setenv("GAITFORGE_RKNN_VENV", str(tmp_path / "mine"))
    assert environment.location() == tmp_path / "mine"
    assert environment.location(tmp_path / "other") == tmp_path / "other"


def test_unfinished_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert not environment.is_ready(tmp_path)


def test_never_replaces_something_else(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    assert "is not a virtual environment" in refused(2, "setup-rknn", "--venv", tmp_path)
    assert (tmp_path / "precious").exists()


def test_python_must_run_and_fit(refused: Refused, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    assert "is not a working Python" in refused(2, "setup-rknn", "--venv", place, "--python", "/bin/false")
    old = tmp_path / "python3.7"
    old.write_text("#!/bin/sh\necho 3 7\n")
    old.chmod(0o755)
    assert "is Python 3.7" in refused(2, "setup-rknn", "--venv", place, "--python", old)
    assert not place.exists()
