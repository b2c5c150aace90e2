"""A flight recorder without disk space."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from gaitd.errors import GaitdError
from gaitforge.faults.rig import Rig, Setting

RECORDING = Setting("recording", config='[recorder]\ndirectory = "{scratch}/recordings"\n')
PATIENCE_S = 10.0


def full_disk(damp: Callable[[Rig], None]) -> Callable[[Rig], None]:
    """Mount one page for the recordings (as root), damp, and wait until telemetry has logged the error."""

    def inject(rig: Rig) -> None:
        directory = rig.scratch / "recordings"
        directory.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "gaitd-full", str(directory)]
        subprocess.run(mount, check=True, capture_output=True)
        try:
            damp(rig)
            _expect(rig, "No space left on device")
        finally:
            subprocess.run(["umount", str(directory)], check=True)
        if rig.pid_of("telemetry") != rig.pid("telemetry"):
            raise GaitdError("telemetry did not survive a full disk")

    return inject


def _expect(rig: Rig, words: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while words not in (rig.directory / "gaitd.system.log").read_text():
        if time.monotonic() > until_s:
            raise GaitdError(f"gaitd did not log {words!r} within {PATIENCE_S:g} s")
        time.sleep(0.02)
