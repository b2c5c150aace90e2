"""A worker that follows the session of another one, and goes on with it when the lease comes.

Until the lease names it, it sends nothing. A standby runs the holder's policy. Where there are several
policies each one's worker follows the others: what its last action is, is then what it would have asked for
the same targets with.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping

from gaitd.backends.base import Backend
from gaitd.bundle import Bundle
from gaitd.shared import lease
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Config
from gaitd.worker.follower import Follower, Other
from gaitd.worker.lanes import Lanes
from gaitd.worker.loop import Worker
from gaitd.worker.step import Frame, Outcome, PolicyStep, Staged
from gaitd.worker.streams import Streams


class FollowingWorker(Worker):
    """A worker that follows whichever other one has the session."""

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
        *,
        others: Mapping[int, Other],
        wake_fd: int,
    ) -> None:
        """``others``: by slot. ``wake_fd``: an eventfd, readable when the lease has come."""
        super().__init__(bundle, backend, slot, guard, memory, config, policy, lanes, streams)
        self._others = others
        self._wake_fd = wake_fd
        self._period_ns = bundle.manifest.period_ns
        self._follower: Follower | None = None
        builder = bundle.pipeline().builder
        remembers = bundle.manifest.remembers or builder.has_clock
        self._first_states = None if remembers else builder.depth + 1
        """The first of them lacks the last action."""
        self._words["prepared_epoch"] = self._words["unanswered_ns"] = 0

    def _receive(self) -> list[Frame]:
        if self._follower is None:
            return super()._receive()
        due_ns = self._follower.due_ns or time.monotonic_ns() + self._period_ns
        return self._inbox.receive_until(due_ns, self._wake_fd)

    def _follow_lease(self) -> None:
        follower, word = self._follower, self._guard.lease
        step = self._step if follower is None else follower.step
        if step is not None:
            before = step.setup
            if lease.is_of(word, before.epoch, before.slot):
                return
            setup = self._named_by(word)
            if setup is not None and setup.session == before.session:
                self._go_on(step, follower, setup)
                return
            if follower is not None:
                self._follower = None
                self._count(follower.end(), before.epoch)
        super()._follow_lease()
        if self._step is None and word != lease.NOBODY:
            self._follow_from_now(word)

    def _named_by(self, word: int) -> SessionSetup | None:
        """The session that the lease names."""
        setup = self._guard.read_session()
        named = setup is not None and lease.is_of(word, setup.epoch, setup.slot)
        return setup if named else None

    def _go_on(self, step: PolicyStep, follower: Follower | None, setup: SessionSetup) -> None:
        """The lease has moved within the session that we answer or follow."""
        if setup.slot != self._slot:
            other = self._others[setup.slot]
            if follower is not None:
                epoch = step.setup.epoch
                self._count(follower.follow_other(setup, other), epoch)
                return
            self._step = self._rehearsal = None
            self._inbox.forget()
            step.watch(setup, other.gains)
            self._follower = Follower.of_holder(step, self._first_states, self._words, self._period_ns, other)
        elif follower is not None:
            self._follower = None
            self._take_over(follower, setup)
        else:  # it is ours again before we saw that it was not
            step.take_back(setup, self._staged_between(step.setup.epoch, setup.epoch))
            self._words["state_interval_epoch"] = setup.epoch

    def _staged_between(self, before: int, epoch: int) -> Staged | None:
        """What another worker staged when it had the session, unseen by us: it may have gone out."""
        for other in self._others.values():
            for record in other.steps.read_since(other.steps.staged - 1, unsettled=True)[0]:
                if before < record["epoch"] < epoch and not record["cause"]:
                    return Staged(int(record["seq"]), record["target"])
        return None

    def _follow_from_now(self, word: int) -> None:
        setup = self._named_by(word)
        if setup is None or setup.slot == self._slot:
            return
        self._model.reset()
        step, other = self._make_step(setup, self._model.commit), self._others[setup.slot]
        step.watch(setup, other.gains)
        self._follower = Follower(
            step, self._first_states, other.steps, self._words, self._period_ns, other.gains
        )

    def _take_over(self, follower: Follower, setup: SessionSetup) -> None:
        epoch = follower.step.setup.epoch
        done, outcome = follower.take_over(setup, time.monotonic_ns())
        self._step = follower.step
        self._words["state_interval_epoch"] = setup.epoch
        if outcome is not None:
            self._answerer.take_over(follower.step, outcome)
        self._rehearsal = self._make_rehearsal(setup)
        self._count(done, epoch)

    def _handle(self, frames: list[Frame]) -> None:
        follower = self._follower
        if follower is None:
            super()._handle(frames)
            return
        self._memory.frames.add(frames, 0, 0)
        follower.hear(frames)
        self._count(follower.follow(time.monotonic_ns()), follower.step.setup.epoch)
        gc.collect(0)

    def _count(self, outcomes: list[Outcome], epoch: int) -> None:
        for outcome in outcomes:
            self._answerer.account(outcome, epoch)
            self._words["followed"] += outcome.command is not None
