"""One session as another worker answers it: what that one would answer next is known here, too. No sockets.

It hears the same states and reads what the holder did with each from the holder's memory, so that history,
last action, slew reference and hidden state are those that the holder would have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from gaitd.policy.fade import Gains
from gaitd.policy.manifest import Float32Array
from gaitd.shared.guard_memory import SessionSetup
from gaitd.shared.memory import Words
from gaitd.shared.step_ring import StepRing
from gaitd.worker.inbox import STATE_QUEUE
from gaitd.worker.step import Frame, Heard, Outcome, PolicyStep, Staged

HEAD_START = 1 / 3
"""Of a control period: so long the holder has a state for itself. Its answer is then known soon after the
standby's, and the two do not compete for a core."""
LATE_HEAD_STARTS = 4
"""So many it has when it is late with the state before, and our model remembers: what it does not go through
together with the holder's cannot be made up for.
"""
MAX_GAP = 8
"""States: where more are missing, what came before is no history of what comes after."""
RECENT = 8
"""Steps in which the holder's first ones of a session are looked for, before more are."""
CATCH_UP = 8
"""States that are taken in one turn: who was stopped for long must still be seen to move."""


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
        period_ns: int,
        gains: Gains | None = None,
    ) -> None:
        """``records``: the holder's, ``gains`` its policy's where that is not ours. ``words``: our own.

        ``first_states``: after so many states the history is whole though the session was joined late; None:
        it never is. The records are read from the session's first one on: it may have been answered before
        we saw that there is a session.
        """
        self.step = step
        self._first_states = first_states
        self._records = records
        self._words = words
        self._period_ns = period_ns
        self._head_start_ns = round(HEAD_START * period_ns)
        self._gains = gains
        self._waiting: deque[Heard] = deque()
        self._refused: list[Outcome] = []
        """Of messages that are not of this session."""
        self._sent: deque[tuple[int, Float32Array, Float32Array]] = deque(maxlen=STATE_QUEUE)
        """What the holder sent and is not followed yet: sequence number, our action for it, target."""
        self._staged: Staged | None = None
        self._open: Outcome | None = None
        """Our answer to the newest state, which the holder is not known to have answered."""
        self._answered: Outcome | None = None
        """The same of the newest state, when the holder has sent its own answer."""
        self._unanswered: deque[tuple[int, int]] = deque(maxlen=STATE_QUEUE)
        """Number and time of arrival of states that we could answer and the holder is not known to have."""
        self._answered_seq = 0
        self._joined_seq = 0
        """The first state after the last gap, or of those that came to us; the holder may refuse it and all
        after it as such, until it is seen to answer one."""
        self._newest_seq = 0
        self._taken = 0
        self._whole = False
        """The history is that of the holder."""
        self._lacks_a_step = False
        """A command went out in whose step our hidden state has no part. That cannot be made up for."""
        words["unanswered_ns"] = 0
        self._index = self._before_first()

    @classmethod
    def of_holder(
        cls, step: PolicyStep, first_states: int | None, words: Words, period_ns: int, other: Other
    ) -> Follower:
        """``step`` was the session's until now: it knows all of it. ``other`` goes on."""
        follower = cls(step, first_states, other.steps, words, period_ns)
        follower._newest_seq, follower._whole = step.newest_seq, True
        follower._begin_with(other)
        return follower

    def follow_other(self, setup: SessionSetup, other: Other) -> list[Outcome]:
        """Another worker goes on with the session; the outcomes that are done with."""
        self._read_records(unsettled=True)
        if self._records.settled < self._index:  # it may yet have gone out, and nobody will tell
            self._lack_a_step()
        done, before = self._apply_sent(), self.step.setup.epoch
        self.step.watch(setup, other.gains)
        self._begin_with(other)
        if self._words["prepared_epoch"] == before:  # and still is: what is known of the session is the same
            self._words["prepared_epoch"] = setup.epoch
        return done

    def _begin_with(self, other: Other) -> None:
        self._records, self._gains = other.steps, other.gains
        self._index = self._before_first()

    def _before_first(self) -> int:
        """Index before the holder's first record of this epoch; of its last few where no older one counts."""
        records, reach, epoch = self._records, RECENT, self.step.setup.epoch
        while True:
            before = max(0, records.staged - reach)
            found, _ = records.read_since(before, unsettled=True)
            begins = before == 0 or len(found) == 0 or int(found[0]["epoch"]) != epoch
            if begins or not self.step.is_recurrent:
                return before
            if reach >= records.records:
                self._lack_a_step()
                return before
            reach *= 2

    @property
    def due_ns(self) -> int | None:
        """When the next waiting state is to be taken."""
        if not self._waiting:
            return None
        late = self._open is not None and self._open.command is not None
        head_starts = LATE_HEAD_STARTS if late and self.step.is_recurrent else 1
        return self._waiting[0].frame.received_ns + head_starts * self._head_start_ns

    def hear(self, frames: Sequence[Frame]) -> None:
        """Messages that came. Only the session's states wait."""
        for frame in frames:
            heard = self.step.hear(frame)
            if self.step.is_of_session(heard):
                self._waiting.append(heard)
            else:
                self._refused.append(self.step.step_heard([heard], frame.received_ns))

    def follow(self, now_ns: int, most: int = CATCH_UP) -> list[Outcome]:
        """Take the states that are due, so many ``most``, and what the holder has sent.

        Returns the outcomes that are done with.
        """
        self._read_records()
        done, self._refused = self._refused + self._apply_sent(), []
        while most and (due_ns := self.due_ns) is not None:
            if now_ns < due_ns and len(self._waiting) <= STATE_QUEUE:
                break
            most -= 1
            done += self._take(self._waiting.popleft(), now_ns)
        self._note_unanswered()
        return done

    def take_over(self, setup: SessionSetup, now_ns: int) -> tuple[list[Outcome], Outcome | None]:
        """The lease is ours: the outcomes that are done with, and what to publish at once, if anything."""
        self._head_start_ns = 0
        done = self.follow(now_ns, len(self._waiting))
        self._read_records(unsettled=True)
        done += self._apply_sent()
        for _, action, target in self._sent:  # to states that never came here
            done += self.end()
            self._open = self._answered = None
            self.step.follow(action, target)
        self.step.take_over(setup, self._staged)
        outcome = self._open
        if outcome is not None and outcome.command is not None:
            return done, self.step.answer_again(outcome)
        return done + self.end(), self._repeated(now_ns)

    def _repeated(self, now_ns: int) -> Outcome | None:
        """The holder's last command: it may have died with its sender, on the way to the controller.

        One that arrived makes this one a replay there. No older one: it would only look like an answer.
        """
        outcome = self._answered
        if outcome is None or outcome.frame is None or self._gains is not None:
            return None
        return self.step.repeat(outcome) if now_ns - outcome.frame.received_ns < self._period_ns else None

    def end(self) -> list[Outcome]:
        """The session is over for us."""
        return [self._open] if self._open is not None else []

    def _read_records(self, *, unsettled: bool = False) -> None:
        before = self._index
        records, self._index = self._records.read_since(before, unsettled=unsettled)
        if len(records) < self._index - before:  # overwritten before they were read
            self._lack_a_step()
        for record in records[records["epoch"] == self.step.setup.epoch]:
            if record["cause"]:
                continue  # rejected: no command of it can have gone out
            seq, target = int(record["seq"]), record["target"]
            if record["sent_ns"]:
                if len(self._sent) == STATE_QUEUE:
                    self._lack_a_step()
                ours = self._gains is None
                self._answered_seq = seq
                self._sent.append((seq, record["action"] if ours else self.step.action_of(target), target))
                self._staged = None
            else:
                self._staged = Staged(seq, target)
        while self._unanswered and self._unanswered[0][0] <= self._answered_seq:
            self._unanswered.popleft()

    def _apply_sent(self) -> list[Outcome]:
        done = []
        while self._sent and self._sent[0][0] <= self._newest_seq:
            seq, action, target = self._sent.popleft()
            outcome = self._open
            if outcome is not None and outcome.state is not None and outcome.state.seq == seq:
                if not self.step.commit_other(outcome, action, target):
                    self._lack_a_step()
                done.append(outcome)
                self._open, self._answered = None, outcome
            else:
                self.step.follow(action, target)
                self._lack_a_step()
        return done

    def _has_joined(self) -> bool:
        """We know as much of the session as one that was there from its beginning."""
        knows = self._first_states is not None and self._taken >= self._first_states
        return knows and self._answered_seq >= self._joined_seq

    def _lack_a_step(self) -> None:
        """Nobody knows what the model would have answered: no more than nothing, if it remembers."""
        if self.step.is_recurrent:
            self._lacks_a_step = True
            self._words["prepared_epoch"] = 0

    def _note_unanswered(self) -> None:
        self._words["unanswered_ns"] = self._unanswered[0][1] if self._unanswered else 0

    def _take(self, heard: Heard, now_ns: int) -> list[Outcome]:
        outcome = self.step.step_beside(heard, now_ns)
        state = outcome.state
        if state is None:
            return [outcome]
        done = self.end()
        self._open, self._answered = outcome, None
        if state.seq - self._newest_seq > MAX_GAP:
            self._taken, self._whole, self._joined_seq = 0, False, state.seq
            self._words["prepared_epoch"] = 0
        self._newest_seq = state.seq
        self._taken += 1
        self._whole = self._whole or state.seq == 1 or self._has_joined()
        if outcome.command is not None and self._whole:
            if state.seq > self._answered_seq:
                self._unanswered.append((state.seq, heard.frame.received_ns))
            self._note_unanswered()  # before anybody relies on the answer
            self._words["prepared_ns"] = heard.frame.received_ns
            self._words["prepared_epoch"] = 0 if self._lacks_a_step else self.step.setup.epoch
        return done + self._apply_sent()
