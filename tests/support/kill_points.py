"""Kill one change of a policy store before each system call that writes, in a copy of the store each time.

    python -m support.kill_points STORE COPIES install BUNDLE | activate ID | remove ID

leaves COPIES/1, COPIES/2, ... of which the last was changed without being killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaitd.bundle.read import open_bundle
from gaitd.bundle.store import PolicyStore
from gaitd.bundle.store_change import change_store

AUDITED = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.symlink"}


def change(store: Path, operation: str, argument: str) -> None:
    with change_store(PolicyStore(store)) as opened:
        if operation == "install":
            opened.install(open_bundle(Path(argument)))
        elif operation == "activate":
            opened.activate(argument)
        else:
            opened.remove(argument)


def die_at(call: int) -> None:
    """Kill this process before its so many-th writing call."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in AUDITED or (event == "open" and int(arguments[2]) & (os.O_WRONLY | os.O_RDWR)):
            step()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call_it(*arguments: Any) -> Any:
            step()
            return function(*arguments)

        return call_it

    os.fsync = counted(os.fsync)  # between a file's content and its name
    sys.addaudithook(audit)


def main(base: Path, copies: Path, operation: str, argument: str) -> None:
    for call in range(1, 500):
        store = copies / str(call)
        shutil.copytree(base, store, symlinks=True)
        child = os.fork()
        if child == 0:
            die_at(call)
            change(store, operation, argument)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
