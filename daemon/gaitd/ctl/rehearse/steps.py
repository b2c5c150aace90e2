"""The faults of a rehearsal, in the order in which they come: the gentle ones first."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gaitd.backends.failing import ORDER
from gaitd.ctl.rehearse.scene import Scene, Session
from gaitd.ctl.rehearse.threads import IO_THREAD, LINK_THREAD, paused_thread, thread_named
from gaitd.errors import GaitdError
from gaitd.wire.generated import Reason

Injection = Callable[[Scene, Session], AbstractContextManager[None]]
"""Entered, the fault is there; left, it is undone."""


@dataclass(frozen=True)
class Step:
    """One fault."""

    fault: str
    """At most 28 characters."""
    happens: str
    inject: Injection
    reasons: frozenset[Reason]
    """That the controller may give: gaitd's, or its own where its timer may be first."""
    bound_periods: float | None = None
    """Until damping at the controller; None: gaitd's deadline, 5 by default."""
    since: Literal["fault", "command"] = "command"
    """From when the bound counts: the injection, or the last fresh command."""
    hold_s: float = 2.0
    """The fault is undone after this time at the latest."""
    by_person: bool = False
    """Nothing is injected: somebody presses a button."""
    ends_gaitd: bool = False
    needs_setting: bool = False
    """daemon.rehearsal must be on: nothing from outside makes a backend report an error."""


@contextlib.contextmanager
def _damp(scene: Scene, session: Session) -> Iterator[None]:
    scene.damp()
    yield


def _signal_worker(number: signal.Signals) -> Injection:
    @contextlib.contextmanager
    def inject(scene: Scene, session: Session) -> Iterator[None]:
        os.kill(session.worker, number)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # gaitd has replaced it
                os.kill(session.worker, signal.SIGCONT)

    return inject


@contextlib.contextmanager
def _kill_guardian(scene: Scene, session: Session) -> Iterator[None]:
    os.kill(session.guardian, signal.SIGKILL)
    yield


def _lose_states(scene: Scene, session: Session) -> AbstractContextManager[None]:
    return paused_thread(thread_named(session.worker, IO_THREAD))


def _pause_loop(scene: Scene, session: Session) -> AbstractContextManager[None]:
    if session.thread == 0 or not Path(f"/proc/{session.thread}").exists():
        raise GaitdError(
            f"thread {session.thread} of the controller's loop is not there: does the controller run in a "
            "container? Run gaitctl rehearse where it sees both"
        )
    thread_named(session.thread, LINK_THREAD)  # else this is a thread of somebody else
    return paused_thread(session.thread)


def _press(scene: Scene, session: Session) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


STEPS = (
    Step(
        "gaitctl damp",
        "gaitd is asked for damping, as `gaitctl damp` does.",
        _damp,
        frozenset({Reason.OPERATOR}),
    ),
    Step(
        "controller's own button",
        "You press your controller's emergency damping (not the motors' power).",
        _press,
        frozenset({Reason.OPERATOR}),
        by_person=True,
    ),
    Step(
        "worker killed",
        "gaitd's worker is killed (SIGKILL), as when memory runs out.",
        _signal_worker(signal.SIGKILL),
        frozenset({Reason.WORKER_DIED}),
        bound_periods=1.0,
        since="fault",
    ),
    Step(
        "NPU or model library crashes",
        "gaitd's worker crashes (SIGSEGV), as a fault in the vendor's library does it.",
        _signal_worker(signal.SIGSEGV),
        frozenset({Reason.WORKER_DIED}),
        bound_periods=2.0,
    ),
    Step(
        "NPU or model reports errors",
        "In gaitd's worker every run of the model fails, with an error.",
        _signal_worker(ORDER),
        frozenset({Reason.BACKEND_ERROR, Reason.CLIENT_DEADLINE}),
        needs_setting=True,
    ),
    Step(
        "worker stopped",
        "gaitd's worker is stopped (SIGSTOP), as by an NPU job that never ends.",
        _signal_worker(signal.SIGSTOP),
        frozenset({Reason.DEADLINE, Reason.CLIENT_DEADLINE}),
    ),
    Step(
        "states lost",
        "What the controller sends stops arriving at gaitd's worker.",
        _lose_states,
        frozenset({Reason.STATE_LOST, Reason.CLIENT_DEADLINE}),
    ),
    Step(
        "controller's loop paused",
        "The thread of the controller's loop is paused, half a second at most.",
        _pause_loop,
        frozenset({Reason.CLIENT_DEADLINE, Reason.STATE_LOST}),
        hold_s=0.5,
    ),
    Step(
        "guardian killed",
        "gaitd's main process is killed, and all of gaitd with it.",
        _kill_guardian,
        frozenset({Reason.CLIENT_DEADLINE}),
        ends_gaitd=True,
    ),
)
