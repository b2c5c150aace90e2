"""A child process that reports its descriptors and sleeps: the argument is the one to report to."""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1


def descriptors() -> list[int]:
    """Those that are still there after they were listed."""
    listed = sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())
    return [fd for fd in listed if os.path.lexists(f"/proc/self/fd/{fd}")]


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.write(int(sys.argv[1]), json.dumps(descriptors()).encode())
    time.sleep(1000)
