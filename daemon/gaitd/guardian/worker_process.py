"""The worker's life as the supervisor leads it: start, ready, given up, dead, replaced by a fresh one."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

import msgspec

from gaitd.errors import CrashLoopError, GaitdError
from gaitd.guardian.child import Child
from gaitd.guardian.rules import WorkerView
from gaitd.shared.blackboard import Blackboard
from gaitd.shared.lifeline import watch_lifeline
from gaitd.system.log import fields
from gaitd.wire.contract import Reason
from gaitd.worker.main import WorkerReport

log = logging.getLogger("gaitd")

STUCK_NS = 1_000_000_000
"""A worker whose heart has not beaten for this long is replaced, in any mode."""
START_LIMIT_NS = 60_000_000_000
"""A worker that is not ready by then is replaced. A blocked NPU job alone may take 18 s."""
CRASH_LOOP = 10
"""Deaths in a row after which the service manager takes over."""


class WorkerKeeper:
    """Keeps one worker alive and proven; bounded work at each call."""

    def __init__(
        self, child: Child, board: Blackboard, broken_fd: int, start: Callable[[Child, int], None]
    ) -> None:
        """``broken_fd``: eventfd that becomes readable when a ready worker dies. ``start``: how to start."""
        self.child = child
        self.report = WorkerReport()
        """What the present worker reported when it became ready."""
        self.ready = False
        self.ever_ready = False
        self._given_up = False
        """Killed or dying, but not gone yet: the kernel may take its time."""
        self._board = board
        self._broken_fd = broken_fd
        self._start = start
        self._report_bytes = b""

    def look(self, now_ns: int, fifo_priority: int | None) -> str | None:
        """See to the worker; returns how it died, if it has just been found dead.

        Raises the worker's own error when its very first start fails, CrashLoopError when it dies again
        and again.
        """
        child = self.child
        if child.has_died():
            return self._bury(now_ns)
        if child.pid == 0:
            self._restart_when_due(now_ns)
        elif self._given_up:
            pass
        elif not self.ready:
            self._read_report()
            if self._report_bytes.endswith(b"\n") and not self.report.error:
                self._welcome(now_ns, fifo_priority)
            elif now_ns - child.started_ns > START_LIMIT_NS:
                self.give_up(f"not ready after {START_LIMIT_NS / 1e9:.0f} s")
        elif abs(now_ns - self._board.worker["heartbeat_ns"]) > STUCK_NS:
            self.give_up("its heart has not beaten for a second")
        return None

    def give_up(self, why: str) -> None:
        """Kill it, once. No session starts with it any more, however long it takes to die."""
        if self.child.pid == 0 or self._given_up:
            return
        self.hear_of_death()
        log.error("worker replaced %s", fields(pid=self.child.pid, why=why))
        self.child.send(signal.SIGKILL)

    def hear_of_death(self) -> None:
        """It is dead, though the kernel may not be done with it yet."""
        self._given_up = True
        self._set_ready(False)

    def is_making_progress(self, now_ns: int) -> bool:
        """Its heart beats, or a fresh one is on its way."""
        return not self.ready or now_ns - self._board.worker["heartbeat_ns"] < STUCK_NS

    def view(self) -> WorkerView:
        """What the worker last wrote of itself."""
        words = self._board.worker
        return WorkerView(
            heartbeat_ns=words["heartbeat_ns"],
            busy_since_ns=words["busy_since_ns"],
            last_state_ns=words["last_state_ns"],
            last_command_ns=words["last_command_ns"],
            last_command_session=words["last_command_session"],
            last_refusal_ns=words["last_refusal_ns"],
            last_refusal_reason=_reason(words["last_refusal_reason"]),
            trip_session=words["trip_session"],
            trip_reason=_reason(words["trip_reason"]),
        )

    def _welcome(self, now_ns: int, fifo_priority: int | None) -> None:
        self._board.worker["heartbeat_ns"] = now_ns
        self._board.worker["busy_since_ns"] = 0
        self._set_ready(True)
        self.ever_ready = True
        watch_lifeline(self._board.lifeline, self._broken_fd, fifo_priority)
        log.info(
            "worker ready %s",
            fields(
                pid=self.child.pid,
                backend=self.report.backend,
                **self.report.versions,
                **self.report.selftest,
            ),
        )
        for name, detail in self.report.realtime.items():
            log.warning(
                "real-time setting not available %s", fields(process="worker", setting=name, detail=detail)
            )

    def _bury(self, now_ns: int) -> str:
        self._set_ready(False)
        self._read_report()
        how = self.child.reap(now_ns)
        error = self.report.error
        log.error("worker died %s", fields(how=how, error=error or "-", failures=self.child.failures))
        if not self.ever_ready and error:
            raise _error_of(self.report)
        if self.child.failures >= CRASH_LOOP:
            raise CrashLoopError(
                f"the worker died {self.child.failures} times in a row; last: {error or how}"
            )
        return how

    def _restart_when_due(self, now_ns: int) -> None:
        child = self.child
        if child.failures >= CRASH_LOOP:
            raise CrashLoopError(f"the worker failed {child.failures} times in a row; see the log")
        if child.restart_at_ns is not None and now_ns >= child.restart_at_ns:
            self._given_up = False
            self.report, self._report_bytes = WorkerReport(), b""
            self._start(child, now_ns)

    def _read_report(self) -> None:
        self._report_bytes += self.child.read_report()
        if self._report_bytes.endswith(b"\n"):
            self.report = msgspec.json.decode(self._report_bytes, type=WorkerReport)

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        self._board.worker["ready"] = int(ready)


def _reason(word: int) -> Reason:
    """A reason that the worker wrote. It may have died while writing, or be writing nonsense."""
    try:
        return Reason(word)
    except ValueError:
        return Reason.BACKEND_ERROR


def _error_of(report: WorkerReport) -> GaitdError:
    """The worker's start-up error as what it was."""
    kinds = {kind.exit_code: kind for kind in GaitdError.__subclasses__()}
    return kinds.get(report.exit_code, GaitdError)(report.error)
