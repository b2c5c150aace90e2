"""The guardian's loop: tick, children, control channel, systemd.

Everything here is bounded per wake-up: no model, no disk, no HTTP. Who may move the joints is decided in
gaitd.guardian.rules and gaitd.guardian.sessions.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import time
from pathlib import Path
from typing import Any

from gaitd.backends import BackendName
from gaitd.bundle import Bundle
from gaitd.guardian import announce, rules
from gaitd.guardian.backend_choice import BackendChoice
from gaitd.guardian.channel import ControlChannel
from gaitd.guardian.child import Child
from gaitd.guardian.children import Children
from gaitd.guardian.degradation import Degradation
from gaitd.guardian.event_log import keep_events_of
from gaitd.guardian.launches import telemetry_launch, worker_launch
from gaitd.guardian.rules import GuardLimits, GuardState
from gaitd.guardian.sessions import Sessions
from gaitd.guardian.status import describe
from gaitd.guardian.systemd import ServiceManager
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.shared import lease
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.lifeline import create_lifeline, map_lifeline
from gaitd.shared.processes import GUARDIAN, TELEMETRY, WORKER, WORKER_SLOT, ChildProcess
from gaitd.shared.worker_memory import WorkerMemory, WorkerShape
from gaitd.system.access import AccessControl
from gaitd.system.config import Config
from gaitd.system.log import log
from gaitd.system.peers import raise_descriptor_limit
from gaitd.system.realtime import (
    apply_realtime,
    freeze_garbage,
    missing_settings,
    name_process,
    realtime_context,
)
from gaitd.system.runtime_dir import claim_runtime_dir
from gaitd.system.timer import periodic_timer
from gaitd.wire.control import Reply, Request
from gaitd.wire.generated import WORKER_REPLACING_REASONS, Mode, Reason

TICKS_PER_PERIOD = 4
"""The guardian looks this often in a control period, so its own tick adds a quarter period at most."""
REQUESTS_SHARE = 4
"""Requests get so much of a tick: a flood of them must not keep the guardian from it."""
MAX_UNDELIVERED = 2
"""Sessions in a row of which nothing may have reached the other side, until the worker is replaced."""
STOP_PERIODS = 4
"""How long damping is sent before the end."""
METRICS_WINDOW_S = 5.0
"""Of steps in the worker's memory without a flight recorder: telemetry looks ten times a second."""
PEERS_LOOK_NS = 1_000_000_000
"""At most one look in this time at which connections are gone."""


