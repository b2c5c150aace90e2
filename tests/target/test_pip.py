"""pip install of this tree into a fresh virtual environment, with the requirements of a robot."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from machine import until
from packaging.requirements import Requirement
from rootfs import ROOT

import gaitd
from gaitd.ctl.client import read_status
from support.bundles import write_small_bundle

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REQUIREMENTS = ROOT / "packaging/requirements.txt"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with gaitd and gaitctl."""
    place = tmp_path_factory.mktemp("pip")
    _run(sys.executable, "-m", "venv", place / "venv")
    _run(place / "venv/bin/pip", "install", "--quiet", "--no-deps", "--requirement", REQUIREMENTS, ROOT)
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


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_requirements_hold_what_the_project_asks_for(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["robot"], *extras["top"]]
    pinned = [line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines()]
    pins = {requirement.name: requirement for requirement in _for_python(filter(None, pinned), python)}
    for requirement in _for_python(asked, python):
        (pin,) = pins.pop(requirement.name).specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version)
    assert pins == {}


def _for_python(lines: Iterable[str], version: str) -> list[Requirement]:
    requirements = [Requirement(line) for line in lines]
    environment = {"python_version": version}
    return [each for each in requirements if each.marker is None or each.marker.evaluate(environment)]


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
