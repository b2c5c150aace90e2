"""From a step's outcome to the controller: stage the record, look at the lease, send, mark it sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from gaitd.policy.limits import LIMIT_NAMES
from gaitd.shared import lease
from gaitd.shared.events import Event, EventKind
from gaitd.shared.findings import Finding
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.step_ring import StepTimes
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.wire.causes import INFERENCE_FAILED, Cause
from gaitd.wire.codec import encode_command
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import JointCommand, RobotState
from gaitd.worker.model import TimedModel
from gaitd.worker.step import Frame, Outcome, PolicyStep


class Answerer:
    """Makes one step at a time and publishes its command while the lease permits; counts everything."""

    def __init__(
        self,
        guard: GuardMemory,
        memory: WorkerMemory,
        model: TimedModel,
        period_ns: int,
        send: Callable[[bytes], object],
    ) -> None:
        """``send`` publishes a command's bytes and never waits."""
        self._guard = guard
        self._memory = memory
        self._words = memory.words
        self._model = model
        self._period_ns = period_ns
        self._send = send
        self._no_body = np.zeros(13, np.float32)
        self._no_observation = np.zeros(memory.shape.observation_dim, np.float32)
        self._no_torque = np.zeros(memory.joint_count, np.float32)

    def answer(self, step: PolicyStep, frames: Sequence[Frame]) -> Frame | None:
        """Answer the newest state of ``frames``; returns its message when a command was sent."""
        now_ns = time.monotonic_ns()
        return self.publish(step, step.step(frames, now_ns), frames, now_ns)

    def take_over(self, step: PolicyStep, outcome: Outcome) -> None:
        """Publish what a standby had ready when the lease came."""
        assert outcome.frame is not None
        self.publish(step, outcome, [outcome.frame], time.monotonic_ns())

    def publish(
        self, step: PolicyStep, outcome: Outcome, frames: Sequence[Frame], step_ns: int
    ) -> Frame | None:
        """Publish what that step of ``frames`` came to; returns its state's message when a command was sent.

        ``step_ns``: when it began. The record is in memory before its command leaves; the messages are before
        the record is settled, so who reads settled records finds them there.
        """
        setup, command, sent = step.setup, outcome.command, False
        if command is not None:
            command.publish_stamp_ns = time.monotonic_ns()
            data = encode_command(command)
            self._compose(outcome, step_ns, setup.epoch)
            self._memory.steps.stage()
            sent = lease.permits(self._guard.lease, command.epoch, command.slot, time.monotonic_ns())
            if sent:
                self._send(data)
        sent_ns = time.monotonic_ns()
        self._memory.frames.add(frames, step_ns, setup.epoch)
        if command is None:
            if outcome.decision is not None:
                self._record_rejected(outcome, step_ns, setup.epoch)
        elif sent:
            self._note_sent(command, sent_ns)
            step.commit(outcome)
            self._words["fading"] = step.is_fading
        else:
            self._memory.steps.settle()
            self._words["withheld"] += 1
        findings = self.account(outcome, setup.epoch)
        if any(finding.cause.reason in INFERENCE_FAILED for finding in findings):
            self._words["errors_in_a_row"] += 1
        for finding in findings:
            self._note_event(finding, setup.session, outcome)
        return outcome.frame if sent else None

    def rehearse(self, step: PolicyStep, frame: Frame) -> None:
        """Go through an answer with an old message, so that code and data lie in caches.

        ``step`` is a step of the rehearsals' own, which commits no hidden state: no record, no command, no
        count comes of it. What fails here, the real step will find, count and say; not so what took too long.
        """
        outcome = step.step([frame], frame.received_ns)
        took_ns = self._model.end_ns - self._model.start_ns
        if outcome.observation is not None and took_ns > self._period_ns:
            self._note_long_rehearsal(step, took_ns)
        command = outcome.command
        if command is not None:
            encode_command(command)
            self._compose(outcome, frame.received_ns, step.setup.epoch)
            lease.permits(self._guard.lease, command.epoch, command.slot, time.monotonic_ns())
            step.commit(outcome)

    def _note_long_rehearsal(self, step: PolicyStep, took_ns: int) -> None:
        setup = step.setup
        self._memory.events.write(
            Event(
                at_ns=self._model.end_ns,
                kind=EventKind.REHEARSAL,
                session=setup.session,
                epoch=setup.epoch,
                code=took_ns // 1000,
            )
        )

    def _record_rejected(self, outcome: Outcome, step_ns: int, epoch: int) -> None:
        """An action of the wrong shape has no place in a record."""
        assert outcome.decision is not None
        if outcome.decision.model_action.shape == self._no_torque.shape:
            self._compose(outcome, step_ns, epoch)
            steps = self._memory.steps
            steps.stage()
            steps.settle()

    def _compose(self, outcome: Outcome, step_ns: int, epoch: int) -> None:
        state, decision, model = outcome.state, outcome.decision, self._model
        assert state is not None
        assert outcome.frame is not None
        assert decision is not None
        times = StepTimes(
            state.session,
            epoch,
            state.seq,
            state.stamp_ns,
            outcome.frame.received_ns,
            model.start_ns,
            model.end_ns,
            step_ns,
            0 if decision.cause is None else decision.cause.kind,
            *[decision.clamped.get(name, 0) for name in LIMIT_NAMES],
        )
        joints = state.joint_position, state.joint_velocity
        observation = outcome.observation
        if observation is None or observation.shape != self._no_observation.shape:
            observation = self._no_observation  # a memory that was made for none
        outputs = decision.action, decision.target, decision.model_action, observation
        if isinstance(state, RobotState):
            body = state.angular_velocity, state.orientation, state.linear_acceleration
            values = (*body, state.velocity_command, *joints, state.joint_torque, *outputs)
            self._memory.steps.compose(times, values)
        else:
            self._memory.steps.compose(times, (self._no_body, *joints, self._no_torque, *outputs))

    def _note_sent(self, command: JointCommand, sent_ns: int) -> None:
        words = self._words
        self._memory.steps.mark_sent(sent_ns)
        words["errors_in_a_row"] = 0
        words["last_command_epoch"] = command.epoch
        words["last_command_ns"] = sent_ns
        words["steps"] += 1
        words["late_steps"] += sent_ns - command.state_stamp_ns > self._period_ns

    def account(self, outcome: Outcome, epoch: int) -> list[Finding]:
        """Count what became of states and action; returns what the guardian may have to explain."""
        words = self._words
        findings: list[Finding] = []
        words["missed"] += outcome.missed
        words["state_interval_ns"] = outcome.interval_ns
        words["superseded"] += outcome.superseded
        if outcome.decision is not None:
            for name, count in outcome.decision.clamped.items():
                words.row("clamped")[LIMIT_NAMES.index(name)] += count
        for cause in outcome.refusals:
            words.row("refused")[cause.kind] += 1
            if cause.kind is not CauseKind.FOREIGN_SESSION:  # another peer's state explains no silence
                text = outcome.error if cause.kind is CauseKind.BACKEND_ERROR else ""
                finding = _now(cause, epoch, text)
                self._memory.refusal.write(finding)
                findings.append(finding)
        if outcome.trip is not None:
            self._memory.trip.write(_now(outcome.trip, epoch))
        if outcome.frame is not None:
            # Last: a state of which nobody knows yet that it was refused would make older refusals look past.
            words["last_state_ns"] = outcome.frame.received_ns
        return findings

    def _note_event(self, finding: Finding, session: int, outcome: Outcome) -> None:
        self._memory.events.write(
            Event(
                at_ns=finding.at_ns,
                kind=EventKind.REFUSAL,
                session=session,
                epoch=finding.epoch,
                seq=0 if outcome.state is None else outcome.state.seq,
                cause=finding.cause,
                text=finding.text,
            )
        )


def _now(cause: Cause, epoch: int, text: str = "") -> Finding:
    return Finding(time.monotonic_ns(), epoch, cause, text)
