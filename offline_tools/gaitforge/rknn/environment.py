"""The virtual environment that rknn-toolkit2 has to itself.

The toolkit wants older versions of numpy, onnx and protobuf than everything else here, so it never
shares an environment with it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gaitd.errors import BackendError, InputError
from gaitforge.common import console

VARIABLE = "GAITFORGE_RKNN_VENV"
TOOLKIT = "rknn-toolkit2==2.5.0"
PYTHONS = ((3, 10), (3, 11), (3, 12))
"""Versions of Python that the toolkit has wheels for."""

SIDE = Path(__file__).parent / "side"
"""What runs inside the environment."""

_MARKER = "gaitforge.json"


def location(option: Path | None = None) -> Path:
    """Return where the environment is or would be: the option, the variable or the user's data directory."""
    if option is not None:
        return option.absolute()
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE]).absolute()
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "gaitd" / "rknn-venv"


def python(option: Path | None = None) -> Path:
    """Return the environment's Python.

    Raises BackendError when the environment is missing or was not finished.
    """
    root = location(option)
    if not is_ready(root):
        raise BackendError(f"the environment of rknn-toolkit2 is not at {root}: run gaitforge setup-rknn")
    return root / "bin" / "python"


def is_ready(root: Path) -> bool:
    """Tell whether a finished environment with the right toolkit stands at ``root``."""
    try:
        marker = json.loads((root / _MARKER).read_text())
    except (OSError, ValueError):
        return False
    return bool(marker == _wanted())


def create(root: Path, base_python: str) -> None:
    """Make the environment, replacing an unfinished or outdated one.

    Raises InputError for a Python without wheels or a directory that is something else, BackendError
    when the packages are not available.
    """
    _check_python(base_python)
    if root.exists() and not (root / "pyvenv.cfg").exists() and any(root.iterdir()):
        raise InputError(f"{root} exists and is not a virtual environment: choose another place with --venv")
    shutil.rmtree(root, ignore_errors=True)
    inside = str(root / "bin" / "python")
    with console.step(f"Creating a virtual environment in {root}"):
        _run([base_python, "-m", "venv", str(root)], "cannot create the virtual environment")
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    with console.step("Installing what rknn-toolkit2 needs (without torch)"):
        _run([*pip, "--requirement", str(SIDE / "requirements.txt")], "cannot install the requirements")
    with console.step(f"Installing {TOOLKIT}"):
        _run([*pip, "--no-deps", TOOLKIT], f"cannot install {TOOLKIT}")
    (root / _MARKER).write_text(json.dumps(_wanted()))


def size_bytes(root: Path) -> int:
    """Return what the environment takes on disk."""
    return sum(path.lstat().st_blocks * 512 for path in root.rglob("*"))


def _wanted() -> dict[str, str]:
    return {"toolkit": TOOLKIT, "requirements": (SIDE / "requirements.txt").read_text()}


def _check_python(base_python: str) -> None:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([base_python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"{base_python} is not a working Python: {error}") from error
    major, minor = map(int, answer.stdout.split())
    if (major, minor) not in PYTHONS:
        known = ", ".join(f"{a}.{b}" for a, b in PYTHONS)
        raise InputError(
            f"{base_python} is Python {major}.{minor}, but rknn-toolkit2 has wheels for {known}: "
            "name one with --python"
        )


def _run(command: list[str], complaint: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, env=_plain_environment())
    if result.returncode:
        lines = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines or ["no message"])[-1].removeprefix("ERROR: ")
        raise BackendError(f"{complaint}: {reason}")


def _plain_environment() -> dict[str, str]:
    leave_out = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return {key: value for key, value in os.environ.items() if key not in leave_out}


def default_python() -> str:
    """Return the Python to build the environment from: this one."""
    return sys.executable
