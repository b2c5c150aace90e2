"""Faults of the blackboard: what a debugger, a wild pointer or another process of root could do to it."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable

from gaitd.errors import GaitdError
from gaitd.shared.blackboard import GUARD_WORDS, WORKER_WORDS
from gaitforge.faults.board import open_board
from gaitforge.faults.rig import Rig

FAR_FUTURE_NS = 2**62


def truncate(rig: Rig) -> None:
    """Truncate it; the seal must refuse that."""
    with open_board(rig.pid("gaitd")) as board:
        try:
            os.ftruncate(board.fd, 64)
        except PermissionError:
            return
    raise GaitdError("the shared memory could be truncated")


def scramble(words: str) -> Callable[[Rig], None]:
    """Overwrite one side's words with random bits, once."""
    layout = {"guard": GUARD_WORDS, "worker": WORKER_WORDS}[words]

    def inject(rig: Rig) -> None:
        with open_board(rig.pid("gaitd")) as board:
            side = {"guard": board.guard, "worker": board.worker}[words]
            for name, count in layout.items():
                for index in range(count):
                    side.row(name)[index] = secrets.randbits(63)

    return inject


def far_future(rig: Rig) -> None:
    """Stop the worker, and set its stamps a hundred years into the future."""
    rig.signal("worker", signal.SIGSTOP)
    with open_board(rig.pid("gaitd")) as board:
        for name in ("heartbeat_ns", "last_command_ns", "last_state_ns"):
            board.worker[name] = FAR_FUTURE_NS
