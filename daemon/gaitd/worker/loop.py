"""The worker's loop: receive states, follow the lease, answer.

It writes what it does into its own memory and publishes commands; it decides nothing about modes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import zmq

from gaitd.backends.base import Backend
from gaitd.bundle import Bundle
from gaitd.errors import printable
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.stream import Frames
from gaitd.shared import lease
from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.processes import WORKERS
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.access import AccessControl
from gaitd.system.config import Config
from gaitd.system.peers import MAX_SUBSCRIBER_BYTES, MAX_SUBSCRIPTIONS, CommandPublisher, PeerLimits
from gaitd.system.realtime import may_use_fifo, realtime_context
from gaitd.wire.codec import decode_either
from gaitd.wire.endpoints import slot_channels
from gaitd.wire.frame import WireError
from gaitd.wire.generated import MAX_MESSAGE_BYTES, CauseKind
from gaitd.worker.answer import Answerer
from gaitd.worker.inbox import STATE_QUEUE, Inbox
from gaitd.worker.lanes import Lanes
from gaitd.worker.model import TimedModel
from gaitd.worker.step import Frame, PolicyStep
from gaitd.worker.streams import Streams

MAX_GROWTH_BYTES = 32 << 20
"""Of this process's memory, before all peers are disconnected."""


class Worker:
    """Sockets and memory around the steps of one session after another."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        slot: int,
        guard: GuardMemory,
        memory: WorkerMemory,
        config: Config,
        policy: int = 0,
        lanes: Lanes | None = None,
        streams: Streams | None = None,
    ) -> None:
        """Bind the endpoints: from here on, controllers reach this worker. Raises InputError.

        ``policy``: the index of the bundle's among those of this gaitd. ``lanes``: shared memory beside them.
        ``streams``: the policy's, where it has some.
        """
        realtime = config.realtime
        period_ns = bundle.manifest.period_ns
        self._bundle = bundle
        self._backend = backend
        self._slot = slot
        self._policy = policy
        self._blend_steps = config.switch.blend_steps
        self._guard = guard
        self._memory = memory
        self._words = memory.words
        self._joint_count = memory.joint_count
        self._observation_dim = bundle.pipeline().builder.dim
        self._input_sizes = bundle.manifest.input_sizes
        self._streams = streams
        self._limits = AdmissionLimits(max_age_ns=round(period_ns * config.guard.state_max_age_periods))
        self._keep_warm_ns = round(config.daemon.keep_warm_s * 1e9)
        self._warmed_ns = time.monotonic_ns()
        self._step: PolicyStep | None = None
        self._rehearsal: PolicyStep | None = None
        """The session's step again, for rehearsals."""
        self._stopping = False
        self._context = realtime_context(realtime, WORKERS[slot].priority(realtime))
        self._access = AccessControl(self._context, config)
        anticipates = realtime.enabled and may_use_fifo()
        anticipate_ns = min(round(realtime.anticipate_ms * 1e6), period_ns // 4) if anticipates else 0
        state_channel, command_channel = slot_channels(slot)
        states = self._access.open(zmq.SUB, state_channel, STATE_QUEUE, MAX_MESSAGE_BYTES)
        self._inbox = Inbox(states, period_ns, anticipate_ns, self._rehearse, lanes)
        commands = self._access.open(zmq.XPUB, command_channel, MAX_SUBSCRIPTIONS, MAX_SUBSCRIBER_BYTES)
        bound = self._access.bound
        limits = PeerLimits(bound, MAX_GROWTH_BYTES)
        self._commands = CommandPublisher(commands, bound[command_channel], limits)
        self._model = TimedModel(backend, self._words)
        send = self._commands.send if lanes is None else _both(lanes.send, self._commands.send)
        self._answerer = Answerer(guard, memory, self._model, period_ns, send)
        memory.steps.settle()  # what a worker before this one left open stays as it is
        self._words["busy_since_ns"] = self._words["errors_in_a_row"] = 0
        self._words["heartbeat_ns"] = time.monotonic_ns()

    def stop(self, *_: object) -> None:
        """End after the step under way (a signal handler)."""
        self._stopping = True

    def run(self) -> None:
        """Answer states until stopped."""
        while not self._stopping:
            self.turn()

    def turn(self) -> None:
        """Wait for states, a control period at most, and see to those that came."""
        self._access.admit()
        frames = self._receive()
        self._words["heartbeat_ns"] = time.monotonic_ns()
        if self._streams is not None:
            self._streams.look(time.monotonic_ns())
        self._follow_lease()
        self._words["received"] += len(frames)
        self._handle(frames)
        self._words["peers_disconnected"] += self._commands.look_at_peers() != ""
        self._words["heartbeat_ns"] = time.monotonic_ns()

    def note_error(self, error: Exception) -> None:
        """This ends the process: the recording shall say so."""
        text = f"{type(error).__name__}: {printable(str(error))}"
        self._memory.events.write(Event(at_ns=time.monotonic_ns(), kind=EventKind.ERROR, text=text))

    def close(self) -> None:
        """Free sockets and model."""
        self._context.destroy(linger=0)
        self._backend.close()

    def _receive(self) -> list[Frame]:
        return self._inbox.receive()

    def _handle(self, frames: list[Frame]) -> None:
        if self._step is None:
            self._count_standby(frames)
            self._keep_warm()
        elif frames:
            began_ns = time.monotonic_ns()
            answered = self._answerer.answer(self._step, frames)
            if answered is not None:
                self._inbox.expect_after(answered, time.monotonic_ns() - began_ns)
            gc.collect(0)  # automatic collection is off; here there is slack

    def _follow_lease(self) -> None:
        """Take up the session whose epoch the lease names, if any."""
        word, step = self._guard.lease, self._step
        if step is not None and lease.is_of(word, step.setup.epoch, step.setup.slot):
            return
        if step is None and word == lease.NOBODY:
            return
        self._step = self._rehearsal = None
        self._inbox.forget()
        setup = self._guard.read_session()
        if setup is not None and setup.slot == self._slot and lease.is_of(word, setup.epoch, setup.slot):
            self._model.reset()
            self._words["state_interval_ns"] = 0
            self._words["state_interval_epoch"] = setup.epoch
            self._step = self._make_step(setup, self._model.commit)
            self._rehearsal = self._make_rehearsal(setup)

    def _make_rehearsal(self, setup: SessionSetup) -> PolicyStep:
        return self._make_step(setup, _commit_nothing)

    def _make_step(self, setup: SessionSetup, commit_state: Callable[[], None]) -> PolicyStep:
        return PolicyStep(
            self._bundle,
            setup,
            self._limits,
            self._model.infer,
            commit_state,
            self._policy,
            self._blend_steps,
            self._newest_frames,
        )

    def _newest_frames(self) -> Frames:
        return () if self._streams is None else self._streams.frames

    def _rehearse(self, frame: Frame) -> None:
        self._follow_lease()
        if self._rehearsal is not None:
            self._answerer.rehearse(self._rehearsal, frame)

    def _count_standby(self, frames: Sequence[Frame]) -> None:
        """States before activate, and after the end of a session, are looked at, counted and not used."""
        self._memory.frames.add(frames, 0, 0)
        for frame in frames:
            try:
                session = decode_either(
                    frame.data, self._observation_dim, self._joint_count, self._input_sizes
                ).session
            except WireError:
                self._words.row("refused")[CauseKind.MALFORMED] += 1
                continue
            if session == 0:
                self._words["standby"] += 1
            elif self._is_anothers(session):
                self._words["followed"] += 1
            else:
                self._words.row("refused")[CauseKind.FOREIGN_SESSION] += 1

    def _is_anothers(self, session: int) -> bool:
        """Another worker answers that session."""
        setup = self._guard.read_session()
        return (
            setup is not None
            and setup.session == session
            and setup.slot != self._slot
            and lease.is_of(self._guard.lease, setup.epoch, setup.slot)
        )

    def _keep_warm(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self._warmed_ns >= self._keep_warm_ns:
            self._warmed_ns = now_ns
            self._model.infer(np.zeros(self._observation_dim, np.float32))


def _both(first: Callable[[bytes], None], second: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        first(data)
        second(data)

    return send


def _commit_nothing() -> None:
    """The hidden state stays that of the last command."""
