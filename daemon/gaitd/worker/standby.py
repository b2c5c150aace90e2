"""A worker that follows the session of another one, and goes on with it when the lease comes.

It hears the same states and reads what the holder did with each from the holder's memory, so that history,
last action, slew reference and hidden state are those that the holder would have. Until the lease names it,
it sends nothing. A standby runs the holder's policy. Where there are several policies each one's worker
follows the others: what its last action is, is then what it would have asked for the same targets with.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gaitd.backends.base import Backend
from gaitd.bundle import Bundle
from gaitd.policy.fade import Gains
from gaitd.policy.manifest import Float32Array
from gaitd.shared import lease
from gaitd.shared.guard_memory import GuardMemory, SessionSetup
from gaitd.shared.memory import Words
from gaitd.shared.step_ring import StepRing
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.config import Config
from gaitd.worker.inbox import STATE_QUEUE
from gaitd.worker.loop import Worker
from gaitd.worker.step import Frame, Outcome, PolicyStep, Staged

HEAD_START = 1 / 3
"""Of a control period: so long the holder has a state for itself. Its answer is then known soon after the
standby's, and the two do not compete for a core."""
MAX_GAP = 8
"""States: where more are missing, what came before is no history of what comes after."""
RECENT = 8
"""Steps in which a worker that has just got the session is looked for its first ones."""


class Other(NamedTuple):
    """A worker that may hold the session."""

    steps: StepRing
    gains: Gains | None = None
    """Of its policy; None: it runs ours."""


class Follower:
    """One session as another worker answers it."""

    def __init__(
        self,
        step: PolicyStep,
        first_states: int | None,
        records: StepRing,
        words: Words,
        head_start_ns: int,
        gains: Gains | None = None,
    ) -> None:
        """``records``: the holder's, ``gains`` its policy's where that is not ours. ``words``: our own.

        ``first_states``: after so many states the history is whole though the session was joined late; None:
        it never is.
        """
        self.step = step
        self._first_states = first_states
        self._records = records
        self._words = words
        self._head_start_ns = head_start_ns
        self._index = records.staged
        self._gains = gains
        self._waiting: deque[Frame] = deque(maxlen=STATE_QUEUE)
        self._sent: deque[tuple[int, Float32Array, Float32Array]] = deque(maxlen=STATE_QUEUE)
        """What the holder sent and is not followed yet: sequence number, our action for it, target."""
        self._staged: Staged | None = None
        self._open: Outcome | None = None
        """Our answer to the newest state, which the holder is not known to have answered."""
        self._newest_seq = 0
        self._taken = 0
        self._whole = False
        """The history is that of the holder."""

    @classmethod
    def of_holder(
        cls, step: PolicyStep, first_states: int | None, words: Words, head_start_ns: int, other: Other
    ) -> Follower:
        """``step`` was the session's until now: it knows all of it. ``other`` goes on."""
        follower = cls(step, first_states, other.steps, words, head_start_ns)
        follower._newest_seq, follower._whole = step.newest_seq, True
        follower._begin_with(other)
        return follower

    def follow_other(self, setup: SessionSetup, other: Other) -> list[Outcome]:
        """Another worker goes on with the session; the outcomes that are done with."""
        self._read_records(unsettled=True)
        done = self._apply_sent()
        self.step.watch(setup, other.gains)
        self._begin_with(other)
        return done

    def _begin_with(self, other: Other) -> None:
        self._records, self._gains = other.steps, other.gains
        self._index = max(0, other.steps.staged - RECENT)
        self._staged = None

    @property
    def due_ns(self) -> int | None:
        """When the next waiting state is to be taken."""
        return self._waiting[0].received_ns + self._head_start_ns if self._waiting else None

    def hear(self, frames: Sequence[Frame]) -> None:
        """States that came."""
        self._waiting.extend(frames)

    def follow(self, now_ns: int) -> list[Outcome]:
        """Take every state that is due, and what the holder has sent; the outcomes that are done with."""
        self._read_records()
        done = self._apply_sent()
        while self._waiting and self._waiting[0].received_ns + self._head_start_ns <= now_ns:
            done += self._take(self._waiting.popleft(), now_ns)
        return done

    def take_over(self, setup: SessionSetup, now_ns: int) -> tuple[list[Outcome], Outcome | None]:
        """The lease is ours: the outcomes that are done with, and what to publish at once, if anything."""
        self._head_start_ns = 0
        done = self.follow(now_ns)
        self._read_records(unsettled=True)
        done += self._apply_sent()
        for _, action, target in self._sent:  # to states that never came here
            done += self.end()
            self._open = None
            self.step.follow(action, target)
        self.step.take_over(setup, self._staged)
        outcome = self._open
        if outcome is None or outcome.command is None:
            return done + self.end(), None
        return done, self.step.answer_again(outcome)

    def end(self) -> list[Outcome]:
        """The session is over for us."""
        return [self._open] if self._open is not None else []

    def _read_records(self, *, unsettled: bool = False) -> None:
        records, self._index = self._records.read_since(self._index, unsettled=unsettled)
        for record in records[records["epoch"] == self.step.setup.epoch]:
            if record["cause"]:
                continue  # rejected: no command of it can have gone out
            seq, target = int(record["seq"]), record["target"]
            if record["sent_ns"]:
                ours = self._gains is None
                self._sent.append((seq, record["action"] if ours else self.step.action_of(target), target))
                self._staged = None
            else:
                self._staged = Staged(seq, target)

    def _apply_sent(self) -> list[Outcome]:
        done = []
        while self._sent and self._sent[0][0] <= self._newest_seq:
            seq, action, target = self._sent.popleft()
            outcome = self._open
            if outcome is not None and outcome.state is not None and outcome.state.seq == seq:
                self.step.commit_other(outcome, action, target)
                done.append(outcome)
                self._open = None
            else:
                self.step.follow(action, target)
        return done

    def _take(self, frame: Frame, now_ns: int) -> list[Outcome]:
        outcome = self.step.step([frame], now_ns)
        state = outcome.state
        if state is None:
            return [outcome]
        done = self.end()
        self._open = outcome
        if self._newest_seq and state.seq - self._newest_seq > MAX_GAP:
            self._taken, self._whole = 0, False
        self._newest_seq = state.seq
        self._taken += 1
        self._whole = self._whole or state.seq == 1 or self._taken == self._first_states
        if outcome.command is not None and self._whole:
            self._words["prepared_ns"] = frame.received_ns
            self._words["prepared_epoch"] = self.step.setup.epoch
        return done + self._apply_sent()


