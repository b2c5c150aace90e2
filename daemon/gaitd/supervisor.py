"""The main process: guard tick, children, control channel, systemd.

Everything here is bounded per wake-up: no model, no disk, no HTTP. The guardian's logic itself is in
gaitd.guardian and gaitd.sessions.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import sdnotify

from gaitd import guardian
from gaitd.backends import BackendName
from gaitd.blackboard import Blackboard
from gaitd.bundle import Bundle
from gaitd.children import Child
from gaitd.config import Config
from gaitd.control_channel import ControlChannel, claim_runtime_dir
from gaitd.errors import CrashLoopError, GaitdError
from gaitd.guardian import GuardLimits, GuardState, WorkerView
from gaitd.lifeline import watch_lifeline
from gaitd.log import fields
from gaitd.realtime import (
    apply_realtime,
    freeze_garbage,
    name_process,
    realtime_context,
)
from gaitd.sessions import Sessions
from gaitd.telemetry.order import TelemetryOrder
from gaitd.timer import periodic_timer
from gaitd.wire.control import Reply, Request
from gaitd.wire.endpoints import Endpoints
from gaitd.wire.messages import Mode, Reason
from gaitd.worker import WorkerOrder, WorkerReport

log = logging.getLogger("gaitd")

TICKS_PER_PERIOD = 4
"""The guard looks this often in a control period, so its own step adds a quarter period at most."""
STUCK_NS = 1_000_000_000
"""A worker whose heart has not beaten for this long is replaced, in any mode."""
START_LIMIT_NS = 60_000_000_000
"""A worker that is not ready by then is replaced. A blocked NPU job alone may take 18 s."""
CRASH_LOOP = 10
"""Deaths in a row after which the service manager takes over."""
STOP_PERIODS = 4
"""How long damping is sent before the end."""
STOP_GRACE_S = 0.4
"""How long the children may take to end by themselves."""
EXIT_REASONS = frozenset({Reason.DEADLINE, Reason.BACKEND_ERROR})
"""After damping for these, the worker is replaced by a fresh, self-tested one."""


class Supervisor:
    """One gaitd."""

    def __init__(
        self, bundle: Bundle, config: Config, backend: BackendName, worker_module: str = "gaitd.worker"
    ) -> None:
        """Claim the runtime directory and bind the sockets. Raises InputError."""
        manifest = bundle.manifest
        self._bundle = bundle
        self._config = config
        self._backend: BackendName = backend
        self._period_ns = round(manifest.control_period_s * 1e9)
        deadline_ns = round(self._period_ns * config.guard.deadline_periods)
        self._limits = GuardLimits(deadline_ns, round(config.guard.first_command_s * 1e9))
        directory = Path(config.daemon.runtime_dir)
        self._lock_fd = claim_runtime_dir(directory)
        self._board = Blackboard.create(len(manifest.joints))
        self._context = realtime_context(config.realtime, config.realtime.guardian_priority)
        self._channel = ControlChannel(self._context, Endpoints.in_directory(directory))
        # The upper bits differ from run to run, so that no session number ever comes again.
        self._sessions = Sessions(bundle, deadline_ns, secrets.randbits(40) << 20 | 1, self._status)
        self._applied = GuardState()
        self._worker = Child("worker", worker_module, self._worker_order, [self._board.fd])
        self._telemetry = Child("telemetry", "gaitd.telemetry", self._telemetry_order, [self._board.fd])
        self._worker_given_up = False
        """Killed, but not dead yet: the kernel may take its time."""
        self._report = WorkerReport()
        self._report_bytes = b""
        self._missing_realtime: dict[str, str] = {}
        self._fifo_priority: int | None = None
        self._poll = select.epoll()
        self._broken_fd = os.eventfd(0, os.EFD_CLOEXEC)
        """Readable when the worker's lifeline broke."""
        self._notifier = sdnotify.SystemdNotifier()
        if self._notifier.socket is not None:
            self._notifier.socket.setblocking(False)
        self._watchdog_ns = int(os.environ.get("WATCHDOG_USEC", "0")) * 1000 // 4
        self._watchdog_fed_ns = 0
        self._next_publish_ns = 0
        self._ever_ready = False
        self._stopping = False

    def stop(self, *_: object) -> None:
        """End cleanly (a signal handler)."""
        self._stopping = True

    def run(self) -> None:
        """Guard until stopped. Raises what the worker failed with at its first start, or CrashLoopError."""
        config = self._config
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        name_process("gaitd-guardian")
        now_ns = time.monotonic_ns()
        self._start(self._worker, now_ns)
        if config.metrics.enabled:
            self._start(self._telemetry, now_ns)
        settings = apply_realtime(
            config.realtime, config.realtime.guardian_cpus, config.realtime.guardian_priority
        )
        self._missing_realtime = {setting.name: setting.detail for setting in settings if not setting.ok}
        for name, detail in self._missing_realtime.items():
            log.warning(
                "real-time setting not available %s", fields(process="guardian", setting=name, detail=detail)
            )
        if any(setting.name == "sched_fifo" and setting.ok for setting in settings):
            self._fifo_priority = config.realtime.guardian_priority
        freeze_garbage()
        timer_fd = periodic_timer(self._period_ns // TICKS_PER_PERIOD)
        self._poll.register(timer_fd, select.EPOLLIN)
        self._poll.register(self._broken_fd, select.EPOLLIN)
        try:
            while not self._stopping:
                for fd, _ in self._poll.poll():
                    if fd in (timer_fd, self._broken_fd):
                        os.read(fd, 8)
                    if fd == self._broken_fd:
                        self._hear_of_death(time.monotonic_ns())
                self._wake(time.monotonic_ns())
        finally:
            self._shut_down()
            os.close(timer_fd)

    def _start(self, child: Child, now_ns: int) -> None:
        try:
            child.start(now_ns)
        except OSError as error:
            log.error(
                "%s cannot be started %s", child.name, fields(error=error.strerror, failures=child.failures)
            )
            return
        self._poll.register(child.pidfd, select.EPOLLIN)  # its death wakes the guard at once
        self._board.guard["worker_starts"] = self._worker.starts

    def _answer(self, peer: bytes, request: Request) -> Reply:
        """Answer, and make it true before the controller reads it."""
        now_ns = time.monotonic_ns()
        before = self._sessions.state
        reply = self._sessions.answer(peer, request, now_ns)
        self._sessions.state = guardian.explain(
            before, self._sessions.state, self._worker_view(), self._limits, now_ns
        )
        self._apply(now_ns)
        return reply

    def _wake(self, now_ns: int) -> None:
        """One look at everything, deaths first."""
        self._look_after_worker(now_ns)
        requests, refused = self._channel.serve(self._answer)
        self._board.guard["control_requests"] += requests
        self._board.guard["control_refused"] += refused
        self._sessions.state = guardian.tick(self._sessions.state, self._worker_view(), self._limits, now_ns)
        self._apply(now_ns)
        # Only now: a guard that was frozen judges its silence before the worker may publish again.
        self._board.guard["heartbeat_ns"] = now_ns
        self._look_after_telemetry(now_ns)
        self._feed_watchdog(now_ns)

    def _apply(self, now_ns: int) -> None:
        """Make the guard's state true: the latch first, then the controllers, then people."""
        state, before = self._sessions.state, self._applied
        guard = self._board.guard
        if state is not before:
            if state.mode is Mode.ACTIVE:
                self._board.write_session(self._sessions.order.setup)
            guard["active_session"] = state.session if state.mode is Mode.ACTIVE else 0
            guard["mode"], guard["reason"], guard["session"] = state.mode, state.reason, state.session
            self._applied = state
        changed = (state.mode, state.session) != (before.mode, before.session)
        if changed or now_ns >= self._next_publish_ns:
            self._next_publish_ns = now_ns + self._period_ns
            if state.mode is not Mode.ACTIVE:
                damping = self._sessions.order.fallback_damping
                self._channel.publish(state, damping, self._bundle.policy_id, now_ns)
        if changed:
            self._announce(state)
            if state.mode is Mode.DAMPING:
                guard.row("damping_by_reason")[state.reason] += 1
                if state.reason in EXIT_REASONS:
                    self._give_up_worker(state.detail)

    def _announce(self, state: GuardState) -> None:
        level = logging.WARNING if state.mode is Mode.DAMPING else logging.INFO
        log.log(
            level,
            "mode %s",
            fields(
                mode=state.mode.name.lower(),
                reason=state.reason.name.lower(),
                session=state.session,
                detail=state.detail or "-",
            ),
        )
        self._say_status()

    def _say_status(self) -> None:
        state, manifest = self._sessions.state, self._bundle.manifest
        text = state.mode.name
        if state.mode is Mode.DAMPING:
            text += f" because of {state.reason.name.lower()} ({state.detail})"
        if not self._sessions.worker_ready:
            text += f"; worker not ready (start {self._worker.starts})"
        self._notifier.notify(f"STATUS={text}; policy {manifest.name} {manifest.version} on {self._backend}")

    def _look_after_worker(self, now_ns: int) -> None:
        worker = self._worker
        if worker.has_died():
            self._take_leave_of_worker(now_ns)
        elif worker.pid == 0:
            if worker.failures >= CRASH_LOOP:
                raise CrashLoopError(f"the worker failed {worker.failures} times in a row; see the log")
            if worker.restart_at_ns is not None and now_ns >= worker.restart_at_ns:
                self._worker_given_up = False
                self._report, self._report_bytes = WorkerReport(), b""
                self._start(worker, now_ns)
        elif self._worker_given_up:
            pass
        elif not self._sessions.worker_ready:
            self._read_report()
            if self._report_bytes.endswith(b"\n") and not self._report.error:
                self._worker_is_ready(now_ns)
            elif now_ns - worker.started_ns > START_LIMIT_NS:
                self._give_up_worker(f"not ready after {START_LIMIT_NS / 1e9:.0f} s")
        elif abs(now_ns - self._board.worker["heartbeat_ns"]) > STUCK_NS:
            self._give_up_worker("its heart has not beaten for a second")

    def _give_up_worker(self, why: str) -> None:
        """Kill it, once. No session starts with it any more, however long it takes to die."""
        if self._worker.pid == 0 or self._worker_given_up:
            return
        self._worker_given_up = True
        self._sessions.worker_ready = False
        self._board.worker["ready"] = 0
        log.error("worker replaced %s", fields(pid=self._worker.pid, why=why))
        self._worker.send(signal.SIGKILL)
        self._say_status()

    def _hear_of_death(self, now_ns: int) -> None:
        """The worker is dead, though the kernel is not done with it yet."""
        self._worker_given_up = True
        self._sessions.worker_ready = False
        self._board.worker["ready"] = 0
        self._sessions.state = guardian.worker_died(self._sessions.state, "", now_ns)
        self._apply(now_ns)

    def _take_leave_of_worker(self, now_ns: int) -> None:
        worker = self._worker
        self._sessions.worker_ready = False
        self._board.worker["ready"] = 0
        self._read_report()
        how = worker.reap(now_ns)
        self._sessions.state = guardian.worker_died(self._sessions.state, how, now_ns)
        self._apply(now_ns)
        failure = self._report.error or how
        log.error(
            "worker died %s", fields(how=how, error=self._report.error or "-", failures=worker.failures)
        )
        if not self._ever_ready and self._report.error:
            raise _error_of(self._report)
        if worker.failures >= CRASH_LOOP:
            raise CrashLoopError(f"the worker died {worker.failures} times in a row; last: {failure}")
        self._say_status()

    def _read_report(self) -> None:
        self._report_bytes += self._worker.read_report()
        if self._report_bytes.endswith(b"\n"):
            self._report = msgspec.json.decode(self._report_bytes, type=WorkerReport)

    def _worker_is_ready(self, now_ns: int) -> None:
        report = self._report
        self._board.worker["heartbeat_ns"] = now_ns
        self._board.worker["busy_since_ns"] = 0
        self._board.worker["ready"] = 1
        self._sessions.worker_ready = True
        watch_lifeline(self._board.lifeline, self._broken_fd, self._fifo_priority)
        log.info(
            "worker ready %s",
            fields(pid=self._worker.pid, backend=self._backend, **report.versions, **report.selftest),
        )
        for name, detail in report.realtime.items():
            log.warning(
                "real-time setting not available %s", fields(process="worker", setting=name, detail=detail)
            )
        if not self._ever_ready:
            self._ever_ready = True
            self._notifier.notify("READY=1")
        self._say_status()

    def _look_after_telemetry(self, now_ns: int) -> None:
        child = self._telemetry
        if child.has_died():
            log.warning("telemetry died %s", fields(how=child.reap(now_ns)))
        elif child.pid == 0 and child.restart_at_ns is not None and now_ns >= child.restart_at_ns:
            self._start(child, now_ns)

    def _feed_watchdog(self, now_ns: int) -> None:
        """systemd's watchdog is fed by the hot loop's progress; a worker on its way back counts too."""
        if self._watchdog_ns and now_ns - self._watchdog_fed_ns >= self._watchdog_ns:
            beating = now_ns - self._board.worker["heartbeat_ns"] < STUCK_NS
            if beating or not self._sessions.worker_ready:
                self._watchdog_fed_ns = now_ns
                self._notifier.notify("WATCHDOG=1")

    def _worker_view(self) -> WorkerView:
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

    def _worker_order(self, report_fd: int) -> str:
        order = WorkerOrder(
            bundle=str(self._bundle.path.resolve()),
            bundle_id=self._bundle.id,
            backend=self._backend,
            blackboard_fd=self._board.fd,
            report_fd=report_fd,
            config=self._config,
        )
        return msgspec.json.encode(order).decode()

    def _telemetry_order(self, report_fd: int) -> str:
        manifest = self._bundle.manifest
        order = TelemetryOrder(
            blackboard_fd=self._board.fd,
            metrics=self._config.metrics,
            period_s=manifest.control_period_s,
            policy={"id": self._bundle.policy_id, "name": manifest.name, "version": manifest.version},
            backend=self._backend,
        )
        return msgspec.json.encode(order).decode()

    def _status(self) -> dict[str, Any]:
        words = self._board.worker
        manifest = self._bundle.manifest
        return {
            "period_s": manifest.control_period_s,
            "policy": {"id": self._bundle.policy_id, "name": manifest.name, "version": manifest.version},
            "worker": {
                "ready": self._sessions.worker_ready,
                "pid": self._worker.pid,
                "starts": self._worker.starts,
                "backend": self._backend,
                "versions": self._report.versions,
                "selftest": self._report.selftest,
            },
            "guardian_pid": os.getpid(),
            "telemetry_pid": self._telemetry.pid,
            "missing_realtime": {"guardian": self._missing_realtime, "worker": self._report.realtime},
            "counters": {
                name: words[name]
                for name in ("received", "standby", "steps", "late_steps", "missed", "superseded", "withheld")
            },
        }

    def _shut_down(self) -> None:
        """Damping first and for a few periods, then the children, then the sockets."""
        now_ns = time.monotonic_ns()
        self._notifier.notify("STOPPING=1")
        self._sessions.state = guardian.damp(
            self._sessions.state, Reason.SHUTDOWN, "gaitd is stopping", now_ns
        )
        for _ in range(STOP_PERIODS):
            self._apply(time.monotonic_ns())
            self._next_publish_ns = 0
            time.sleep(self._period_ns / 1e9)
        for child in (self._worker, self._telemetry):
            child.send(signal.SIGTERM)
        until_ns = time.monotonic_ns() + round(STOP_GRACE_S * 1e9)
        for child in (self._worker, self._telemetry):
            while child.pid and not child.has_died() and time.monotonic_ns() < until_ns:
                time.sleep(0.005)
            child.send(signal.SIGKILL)
            if child.pid:
                child.reap(time.monotonic_ns())
        self._context.destroy(linger=0)
        log.info("stopped")
        os.close(self._lock_fd)


def _reason(word: int) -> Reason:
    """A reason that the worker wrote. It may have died while writing, or be writing nonsense."""
    try:
        return Reason(int(word))
    except ValueError:
        return Reason.BACKEND_ERROR


def _error_of(report: WorkerReport) -> GaitdError:
    """The worker's start-up error as what it was."""
    kinds = {kind.exit_code: kind for kind in GaitdError.__subclasses__()}
    return kinds.get(report.exit_code, GaitdError)(report.error)
