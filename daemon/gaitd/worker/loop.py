"""The worker's loop: receive, step, stage the record, look at the lease, send, mark it sent.

It writes what it does into its own memory and publishes commands; it decides nothing about modes.
"""

from __future__ import annotations

import gc
import time

import numpy as np
import zmq

from gaitd.backends.base import Backend
from gaitd.bundle import Bundle
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.contract import Float32Array
from gaitd.policy.limits import LIMIT_NAMES
from gaitd.shared import lease
from gaitd.shared.findings import Finding
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.step_ring import StepTimes
from gaitd.shared.worker_memory import WorkerMemory
from gaitd.system.access import AccessControl
from gaitd.system.config import Config
from gaitd.system.realtime import may_use_fifo, realtime_context
from gaitd.wire.causes import Cause
from gaitd.wire.codec import decode_either, encode_command
from gaitd.wire.contract import MAX_MESSAGE_BYTES, CauseKind
from gaitd.wire.frame import WireError
from gaitd.wire.messages import JointCommand, RobotState
from gaitd.worker.inbox import STATE_QUEUE, Inbox
from gaitd.worker.step import Frame, Outcome, PolicyStep


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
    ) -> None:
        """Bind the endpoints: from here on, controllers reach this worker. Raises InputError."""
        self._bundle = bundle
        self._backend = backend
        self._slot = slot
        self._guard = guard
        self._memory = memory
        self._words = memory.words
        self._observation_dim = bundle.pipeline().builder.dim
        self._period_ns = period_ns = round(bundle.manifest.control_period_s * 1e9)
        self._limits = AdmissionLimits(max_age_ns=round(period_ns * config.guard.state_max_age_periods))
        joints = len(bundle.manifest.joints)
        self._no_sensors = (np.zeros(13, np.float32), np.zeros(joints, np.float32))
        self._infer_start_ns = self._infer_end_ns = 0
        self._keep_warm_ns = round(config.daemon.keep_warm_s * 1e9)
        self._warmed_ns = time.monotonic_ns()
        self._step: PolicyStep | None = None
        self._stopping = False
        realtime = config.realtime
        self._context = realtime_context(realtime, realtime.worker_priority)
        self._access = AccessControl(self._context, config)
        anticipates = realtime.enabled and may_use_fifo()
        anticipate_ns = min(round(realtime.anticipate_ms * 1e6), period_ns // 4) if anticipates else 0
        self._inbox = Inbox(self._socket(zmq.SUB, "state"), period_ns, anticipate_ns, self._rehearse)
        self._commands = self._socket(zmq.PUB, "command")
        memory.steps.settle()  # what a worker before this one left open stays as it is
        self._words["busy_since_ns"] = 0
        self._words["heartbeat_ns"] = time.monotonic_ns()

    def stop(self, *_: object) -> None:
        """End after the step under way (a signal handler)."""
        self._stopping = True

    def run(self) -> None:
        """Answer states until stopped."""
        while not self._stopping:
            self._access.admit()
            frames = self._inbox.receive()
            self._words["heartbeat_ns"] = time.monotonic_ns()
            self._follow_lease()
            self._words["received"] += len(frames)
            if self._step is None:
                self._count_standby(frames)
                self._keep_warm()
                continue
            if frames:
                self._answer(self._step, frames)
            self._words["heartbeat_ns"] = time.monotonic_ns()

    def close(self) -> None:
        """Free sockets and model."""
        self._context.destroy(linger=0)
        self._backend.close()

    def _answer(self, step: PolicyStep, frames: list[Frame]) -> None:
        outcome = step.step(frames, time.monotonic_ns())
        command = outcome.command
        if command is not None:
            self._stage(outcome, command)
            now_ns = time.monotonic_ns()
            if lease.permits(self._guard.lease, command.epoch, command.slot, now_ns):
                command.publish_stamp_ns = now_ns
                self._commands.send(encode_command(command), zmq.DONTWAIT)
                self._sent(step, outcome, command)
                self._inbox.expect_after(frames[0], self._infer_end_ns - self._infer_start_ns)
            else:
                self._memory.steps.settle()
                self._words["withheld"] += 1
        self._account(outcome, step.setup.epoch)
        if command is not None:
            gc.collect(0)  # automatic collection is off; here there is slack

    def _stage(self, outcome: Outcome, command: JointCommand) -> None:
        """The record is there before its command can leave."""
        state, decision = outcome.state, outcome.decision
        assert state is not None
        assert decision is not None
        times = StepTimes(
            command.session,
            command.epoch,
            command.seq,
            command.state_stamp_ns,
            outcome.received_ns,
            self._infer_start_ns,
            self._infer_end_ns,
        )
        joints = state.joint_position, state.joint_velocity
        outputs = decision.action, decision.target
        if isinstance(state, RobotState):
            base = state.angular_velocity, state.orientation, state.linear_acceleration, state.velocity_command
            self._memory.steps.stage(times, (*base, *joints, state.joint_torque, *outputs))
        else:
            base_zeros, joint_zeros = self._no_sensors
            self._memory.steps.stage(times, (base_zeros, *joints, joint_zeros, *outputs))

    def _sent(self, step: PolicyStep, outcome: Outcome, command: JointCommand) -> None:
        sent_ns = time.monotonic_ns()
        self._memory.steps.mark_sent(sent_ns)
        words = self._words
        words["last_command_epoch"] = command.epoch
        words["last_command_ns"] = sent_ns
        words["steps"] += 1
        words["late_steps"] += sent_ns - command.state_stamp_ns > self._period_ns
        step.confirm(outcome)

    def _account(self, outcome: Outcome, epoch: int) -> None:
        words = self._words
        if outcome.last_admitted_ns:
            words["last_state_ns"] = outcome.last_admitted_ns
        words["missed"] += outcome.missed
        words["superseded"] += outcome.superseded
        if outcome.decision is not None:
            for name, count in outcome.decision.clamped.items():
                words.row("clamped")[LIMIT_NAMES.index(name)] += count
        for cause in outcome.refusals:
            words.row("refused")[cause.kind] += 1
            if cause.kind is not CauseKind.FOREIGN_SESSION:  # another peer's state explains no silence
                self._memory.refusal.write(self._finding(cause, epoch, outcome.error))
        if outcome.trip is not None:
            self._memory.trip.write(self._finding(outcome.trip, epoch))

    def _finding(self, cause: Cause, epoch: int, error: str = "") -> Finding:
        text = error if cause.kind is CauseKind.BACKEND_ERROR else ""
        return Finding(time.monotonic_ns(), epoch, cause, text)

    def _infer(self, observation: Float32Array) -> Float32Array:
        """Run the model, and let the guardian see that it runs."""
        words = self._words
        words["busy_since_ns"] = self._infer_start_ns = time.monotonic_ns()
        try:
            return self._backend.infer(observation)
        finally:
            self._infer_end_ns = time.monotonic_ns()
            words["busy_since_ns"] = 0

    def _follow_lease(self) -> None:
        """Take up the session whose epoch the lease names, if any."""
        word, step = self._guard.lease, self._step
        if step is not None and lease.is_of(word, step.setup.epoch, step.setup.slot):
            return
        if step is None and word == lease.NOBODY:
            return
        self._step = None
        self._inbox.forget()
        setup = self._guard.read_session()
        if setup is not None and setup.slot == self._slot and lease.is_of(word, setup.epoch, setup.slot):
            self._backend.reset()
            self._step = PolicyStep(self._bundle, setup, self._limits, self._infer, self._backend.accept)

    def _rehearse(self, frame: Frame) -> None:
        if self._step is not None:
            self._step.rehearse(frame)

    def _count_standby(self, frames: list[Frame]) -> None:
        """States before activate are looked at, counted and not used."""
        for frame in frames:
            try:
                session = decode_either(frame.data, self._observation_dim, self._memory.joint_count).session
            except WireError:
                self._words.row("refused")[CauseKind.MALFORMED] += 1
                continue
            if session == 0:
                self._words["standby"] += 1
            else:
                self._words.row("refused")[CauseKind.FOREIGN_SESSION] += 1

    def _keep_warm(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self._warmed_ns >= self._keep_warm_ns:
            self._warmed_ns = now_ns
            self._infer(np.zeros(self._observation_dim, np.float32))

    def _socket(self, kind: int, channel: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.set(zmq.RCVHWM, STATE_QUEUE)
        self._access.open(socket, channel)
        return socket
