"""Runs a module as ``python -m`` does, in a process that ends with its parent: PARENT_PID MODULE ARGUMENT...

The first thing that a child process does, before imports that take a second: a child that outlived its
guardian would keep the sockets and ports of the next one, or take them from it. Where there is no memory for
the imports, one line says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import runpy
import signal
import sys

from gaitd.errors import ResourceError

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Have the kernel kill this process with its parent. Does not return where that is already gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was told
        sys.exit(0)


def main() -> None:
    """The beginning of the spawner and of what it starts."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    end_with(parent)
    del sys.argv[:2]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except (MemoryError, OSError, ImportError) as error:
        if not _for_want_of_memory(error):
            raise
        print(f"{module}: out of memory: {str(error) or type(error).__name__}", file=sys.stderr)
        sys.exit(ResourceError.exit_code)


def _for_want_of_memory(error: Exception) -> bool:
    """The loader of libraries says it in words of its own."""
    if isinstance(error, ImportError):
        return "failed to map segment" in str(error) or "cannot allocate memory" in str(error).lower()
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


if __name__ == "__main__":
    main()
