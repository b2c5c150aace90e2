"""Runs a module as ``python -m`` does, in a process that ends with its parent: PARENT_PID MODULE ARGUMENT...

The first thing that a child process does, before imports that take a second: a child that outlived its
guardian would keep the sockets and ports of the next one, or take them from it.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process with its parent. Does not return where that is already gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was told
        sys.exit(0)


def main() -> None:
    """The spawner's beginning; what it starts calls ``end_with`` before its own."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    end_with(parent)
    del sys.argv[:2]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
