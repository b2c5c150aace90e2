"""gaitd as a service of systemd, as far as gaitctl needs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from gaitd.errors import GateError, printable

UNIT = "gaitd.service"
BOOTED = Path("/run/systemd/system")
"""There where systemd is in charge, as sd_booted(3) tells."""
TIMEOUT_S = 60.0


def is_wanted() -> bool:
    """Whether systemd runs the service here, or has tried to."""
    return _state() in ("active", "activating", "failed", "reloading")


def is_active() -> bool:
    """Whether the service runs."""
    return _state() == "active"


def restart() -> str:
    """Restart the service and wait until it is ready; returns why it is not, empty when it is."""
    _systemctl("reset-failed", UNIT)
    done = _systemctl("restart", UNIT)
    if done.returncode == 0:
        return ""
    return f"{_last_error() or done.stderr.strip() or 'systemctl failed'} (journalctl -u gaitd has more)"


def _state() -> str:
    """The unit's ActiveState; empty where systemd is not in charge. Raises GateError when it does not say."""
    if shutil.which("systemctl") is None:
        return ""
    shown = _systemctl("show", "--property=ActiveState", "--value", UNIT)
    if shown.returncode != 0 and BOOTED.is_dir():
        raise GateError(f"systemctl does not tell the state of {UNIT}: {shown.stderr.strip() or 'no reason'}")
    return shown.stdout.strip()


def _last_error() -> str:
    """gaitd's own last words in the journal."""
    if shutil.which("journalctl") is None:
        return ""
    command = ["journalctl", "--unit", UNIT, "--lines=50", "--output=cat", "--no-pager"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.splitlines()
    except subprocess.TimeoutExpired:
        return ""
    errors = [line for line in lines if line.startswith("gaitd: error: ")]
    return printable(errors[-1].removeprefix("gaitd: error: ")) if errors else ""


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemctl", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {TIMEOUT_S:g} s")
