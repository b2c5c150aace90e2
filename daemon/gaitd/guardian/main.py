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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaitd.backends import BackendName, has_onnxruntime
from gaitd.bundle import Bundle
from gaitd.guardian import announce, rules
from gaitd.guardian.channel import ControlChannel
from gaitd.guardian.child import Child
from gaitd.guardian.children import Children
from gaitd.guardian.degradation import Degradation
from gaitd.guardian.encoders import Encoders
from gaitd.guardian.event_log import keep_events_of
from gaitd.guardian.lanes import Lanes
from gaitd.guardian.launches import telemetry_launch
from gaitd.guardian.readiness import StandbyReadiness, why_alone
from gaitd.guardian.rules import GuardLimits, GuardState, WorkerView
from gaitd.guardian.sessions import Sessions
from gaitd.guardian.standby_choice import choose_standby
from gaitd.guardian.status import describe
from gaitd.guardian.stream_watch import StreamWatch, describe_streams
from gaitd.guardian.streams import StreamDesk
from gaitd.guardian.succession import Succession
from gaitd.guardian.systemd import ServiceManager
from gaitd.guardian.worker_process import WorkerProcess
from gaitd.guardian.workers import Plan, Workers, plan_workers
from gaitd.shared import lease
from gaitd.shared.frame_ring import message_bytes
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.processes import (
    GUARDIAN,
    POLICY_SLOTS,
    STANDBY,
    STANDBY_SLOT,
    TELEMETRY,
    WORKER,
    WORKER_SLOT,
    ChildProcess,
)
from gaitd.system.access import AccessControl
from gaitd.system.config import Config
from gaitd.system.log import log
from gaitd.system.memory import available_bytes
from gaitd.system.peers import raise_descriptor_limit
from gaitd.system.realtime import (
    apply_realtime,
    freeze_garbage,
    missing_settings,
    name_process,
    realtime_context,
)
from gaitd.system.runtime_dir import claim_runtime_dir
from gaitd.system.timer import periodic_timer, set_period
from gaitd.wire.control import Reply, Request
from gaitd.wire.generated import WORKER_REPLACING_REASONS, Mode, Reason

REQUESTS_SHARE = 8
"""Requests get so much of a tick: a flood of them must not keep the guardian from it."""
MAX_UNDELIVERED = 2
"""Sessions in a row of which nothing may have reached the other side, until the worker is replaced."""
STOP_PERIODS = 4
"""How long damping is sent before the end."""
LOOK_AROUND_NS = 20_000_000
"""What no joint waits for is looked at once in this time, and when a child or a change of mode has news: most
of what the guardian costs are ticks that find nothing new."""
PEERS_LOOK_NS = 1_000_000_000
"""At most one look in this time at which connections are gone."""


