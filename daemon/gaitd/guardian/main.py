"""The main process: guard tick, children, control channel, systemd.

Everything here is bounded per wake-up: no model, no disk, no HTTP. The guardian's logic itself is in
gaitd.guardian.rules and gaitd.guardian.sessions.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

from gaitd.backends import BackendName
from gaitd.bundle.read import Bundle
from gaitd.guardian import rules
from gaitd.guardian.channel import ControlChannel
from gaitd.guardian.child import Child
from gaitd.guardian.launches import telemetry_order, worker_order
from gaitd.guardian.rules import GuardLimits, GuardState
from gaitd.guardian.sessions import Sessions
from gaitd.guardian.systemd import ServiceManager
from gaitd.guardian.worker_process import WorkerKeeper
from gaitd.shared.blackboard import Blackboard
from gaitd.system.access import Doors
from gaitd.system.config import Config
from gaitd.system.log import fields
from gaitd.system.realtime import apply_realtime, freeze_garbage, name_process, realtime_context
from gaitd.system.runtime_dir import claim_runtime_dir
from gaitd.system.timer import periodic_timer
from gaitd.wire.contract import Mode, Reason
from gaitd.wire.control import Reply, Request

log = logging.getLogger("gaitd")

TICKS_PER_PERIOD = 4
"""The guard looks this often in a control period, so its own step adds a quarter period at most."""
STOP_PERIODS = 4
"""How long damping is sent before the end."""
STOP_GRACE_S = 0.4
"""How long the children may take to end by themselves."""
EXIT_REASONS = frozenset({Reason.DEADLINE, Reason.BACKEND_ERROR})
"""After damping for these, the worker is replaced by a fresh, self-tested one."""


class Supervisor:
    """One gaitd."""

    def __init__(
        self, bundle: Bundle, config: Config, backend: BackendName, worker_module: str = "gaitd.worker.main"
    ) -> None:
        """Claim the runtime directory and bind the sockets. Raises InputError."""
        manifest = bundle.manifest
        self._bundle = bundle
        self._config = config
        self._backend: BackendName = backend
        self._period_ns = round(manifest.control_period_s * 1e9)
        deadline_ns = round(self._period_ns * config.guard.deadline_periods)
        self._limits = GuardLimits(
            deadline_ns, round(config.guard.first_command_s * 1e9), round(config.guard.stance_s * 1e9)
        )
        self._lock_fd = claim_runtime_dir(Path(config.daemon.runtime_dir))
        self._board = Blackboard.create(len(manifest.joints))
        self._context = realtime_context(config.realtime, config.realtime.guardian_priority)
        self._channel = ControlChannel(self._context, Doors(self._context, config))
        # The upper bits differ from run to run, so that no session number ever comes again.
        self._sessions = Sessions(
            bundle,
            deadline_ns,
            secrets.randbits(40) << 20 | 1,
            self._status,
            first_command_ns=self._limits.first_command_ns,
            stance_ns=self._limits.stance_ns,
        )
        self._applied = GuardState()
        self._standing = False
        """The last word to the controllers was the default stance."""
        self._broken_fd = os.eventfd(0, os.EFD_CLOEXEC)
        """Readable when the worker's lifeline broke."""
        running = bundle, backend, config, self._board.fd
        self._keeper = WorkerKeeper(
            Child("worker", worker_module, partial(worker_order, *running), [self._board.fd]),
            self._board,
            self._broken_fd,
            self._start,
        )
        self._telemetry = Child(
            "telemetry", "gaitd.telemetry", partial(telemetry_order, *running), [self._board.fd]
        )
        self._missing_realtime: dict[str, str] = {}
        self._fifo_priority: int | None = None
        self._poll = select.epoll()
        self._service = ServiceManager()
        self._next_publish_ns = 0
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
        self._start(self._keeper.child, now_ns)
        if config.metrics.enabled or config.recorder.wanted:
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
        self._board.guard["worker_starts"] = self._keeper.child.starts

    def _answer(self, peer: bytes, request: Request) -> Reply:
        """Answer, and make it true before the controller reads it."""
        now_ns = time.monotonic_ns()
        before = self._sessions.state
        reply = self._sessions.answer(peer, request, now_ns)
        self._sessions.state = rules.explain(
            before, self._sessions.state, self._keeper.view(), self._limits, now_ns
        )
        self._apply(now_ns)
        return reply

    def _wake(self, now_ns: int) -> None:
        """One look at everything, deaths first."""
        self._look_after_worker(now_ns)
        requests, refused = self._channel.serve(self._answer)
        self._board.guard["control_requests"] += requests
        self._board.guard["control_refused"] += refused
        self._sessions.state = rules.tick(self._sessions.state, self._keeper.view(), self._limits, now_ns)
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
        standing = rules.stands(state, self._limits, now_ns)
        if changed or standing is not self._standing or now_ns >= self._next_publish_ns:
            self._next_publish_ns = now_ns + self._period_ns
            self._standing = standing
            if state.mode is not Mode.ACTIVE:
                order = self._sessions.order
                goal = order.stance if standing else order.limp
                self._channel.publish(state, goal, now_ns)
        if changed:
            self._announce(state)
            if state.mode is Mode.DAMPING:
                guard.row("damping_by_reason")[state.reason] += 1
                if state.reason in EXIT_REASONS:
                    self._keeper.give_up(state.detail)
                    self._sessions.worker_ready = False

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
            text += f"; worker not ready (start {self._keeper.child.starts})"
        self._service.say_status(f"{text}; policy {manifest.name} {manifest.version} on {self._backend}")

    def _look_after_worker(self, now_ns: int) -> None:
        keeper, sessions = self._keeper, self._sessions
        was_ready, was_ever_ready = keeper.ready, keeper.ever_ready
        how_it_died = keeper.look(now_ns, self._fifo_priority)
        sessions.worker_ready = keeper.ready
        if how_it_died is not None:
            sessions.state = rules.worker_died(sessions.state, how_it_died, now_ns)
            self._apply(now_ns)
        if keeper.ever_ready and not was_ever_ready:
            self._service.say_ready()
        if keeper.ready != was_ready or how_it_died is not None:
            self._say_status()

    def _hear_of_death(self, now_ns: int) -> None:
        """The worker's lifeline broke: damping first, everything else later."""
        self._keeper.hear_of_death()
        self._sessions.worker_ready = False
        self._sessions.state = rules.worker_died(self._sessions.state, "", now_ns)
        self._apply(now_ns)

    def _look_after_telemetry(self, now_ns: int) -> None:
        child = self._telemetry
        if child.has_died():
            log.warning("telemetry died %s", fields(how=child.reap(now_ns)))
        elif child.pid == 0 and child.restart_at_ns is not None and now_ns >= child.restart_at_ns:
            self._start(child, now_ns)

    def _feed_watchdog(self, now_ns: int) -> None:
        """systemd's watchdog is fed by the hot loop's progress; a worker on its way back counts too."""
        if self._service.watchdog_is_due(now_ns) and self._keeper.is_making_progress(now_ns):
            self._service.feed_watchdog(now_ns)

    def _status(self) -> dict[str, Any]:
        words = self._board.worker
        manifest = self._bundle.manifest
        return {
            "period_s": manifest.control_period_s,
            "policy": {"id": self._bundle.policy_id, "name": manifest.name, "version": manifest.version},
            "worker": {
                "ready": self._sessions.worker_ready,
                "pid": self._keeper.child.pid,
                "starts": self._keeper.child.starts,
                "backend": self._backend,
                "versions": self._keeper.report.versions,
                "selftest": self._keeper.report.selftest,
            },
            "guardian_pid": os.getpid(),
            "telemetry_pid": self._telemetry.pid,
            "missing_realtime": {"guardian": self._missing_realtime, "worker": self._keeper.report.realtime},
            "counters": {
                name: words[name]
                for name in ("received", "standby", "steps", "late_steps", "missed", "superseded", "withheld")
            },
        }

    def _shut_down(self) -> None:
        """Damping first and for a few periods, then the children, then the sockets."""
        now_ns = time.monotonic_ns()
        self._service.say_stopping()
        self._sessions.state = rules.damp(self._sessions.state, Reason.SHUTDOWN, "gaitd is stopping", now_ns)
        for _ in range(STOP_PERIODS):
            self._apply(time.monotonic_ns())
            self._next_publish_ns = 0
            time.sleep(self._period_ns / 1e9)
        for child in (self._keeper.child, self._telemetry):
            child.send(signal.SIGTERM)
        until_ns = time.monotonic_ns() + round(STOP_GRACE_S * 1e9)
        for child in (self._keeper.child, self._telemetry):
            while child.pid and not child.has_died() and time.monotonic_ns() < until_ns:
                time.sleep(0.005)
            child.send(signal.SIGKILL)
            if child.pid:
                child.reap(time.monotonic_ns())
        self._context.destroy(linger=0)
        log.info("stopped")
        os.close(self._lock_fd)