class Guardian:
    """The main process of one gaitd."""

    def __init__(
        self, bundle: Bundle, config: Config, backends: list[BackendName], worker: ChildProcess = WORKER
    ) -> None:
        """Claim the runtime directory and bind the sockets. Raises InputError.

        ``backends``: to try, in order (gaitd.backends.backends_to_try).
        """
        manifest = bundle.manifest
        self._bundle = bundle
        self._joints = manifest.joints
        self._config = config
        self._choice = BackendChoice(backends)
        self._degradation = Degradation()
        self._period_ns = manifest.period_ns
        self._limits = GuardLimits(
            round(self._period_ns * config.guard.deadline_periods),
            round(config.guard.first_command_s * 1e9),
            round(config.guard.stance_s * 1e9),
        )
        raise_descriptor_limit()
        self._lock_fd = claim_runtime_dir(Path(config.daemon.runtime_dir))
        self._guard = GuardMemory.create(len(manifest.joints))
        self._words = self._guard.words
        self._worker_memory = WorkerMemory.create(*_worker_shape(bundle, config))
        self._context = realtime_context(config.realtime, GUARDIAN.priority(config.realtime))
        self._channel = ControlChannel(
            self._context,
            AccessControl(self._context, config),
            self._period_ns,
            self._period_ns // TICKS_PER_PERIOD // REQUESTS_SHARE,
        )
        self._silence_ns = 0
        """For how long nothing has got through the guardian's own sockets."""
        # The upper bits differ from run to run, so that no session number ever comes again.
        self._sessions = Sessions(
            bundle, self._limits, secrets.randbits(40) << 20 | 1, self._status, time.monotonic_ns()
        )
        self._applied = GuardState()
        self._undelivered = 0
        self._standing = False
        """The last command to the controllers was the default stance."""
        self._broken_fd = os.eventfd(0, os.EFD_CLOEXEC)
        """Readable when the worker's lifeline broke."""
        lifeline_fd = create_lifeline()
        self._worker = WorkerProcess(
            Child(
                worker,
                *worker_launch(
                    bundle, backends, config, WORKER_SLOT, self._guard, self._worker_memory, lifeline_fd
                ),
            ),
            self._choice,
            self._worker_memory,
            map_lifeline(lifeline_fd),
            self._broken_fd,
            self._start,
        )
        self._telemetry = Child(
            TELEMETRY, *telemetry_launch(bundle, backends, config, self._guard, self._worker_memory)
        )
        self._poll = select.epoll()
        self._children = Children([self._worker.child, self._telemetry], self._poll)
        self._missing_realtime: dict[str, str] = {}
        self._fifo_priority: int | None = None
        self._service = ServiceManager()
        self._rate = announce.RateWatch(self._period_ns)
        self._next_publish_ns = 0
        self._looked_for_gone_ns = 0
        self._stopping = False

    def stop(self, *_: object) -> None:
        """End cleanly (a signal handler)."""
        self._stopping = True

    def run(self) -> None:
        """Guard until stopped. Raises what the worker failed with at its first start, or CrashLoopError."""
        config = self._config
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(signal.SIGHUP, self.stop)
        name_process(GUARDIAN.title)
        keep_events_of(self._guard.events)
        announce.log_start(self._bundle, self._choice.current)
        if config.daemon.rehearsal:
            announce.log_rehearsal()
        now_ns = time.monotonic_ns()
        self._start(self._worker.child, now_ns)
        if config.metrics.enabled or config.recorder.wanted:
            self._start(self._telemetry, now_ns)
        self._become_realtime()
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
                        self._note_death(time.monotonic_ns())
                    if fd == self._children.fd:
                        self._children.hear_news(time.monotonic_ns())
                self._wake(time.monotonic_ns())
        finally:
            self._shut_down()
            os.close(timer_fd)

    def _wake(self, now_ns: int) -> None:
        """One look at everything, deaths first."""
        self._look_after_worker(now_ns)
        requests, refused = self._channel.serve(self._answer)
        self._words["control_requests"] += requests
        self._words["control_refused"] += refused
        self._words["peers_disconnected"] = self._channel.disconnected
        self._silence_ns = self._channel.probe.silence_ns(now_ns)
        self._sessions.state = rules.tick(self._sessions.state, self._worker.view(), self._limits, now_ns)
        self._sessions.state = rules.unheard(self._sessions.state, self._silence_ns, self._limits, now_ns)
        self._apply(now_ns)
        # Only now: a guardian that was frozen judges its silence before the worker may publish again.
        self._renew_lease(now_ns)
        self._look_after_rate()
        self._children.restart_if_dead(self._telemetry, now_ns)
        self._watch_degradation(now_ns)
        self._feed_watchdog(now_ns)

    def _answer(self, peer: bytes, request: Request) -> Reply:
        """Answer, and make it true before the controller reads it."""
        now_ns = time.monotonic_ns()
        before = self._sessions.state
        if request.name == "status":
            self._forget_gone(now_ns)
        reply = self._sessions.answer(peer, request, now_ns)
        self._sessions.state = rules.explain(
            before, self._sessions.state, self._worker.view(), self._limits, now_ns
        )
        self._apply(now_ns)
        return reply

    def _forget_gone(self, now_ns: int) -> None:
        """Whoever asks for the status shall see who is there; a look costs each of them a message."""
        if now_ns - self._looked_for_gone_ns < PEERS_LOOK_NS:
            return
        self._looked_for_gone_ns = now_ns
        for peer in self._sessions.peers:
            if not self._channel.is_connected(peer):
                self._sessions.forget(peer)

    def _apply(self, now_ns: int) -> None:
        """Make the guardian's state true: the lease first, then the controllers, then people."""
        state, before = self._sessions.state, self._applied
        if state is not before:
            if state.mode is Mode.ACTIVE and state.epoch != before.epoch:
                self._guard.write_session(self._sessions.joint_order.setup)
            self._applied = state
            self._renew_lease(now_ns)
            self._words["mode"], self._words["reason"] = state.mode, state.reason
        changed = (state.mode, state.session) != (before.mode, before.session)
        standing = rules.stands(state, self._limits, now_ns)
        if changed or standing is not self._standing or now_ns >= self._next_publish_ns:
            self._next_publish_ns = now_ns + self._period_ns
            self._standing = standing
            if state.mode is not Mode.ACTIVE:
                self._channel.publish(state, self._sessions.joint_order, standing=standing, now_ns=now_ns)
        if changed:
            self._announce(state)

    def _renew_lease(self, now_ns: int) -> None:
        """In an ACTIVE session the worker may publish, for one deadline from when the guardian was heard."""
        state = self._applied
        active = state.mode is Mode.ACTIVE
        self._guard.lease = (
            lease.grant(state.epoch, WORKER_SLOT, now_ns - self._silence_ns + self._limits.deadline_ns)
            if active
            else lease.NOBODY
        )

    def _announce(self, state: GuardState) -> None:
        setup = self._sessions.joint_order.setup
        self._guard.events.write(announce.mode_event(state, self._joints, self._sessions.owner, setup))
        announce.log_mode(state, self._joints, self._sessions.owner, self._bundle.policy_id, WORKER_SLOT)
        self._say_status()
        if state.mode is Mode.DAMPING:
            self._words.row("damping_by_reason")[state.reason] += 1
            if state.reason in WORKER_REPLACING_REASONS:
                self._replace_worker(state.explanation(self._joints))
            self._count_undelivered(state)

    def _count_undelivered(self, state: GuardState) -> None:
        heard = self._silence_ns <= self._limits.deadline_ns
        self._undelivered = self._undelivered + 1 if heard and rules.ended_undelivered(state) else 0
        if self._undelivered == MAX_UNDELIVERED:
            self._undelivered = 0
            self._replace_worker(f"{MAX_UNDELIVERED} sessions in a row ended without a delivered command")

    def _replace_worker(self, why: str) -> None:
        self._worker.give_up(why)
        self._note_readiness()

    def _say_status(self) -> None:
        manifest = self._bundle.manifest
        starting = 0 if self._worker.ready else self._worker.child.starts
        running = f"policy {manifest.name} {manifest.version} on {self._choice.current}"
        if self._choice.fallback:
            running += f", on the CPU because {self._choice.fallback}"
        self._service.say_status(announce.status_line(self._sessions.state, self._joints, starting, running))

    def _note_readiness(self) -> None:
        self._sessions.worker_ready = self._worker.ready
        self._words["worker_ready"] = int(self._worker.ready)
        self._words["worker_pid"] = self._worker.child.pid

    def _look_after_worker(self, now_ns: int) -> None:
        worker, sessions = self._worker, self._sessions
        before, was_ever_ready = (worker.ready, worker.child.starts), worker.ever_ready
        how_it_died = worker.look(now_ns, self._fifo_priority)
        self._note_readiness()
        if how_it_died is not None:
            sessions.state = rules.worker_died(sessions.state, how_it_died, now_ns)
            self._apply(now_ns)
        if worker.ever_ready and not was_ever_ready:
            self._service.say_ready()
        if (worker.ready, worker.child.starts) != before or how_it_died:
            self._say_status()

    def _note_death(self, now_ns: int) -> None:
        """The worker's lifeline broke: damping first, everything else later."""
        if not self._worker.note_death():
            return
        self._note_readiness()
        self._sessions.state = rules.worker_died(self._sessions.state, "", now_ns)
        self._apply(now_ns)
        self._say_status()

    def _look_after_rate(self) -> None:
        state, words = self._applied, self._worker_memory.words
        if state.mode is Mode.ACTIVE and words["state_interval_epoch"] == state.epoch:
            self._rate.look(state.epoch, words["state_interval_ns"])

    def _watch_degradation(self, now_ns: int) -> None:
        counters = self._worker_memory.words
        if text := self._degradation.look(counters["steps"], counters["late_steps"], now_ns):
            announce.log_degradation(text)

    def _feed_watchdog(self, now_ns: int) -> None:
        """systemd's watchdog is fed by the hot loop's progress; a worker on its way back counts too."""
        self._service.repeat()
        heard = self._silence_ns <= self._limits.deadline_ns
        if heard and self._service.watchdog_is_due(now_ns) and self._worker.is_making_progress(now_ns):
            self._service.feed_watchdog(now_ns)

    def _start(self, child: Child, now_ns: int) -> None:
        self._words["backend"] = self._choice.index  # a worker reads it as soon as it runs
        self._children.start(child, now_ns)
        self._words["worker_starts"] = self._worker.child.starts

    def _become_realtime(self) -> None:
        config = self._config.realtime
        settings = apply_realtime(config, GUARDIAN.cpus(config), GUARDIAN.priority(config))
        self._missing_realtime = missing_settings(settings)
        announce.log_missing_realtime(GUARDIAN.name, self._missing_realtime)
        if any(setting.name == "sched_fifo" and setting.ok for setting in settings):
            self._fifo_priority = GUARDIAN.priority(config)

    def _status(self) -> dict[str, Any]:
        return {
            **describe(self._bundle, self._choice, self._worker, self._worker_memory.words),
            "guardian_pid": os.getpid(),
            "telemetry_pid": self._telemetry.pid,
            "missing_realtime": {
                GUARDIAN.name: self._missing_realtime,
                WORKER.name: self._worker.report.realtime,
            },
            "rehearsal": self._config.daemon.rehearsal,
            "refused_requests": self._words["control_refused"],
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
        self._children.end()
        if self._channel.probe.silence_ns(time.monotonic_ns()) <= self._limits.deadline_ns:
            self._context.destroy(linger=0)  # it waits for a thread that may be stuck
        log.info("stopped")
        os.close(self._lock_fd)


def _worker_shape(bundle: Bundle, config: Config) -> WorkerShape:
    """Room for what the flight recorder is to keep; without one, for what the metrics need."""
    manifest, recorder = bundle.manifest, config.recorder
    window_s = recorder.window_s if recorder.wanted else METRICS_WINDOW_S
    dim = bundle.pipeline().builder.dim if recorder.wanted else 0
    return WorkerShape.for_window(len(manifest.joints), dim, manifest.control_period_s, window_s)