class Guardian:
    """The main process of one gaitd."""

    def __init__(
        self,
        bundle: Bundle,
        config: Config,
        backends: list[BackendName],
        worker: ChildProcess = WORKER,
        standby: ChildProcess = STANDBY,
        beside: Sequence[Bundle] = (),
    ) -> None:
        """Claim the runtime directory and bind the sockets. Raises InputError.

        ``backends``: to try, in order (gaitd.backends.backends_to_try). ``standby``: if the config wants it.
        ``beside``: further policies, to which a session may change (gaitd.bundle.together).
        """
        manifest = bundle.manifest
        self._bundle = bundle
        self._joints = manifest.joints
        self._config = config
        self._degradation = Degradation()
        self._period_ns = manifest.period_ns
        self._tick_ns = rules.tick_ns(GuardState(), self._period_ns, 0)
        self._limits = GuardLimits(
            round(self._period_ns * config.guard.deadline_periods),
            round(config.guard.first_command_s * 1e9),
            round(config.guard.stance_s * 1e9),
        )
        raise_descriptor_limit()
        self._lock_fd = claim_runtime_dir(Path(config.daemon.runtime_dir))
        self._guard = GuardMemory.create(len(manifest.joints))
        self._words = self._guard.words
        rows = {WORKER_SLOT: worker, STANDBY_SLOT: standby}
        self._standby_choice = choose_standby(
            config, bundle, backends, has_onnx=has_onnxruntime(), memory_bytes=available_bytes()
        )
        plans = plan_workers(bundle, beside, backends, rows, standby=self._standby_choice.on)
        self._lanes = self._open_lanes(plans) if config.daemon.transport == "shm" else None
        self._streams = self._open_streams(plans)
        self._stream_watch = StreamWatch()
        self._encoders = Encoders([bundle, *beside], self._streams, config.realtime)
        self._workers = Workers(plans, config, self._guard, self._start, self._lanes, self._streams)
        self._worker = self._workers.by_slot[WORKER_SLOT]
        self._choice = self._worker.choice
        self._context = realtime_context(config.realtime, GUARDIAN.priority(config.realtime))
        self._channel = ControlChannel(
            self._context,
            AccessControl(self._context, config),
            self._period_ns,
            self._tick_ns // REQUESTS_SHARE,
            self._lanes,
        )
        self._silence_ns = 0
        """For how long nothing has got through the guardian's own sockets."""
        # The upper bits differ from run to run, so that no session number ever comes again.
        self._sessions = Sessions(
            bundle,
            self._limits,
            secrets.randbits(40) << 20 | 1,
            self._status,
            time.monotonic_ns(),
            slots=list(plans),
            beside=beside,
            view=self._view,
            shared_memory=self._lanes is not None,
        )
        self._succession = Succession(
            self._sessions, self._workers, self._guard, self._limits, config.switch.blend_steps, self._apply
        )
        self._applied = GuardState()
        self._undelivered = 0
        self._standing = False
        """The last command to the controllers was the default stance."""
        workers = self._workers.all
        memories = {each.slot: each.memory for each in workers}
        streams = {slot: [each.name for each in self._workers.streams(slot)] for slot in memories}
        launch = telemetry_launch(
            bundle, backends, config, self._guard, memories, beside, streams, self._encoders.launch()
        )
        self._telemetry = Child(TELEMETRY, *launch)
        self._poll = select.epoll()
        hot = [each.child for each in workers]
        self._children = Children([*hot, self._telemetry, *self._encoders.children], self._poll)
        self._standby_readiness = StandbyReadiness(self._limits)
        self._last_worker = announce.LastWorker()
        self._missing_realtime: dict[str, str] = {}
        self._fifo_priority: int | None = None
        self._service = ServiceManager()
        self._rate = announce.RateWatch(self._period_ns)
        self._next_publish_ns = 0
        self._look_around_ns = 0
        """When to look at everything again."""
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
        announce.log_start(self._bundle, self._choice.current, self._standby_choice.text)
        if config.daemon.rehearsal:
            announce.log_rehearsal()
        now_ns = time.monotonic_ns()
        for worker in self._workers.all:
            self._start(worker.child, now_ns)
        if config.metrics.wanted or config.recorder.wanted:
            self._start(self._telemetry, now_ns)
        for encoder in self._encoders.children:
            self._start(encoder, now_ns)
        self._become_realtime()
        freeze_garbage()
        timer_fd = periodic_timer(self._tick_ns)
        self._poll.register(timer_fd, select.EPOLLIN)
        broken = {worker.broken_fd: worker for worker in self._workers.all}
        for fd in broken:
            self._poll.register(fd, select.EPOLLIN)
        try:
            while not self._stopping:
                for fd, _ in self._poll.poll():
                    if fd == timer_fd or fd in broken:
                        os.read(fd, 8)
                    if fd != timer_fd:
                        self._look_around_ns = 0
                    if fd in broken:
                        self._note_death(broken[fd], time.monotonic_ns())
                    if fd == self._children.fd:
                        self._children.hear_news(time.monotonic_ns())
                self._wake(time.monotonic_ns())
                self._set_pace(timer_fd, time.monotonic_ns())
        finally:
            self._shut_down()
            os.close(timer_fd)

    def _wake(self, now_ns: int) -> None:
        """One look at what decides about the joints; when it is time at everything, deaths first."""
        looks_around = now_ns >= self._look_around_ns
        if looks_around:
            self._look_around_ns = now_ns + LOOK_AROUND_NS
            self._look_after_workers(now_ns)
            self._let_in()
        # In every tick: what a message without end takes until it is cut off grows with the time between.
        self._channel.look_at_peers()
        self._words["peers_disconnected"] = self._channel.disconnected
        requests, refused = self._channel.serve(self._answer)
        if requests:
            self._words["control_requests"] += requests
            self._words["control_refused"] += refused
        self._silence_ns = self._channel.probe.silence_ns(now_ns)
        view = self._succession.holder.view()
        self._sessions.state = rules.tick(self._sessions.state, view, self._limits, now_ns)
        self._sessions.state = rules.unheard(self._sessions.state, self._silence_ns, self._limits, now_ns)
        self._apply(now_ns)
        if self._succession.look(now_ns):
            self._note_readiness()
            self._say_status()
        # Only now: a guardian that was frozen judges its silence before the worker may publish again.
        self._renew_lease(now_ns)
        if looks_around:
            self._look_after_rate()
            self._look_at_streams(now_ns)
            self._children.restart_if_dead(self._telemetry, now_ns)
            self._encoders.look(self._children, now_ns)
            self._watch_degradation(now_ns)
            self._feed_watchdog(now_ns)

    def _set_pace(self, timer_fd: int, now_ns: int) -> None:
        tick_ns = rules.tick_ns(self._sessions.state, self._period_ns, now_ns)
        if tick_ns != self._tick_ns:
            self._tick_ns = tick_ns
            set_period(timer_fd, tick_ns)

    def _let_in(self) -> None:
        """Whoever wants memory of ours, and may have it."""
        if self._lanes is not None:
            self._lanes.serve()
        if self._streams is not None:
            self._streams.serve()

    def _open_lanes(self, plans: Mapping[int, Plan]) -> Lanes:
        dim = max(plan.bundle.pipeline().builder.dim for plan in plans.values())
        directory = Path(self._config.daemon.runtime_dir)
        return Lanes(directory, message_bytes(len(self._joints), dim), list(plans), self._guard)

    def _open_streams(self, plans: Mapping[int, Plan]) -> StreamDesk | None:
        streams = {each.name: each for plan in plans.values() for each in plan.bundle.manifest.streams}
        return StreamDesk(Path(self._config.daemon.runtime_dir), list(streams.values())) if streams else None

    def _answer(self, peer: bytes, request: Request) -> Reply:
        """Answer, and make it true before the controller reads it."""
        now_ns = time.monotonic_ns()
        before, first = self._sessions.state, self._sessions.first
        if request.name == "status":
            self._forget_gone(now_ns)
        reply = self._sessions.answer(peer, request, now_ns)
        self._sessions.state = rules.explain(
            before, self._sessions.state, self._succession.holder.view(), self._limits, now_ns
        )
        self._apply(now_ns)
        state = self._sessions.state
        if self._sessions.first != first:
            title, asker = self._sessions.titles[self._sessions.first], self._sessions.name_of(peer)
            log.info("sessions begin with another policy", policy=title["name"], asked_by=asker or "a tool")
        if state.session == before.session != 0 and state.epoch != before.epoch:
            self._succession.note_switch(before)
            self._say_status()
        return reply

    def _view(self, slot: int) -> WorkerView | None:
        """What the worker there says of itself; None: it is not ready."""
        worker = self._workers.by_slot[slot]
        return worker.view() if worker.ready else None

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
            if (state.mode, state.epoch) != (before.mode, before.epoch):
                self._look_around_ns = 0  # people hear of what follows from it
            self._words["mode"], self._words["reason"] = state.mode, state.reason
            self._words["holder"] = state.slot
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
            lease.grant(state.epoch, state.slot, now_ns - self._silence_ns + self._limits.deadline_ns)
            if active
            else lease.NOBODY
        )

    def _announce(self, state: GuardState) -> None:
        setup = self._sessions.joint_order.setup
        self._guard.events.write(announce.mode_event(state, self._joints, self._sessions.owner, setup))
        sessions = self._sessions
        policy = sessions.title(state.slot) if state.session else sessions.titles[sessions.first]
        announce.log_mode(state, self._joints, sessions.owner, policy["id"], state.slot)
        if state.mode is Mode.ACTIVE and state.slot != WORKER_SLOT:
            self._succession.tell_policy(state)
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
        self._succession.holder.give_up(why)
        self._note_readiness()

    def _say_status(self) -> None:
        state, holder = self._sessions.state, self._succession.holder
        begins = self._workers.by_slot[POLICY_SLOTS[self._sessions.first]]
        worker = holder if state.session else begins
        title, choice = self._sessions.title(worker.slot), worker.choice
        running = f"policy {title['name']} {title['version']} on {choice.current}"
        if choice.fallback:
            running += f", on the CPU because {choice.fallback}"
        if state.moved_ns:
            running += f"; {announce.failed_over(state, self._worker.ready)}"
        if self._last_worker.why:
            running += f"; LAST WORKER: {self._last_worker.why}"
        needed = holder if state.mode is Mode.ACTIVE else begins
        starting = 0 if needed.ready else needed.child.starts
        self._service.say_status(announce.status_line(state, self._joints, starting, running))

    def _note_readiness(self) -> None:
        self._sessions.worker_ready = self._workers.by_slot[POLICY_SLOTS[self._sessions.first]].ready
        for worker in self._workers.all:
            ready = worker.ready and (worker.slot != STANDBY_SLOT or self._workers.standby_is_ready)
            self._words.row("worker_ready")[worker.slot] = int(ready)
            self._words.row("worker_pid")[worker.slot] = worker.child.pid

    def _look_after_workers(self, now_ns: int) -> None:
        walks, holder = self._sessions.state.mode is Mode.ACTIVE, self._succession.holder
        self._worker.may_fail = walks and holder is not self._worker
        for worker in self._workers.all:
            self._look_after_worker(worker, now_ns)
        if self._workers.standby is not None:
            self._look_at_standby(self._workers.standby, now_ns)
        self._note_readiness()

    def _look_at_standby(self, standby: WorkerProcess, now_ns: int) -> None:
        """What people read of it."""
        state, worker, ready = self._sessions.state, self._worker.view(), standby.ready
        self._workers.standby_is_ready = self._standby_readiness.look(
            state, worker, standby.view(), process_ready=ready, now_ns=now_ns
        )
        why = why_alone(state, ready=self._workers.standby_is_ready, process_ready=ready)
        self._words["last_worker"] = why != ""
        if self._last_worker.look(state, why):
            self._say_status()

    def _look_after_worker(self, worker: WorkerProcess, now_ns: int) -> None:
        before, was_ever_ready = (worker.ready, worker.child.starts), worker.ever_ready
        how_it_died = worker.look(now_ns, self._fifo_priority)
        if how_it_died is not None:
            self._succession.hear_of_death(worker, how_it_died, now_ns)
        if worker is self._worker and worker.ever_ready and not was_ever_ready:
            self._service.say_ready()
        if (worker.ready, worker.child.starts) != before or how_it_died:
            self._say_status()

    def _note_death(self, worker: WorkerProcess, now_ns: int) -> None:
        """A worker's lifeline broke: damping or the standby first, everything else later."""
        if not worker.note_death():
            return
        self._note_readiness()
        self._succession.hear_of_death(worker, "", now_ns)
        self._say_status()

    def _look_after_rate(self) -> None:
        state, words = self._applied, self._succession.holder.memory.words
        if state.mode is Mode.ACTIVE and words["state_interval_epoch"] == state.epoch:
            self._rate.look(state.epoch, words["state_interval_ns"])

    def _look_at_streams(self, now_ns: int) -> None:
        if self._streams is not None:
            holder = self._succession.holder
            streams = self._workers.streams(holder.slot)
            if streams and holder.ready:
                self._stream_watch.look(streams, holder.memory.words, now_ns)

    def _watch_degradation(self, now_ns: int) -> None:
        steps, late = (
            sum(worker.memory.words[name] for worker in self._workers.all) for name in ("steps", "late_steps")
        )
        if text := self._degradation.look(steps, late, now_ns):
            announce.log_degradation(text)

    def _feed_watchdog(self, now_ns: int) -> None:
        """systemd's watchdog is fed by the hot loop's progress; a worker on its way back counts too."""
        self._service.repeat()
        heard, holder = self._silence_ns <= self._limits.deadline_ns, self._succession.holder
        if heard and self._service.watchdog_is_due(now_ns) and holder.is_making_progress(now_ns):
            self._service.feed_watchdog(now_ns)

    def _start(self, child: Child, now_ns: int) -> None:
        for worker in self._workers.all:  # a worker reads it as soon as it runs
            self._words.row("backend")[worker.slot] = worker.choice.index
        self._children.start(child, now_ns)
        for worker in self._workers.all:
            self._words.row("worker_starts")[worker.slot] = worker.child.starts

    def _become_realtime(self) -> None:
        config = self._config.realtime
        settings = apply_realtime(config, GUARDIAN.cpus(config), GUARDIAN.priority(config))
        self._missing_realtime = missing_settings(settings)
        announce.log_missing_realtime(GUARDIAN.name, self._missing_realtime)
        if any(setting.name == "sched_fifo" and setting.ok for setting in settings):
            self._fifo_priority = GUARDIAN.priority(config)

    def _status(self) -> dict[str, Any]:
        recorder = self._config.recorder
        return {
            **describe(self._bundle, self._sessions, self._workers),
            "standby_choice": self._standby_choice.text,
            "last_worker": self._last_worker.why,
            "guardian_pid": os.getpid(),
            "telemetry_pid": self._telemetry.pid,
            "recordings": str(Path(recorder.directory).absolute()) if recorder.wanted else "",
            "missing_realtime": {
                GUARDIAN.name: self._missing_realtime,
                **{each.child.name: each.report.realtime for each in self._workers.all},
            },
            "streams": self._describe_streams(),
            "encoders": self._encoders.describe(self._streams),
            "rehearsal": self._config.daemon.rehearsal,
            "refused_requests": self._words["control_refused"],
        }

    def _describe_streams(self) -> list[dict[str, Any]]:
        if self._streams is None:
            return []
        holder = self._succession.holder
        streams = self._workers.streams(holder.slot)
        return describe_streams(streams, holder.memory.words, self._is_produced, time.monotonic_ns())

    def _is_produced(self, stream: str) -> bool:
        """Whether somebody is there who publishes it."""
        produced = self._streams is not None and self._streams.is_produced(stream)
        return produced or self._encoders.is_running(stream)

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
        if self._lanes is not None:
            self._lanes.close()
        if self._streams is not None:
            self._streams.close()
        if self._channel.probe.silence_ns(time.monotonic_ns()) <= self._limits.deadline_ns:
            self._context.destroy(linger=0)  # it waits for a thread that may be stuck
        log.info("stopped")
        os.close(self._lock_fd)
