"""The worker's life as the guardian leads it: start, ready, given up, dead, replaced by a fresh one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import msgspec

from gaitd.errors import CrashLoopError, GaitdError, ReplacedError, ResourceError
from gaitd.guardian import announce
from gaitd.guardian.backend_choice import BackendChoice
from gaitd.guardian.child import Child
from gaitd.guardian.rules import WorkerView
from gaitd.shared.launch import WorkerReport
from gaitd.shared.lifeline import LifelineMemory, watch_lifeline
from gaitd.shared.processes import WORKER_SLOT
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.log import log

STUCK_NS = 1_000_000_000
"""A worker that has not moved for this long is replaced, in any mode."""
START_LIMIT_NS = 60_000_000_000
"""A worker that is not ready by then is replaced. A blocked NPU job alone may take 18 s."""


class WorkerProcess:
    """Keeps one worker alive and proven; bounded work at each call."""

    def __init__(
        self,
        child: Child,
        choice: BackendChoice,
        memory: WorkerMemory,
        lifeline: LifelineMemory,
        start: Callable[[Child, int], None],
        slot: int = WORKER_SLOT,
    ) -> None:
        """``start``: how to start."""
        self.child = child
        self.slot = slot
        self.choice = choice
        self.memory = memory
        self.broken_fd = os.eventfd(0, os.EFD_CLOEXEC)
        """Readable when a ready worker's lifeline broke."""
        self.may_fail = slot != WORKER_SLOT
        """Whatever becomes of it, gaitd goes on: the robot walks, or will, without it."""
        self.report = WorkerReport()
        """What the present worker reported when it became ready."""
        self.ready = False
        self.ever_ready = False
        self._given_up = False
        """Killed or dying, but not gone yet: the kernel may take its time."""
        self._kill_at_ns = 0
        """When ``look`` is to do it; 0: it is done."""
        self._why_given_up = ""
        self._lifeline = lifeline
        self._start = start
        self._report_bytes = b""

    def look(self, now_ns: int, fifo_priority: int | None) -> str | None:
        """See to the worker; returns how it died, if it has just been found dead; "" while that is unknown.

        Raises the worker's own error when its very first start fails, ReplacedError when it is of other code
        than this process, CrashLoopError when it dies again and again; not while it ``may_fail``.
        """
        child = self.child
        if child.is_overdue(now_ns, START_LIMIT_NS) and not self.may_fail:
            raise CrashLoopError(child.why_overdue)
        if child.has_died():
            return self._reap(now_ns)
        if child.pid == 0:
            self._restart_when_due(now_ns)
        elif self._given_up:
            if self._kill_at_ns and now_ns >= self._kill_at_ns:
                self._kill()
        elif not self.ready:
            self._read_report()
            if self._report_bytes.endswith(b"\n") and not self.report.error:
                self._mark_ready(fifo_priority, now_ns)
            elif now_ns - child.started_ns > START_LIMIT_NS:
                self.give_up(f"not ready after {START_LIMIT_NS / 1e9:.0f} s")
        elif self._silence_ns(now_ns) > STUCK_NS:
            self.give_up("it has not moved for a second")
        return None

    def give_up(self, why: str, kill_at_ns: int = 0) -> None:
        """Kill it, once, not before ``kill_at_ns``. No session starts with it any more, however long it takes
        to die.
        """
        if self.child.pid == 0 or self._given_up:
            return
        log.error(f"{self.child.name} replaced", pid=self.child.pid, why=why)
        self._why_given_up = why
        self._given_up, self.ready, self._kill_at_ns = True, False, kill_at_ns
        if not kill_at_ns:
            self._kill()

    def note_death(self) -> bool:
        """Its lifeline broke: it is dead, though the kernel may not be done with it yet. Kill it anyway.

        False where this tells of an earlier worker: a lifeline is watched from when its worker is ready.
        """
        if not self.ready:
            return False
        self._kill()
        return True

    def _kill(self) -> None:
        self._given_up, self.ready, self._kill_at_ns = True, False, 0
        self.child.send(signal.SIGKILL)

    def is_making_progress(self, now_ns: int) -> bool:
        """Its heartbeat is fresh, or a new worker is on its way."""
        return not self.ready or self._silence_ns(now_ns) < STUCK_NS

    def view(self) -> WorkerView:
        """What the worker last wrote of itself."""
        memory, words = self.memory, self.memory.words
        return WorkerView(
            heartbeat_ns=words["heartbeat_ns"],
            busy_since_ns=words["busy_since_ns"],
            last_state_ns=words["last_state_ns"],
            last_command_ns=words["last_command_ns"],
            last_command_epoch=words["last_command_epoch"],
            refusal=memory.refusal.read(),
            trip=memory.trip.read(),
            prepared_ns=words["prepared_ns"],
            prepared_epoch=words["prepared_epoch"],
            unanswered_ns=words["unanswered_ns"],
            errors_in_a_row=words["errors_in_a_row"],
            fading=bool(words["fading"]),
        )

    def _silence_ns(self, now_ns: int) -> int:
        return abs(now_ns - self.memory.words["heartbeat_ns"])

    def _mark_ready(self, fifo_priority: int | None, now_ns: int) -> None:
        self.ready = self.ever_ready = True
        self.child.note_ready(now_ns)
        try:
            watch_lifeline(self._lifeline, self.broken_fd, fifo_priority)
        except OSError as error:
            why = f"{error.strerror}; raise TasksMax= or the user's limit of processes"
            log.warning(f"{self.child.name}: its death will be heard some ms later", why=why)
        report = self.report
        log.info(
            f"{self.child.name} ready",
            pid=self.child.pid,
            backend=report.backend,
            **report.versions,
            **report.selftest,
        )
        announce.log_missing_realtime(self.child.name, report.realtime)

    def _reap(self, now_ns: int) -> str:
        self.ready = False
        self._read_report()
        failed_in_backend = self._failed_in_backend()
        how = self.child.reap(now_ns)
        if how is None:
            return ""  # dead for sure; how is heard in a moment
        error = self.report.error
        log.error(
            f"{self.child.name} died",
            how=how,
            error=error or "-",
            deaths_in_a_row=self.child.deaths_in_a_row,
        )
        replaced = self.child.replaced
        if failed_in_backend and not replaced and self.choice.fall_back(error or self._why_given_up or how):
            announce.log_fallback(self.choice.current, self.choice.fallback)
            return how
        if not self.ever_ready and error and not replaced and not self.may_fail:
            raise _error_of(self.report, self.choice.fallback)
        self._check(error or how)
        return how

    def _check(self, last: str) -> None:
        """Raises what ends gaitd: there will be no worker."""
        if self.may_fail:
            return
        if self.child.replaced:
            raise ReplacedError(self.report.error or "gaitd was replaced while it ran; restart it")
        self.child.check_crash_loop(last)

    def _failed_in_backend(self) -> bool:
        """It ended while it loaded or proved its backend, and not for what the machine lacks for now."""
        here = self.memory.words["proving_pid"] == self.child.pid
        return here and self.report.exit_code != ResourceError.exit_code

    def _restart_when_due(self, now_ns: int) -> None:
        self._check("it could not be started; see the log")
        if self.child.is_due(now_ns):
            self._given_up, self._why_given_up, self._kill_at_ns = False, "", 0
            self.report, self._report_bytes = WorkerReport(), b""
            self._start(self.child, now_ns)

    def _read_report(self) -> None:
        self._report_bytes += self.child.read_report()
        if self._report_bytes.endswith(b"\n"):
            self.report = msgspec.json.decode(self._report_bytes, type=WorkerReport)


def _error_of(report: WorkerReport, before: str) -> GaitdError:
    """The worker's start-up error as what it was; ``before``: what was tried before, or empty."""
    kinds = {kind.exit_code: kind for kind in GaitdError.__subclasses__()}
    text = f"{report.error}; before that, {before}" if before else report.error
    return kinds.get(report.exit_code, GaitdError)(text)
