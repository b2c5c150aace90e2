"""gaitd as a service of systemd, as far as gaitctl needs it."""

from __future__ import annotations

import shutil
import subprocess

UNIT = "gaitd.service"
RESTART_TIMEOUT_S = 60.0


def is_wanted() -> bool:
    """Whether systemd runs the service here, or has tried to."""
    if shutil.which("systemctl") is None:
        return False
    shown = _systemctl("show", "--property=ActiveState", "--value", UNIT)
    return shown.stdout.strip() in ("active", "activating", "failed", "reloading")


def restart() -> str:
    """Restart the service and wait until it is ready; returns why it is not, empty when it is."""
    _systemctl("reset-failed", UNIT)
    try:
        done = _systemctl("restart", UNIT)
    except subprocess.TimeoutExpired:
        return f"no answer within {RESTART_TIMEOUT_S:g} s; see journalctl -u gaitd"
    if done.returncode == 0:
        return ""
    return f"{_last_error() or done.stderr.strip() or 'systemctl failed'} (journalctl -u gaitd has more)"


def _last_error() -> str:
    """gaitd's own last words in the journal."""
    if shutil.which("journalctl") is None:
        return ""
    command = ["journalctl", "--unit", UNIT, "--lines=50", "--output=cat", "--no-pager"]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.splitlines()
    errors = [line for line in lines if line.startswith("gaitd: error: ")]
    return errors[-1].removeprefix("gaitd: error: ") if errors else ""


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=RESTART_TIMEOUT_S)
