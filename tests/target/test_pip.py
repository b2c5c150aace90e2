"""pip install 'gaitd[robot]', from a wheel of this tree into a fresh virtual environment."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import until
from rootfs import ROOT

import gaitd
from gaitd.ctl.client import read_status
from support.bundles import write_small_bundle


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with gaitd and gaitctl."""
    place = tmp_path_factory.mktemp("pip")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT)
    wheel = next(place.glob("gaitd-*.whl"))
    _run(sys.executable, "-m", "venv", place / "venv")
    _run(place / "venv/bin/pip", "install", "--quiet", f"{wheel}[robot]")
    return place / "venv/bin"


@pytest.fixture
def running(programs: Path, small_bundle_path: Path) -> Iterator[Path]:
    """gaitd, ready; its runtime directory."""
    with tempfile.TemporaryDirectory() as place:  # short: paths of sockets are limited
        runtime_dir = Path(place) / "run"
        options = ["--bundle", small_bundle_path, "--runtime-dir", runtime_dir, "--metrics-port", "0"]
        process = subprocess.Popen([programs / "gaitd", "run", *options])
        try:

            def ready() -> bool:
                assert process.poll() is None
                status = read_status(runtime_dir)
                return status is not None and bool(status["worker"]["ready"])

            until(ready, 15)
            yield runtime_dir
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_has_no_more_than_a_robot_needs(programs: Path) -> None:
    listed = json.loads(_run(programs / "pip", "list", "--format=json"))
    names = {package["name"].lower() for package in listed}
    assert "onnxruntime" in names
    assert names & {"mujoco", "torch", "matplotlib", "onnx"} == set()


def test_runs_and_answers(programs: Path, running: Path) -> None:
    assert _run(programs / "gaitd", "--version") == f"gaitd {gaitd.__version__}\n"
    status = _run(programs / "gaitctl", "--runtime-dir", running, "status")
    assert "worker      ready" in status
    assert "small 1.0.0" in status


def test_proves_a_policy(programs: Path, tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small.gaitd")
    report = json.loads(
        _run(programs / "gaitctl", "selftest", "--bundle", bundle, "--seconds", "0.2", "--json")
    )
    assert report["max_error"] <= report["tolerance"]


def _run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
    return done.stdout