class StandbyWorker(Worker):
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
        *,
        others: Mapping[int, Other],
        wake_fd: int,
    ) -> None:
        """``others``: by slot. ``wake_fd``: an eventfd, readable when the lease has come."""
        super().__init__(bundle, backend, slot, guard, memory, config, policy)
        self._others = others
        self._head_start_ns = round(HEAD_START * bundle.manifest.period_ns)
        self._wake_fd = wake_fd
        self._period_ns = bundle.manifest.period_ns
        self._follower: Follower | None = None
        builder = bundle.pipeline().builder
        remembers = bool(bundle.manifest.model.recurrent) or builder.has_clock
        self._first_states = None if remembers else builder.depth + 1
        """The first of them lacks the last action."""
        self._words["prepared_epoch"] = 0

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
            self._follower = Follower.of_holder(
                step, self._first_states, self._words, self._head_start_ns, other
            )
        elif follower is not None:
            self._follower = None
            self._take_over(follower, setup)
        else:  # it is ours again before we saw that it was not: nobody else has answered
            step.setup = setup
            self._words["state_interval_epoch"] = setup.epoch

    def _follow_from_now(self, word: int) -> None:
        setup = self._named_by(word)
        if setup is None or setup.slot == self._slot:
            return
        self._model.reset()
        step, other = self._make_step(setup, self._model.commit), self._others[setup.slot]
        step.watch(setup, other.gains)
        self._follower = Follower(
            step, self._first_states, other.steps, self._words, self._head_start_ns, other.gains
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
