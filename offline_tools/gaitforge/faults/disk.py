"""A flight recorder without disk space."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from gaitd.errors import GaitdError
from gaitforge.faults.rig import Rig, Setting

RECORDING = Setting("recording", config='[recorder]\ndirectory = "{scratch}/recordings"\n')
NO_SPACE = "No space left on device"


def full_disk(damp: Callable[[Rig], None]) -> Callable[[Rig], None]:
    """Mount one page for the recordings (as root), damp, and wait until telemetry has logged the error."""

    def inject(rig: Rig) -> None:
        directory = rig.scratch / "recordings"
        directory.mkdir(exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "gaitd-full", str(directory)]
        subprocess.run(mount, check=True, capture_output=True)
        try:
            before = rig.logged(NO_SPACE)
            damp(rig)
            rig.wait_logged(NO_SPACE, before + 1)
        finally:
            subprocess.run(["umount", str(directory)], check=True)
        if rig.pid_of("telemetry") != rig.pid("telemetry"):
            raise GaitdError("telemetry did not survive a full disk")

    return inject
