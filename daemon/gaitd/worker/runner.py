"""One session in the worker: from a state message's bytes to a joint command's bytes.

The rooms, in order: decode, joint order, admission, observation, inference, guard, joint order, encode. A
session has a runner of its own, so nothing of an old session can reach a new one.
"""

from __future__ import annotations

import time

import numpy as np

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle
from gaitd.errors import BackendError
from gaitd.policy.admission import REFUSAL_REASONS, AdmissionLimits, Refusal, StateAdmission
from gaitd.policy.limits import LIMIT_NAMES, Decision
from gaitd.shared.blackboard import Blackboard, SessionSetup
from gaitd.wire.causes import NO_CAUSE
from gaitd.wire.codec import decode_raw_observation, decode_state, encode_command
from gaitd.wire.contract import Mode, Reason
from gaitd.wire.frame import WireError
from gaitd.wire.messages import JointCommand, RawObservation, RobotState


class RehearsalBackend:
    """A backend whose rehearsed inferences leave no trace: the hidden state stays the played one's."""

    def __init__(self, backend: Backend) -> None:
        self.infer = backend.infer
        self.versions = backend.versions

    def accept(self) -> None:
        """Nothing is adopted."""

    def reset(self) -> None:
        """Nothing is reset."""

    def close(self) -> None:
        """The backend belongs to another."""


class SessionRunner:
    """Answers the states of one session; counts everything on the blackboard."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        board: Blackboard,
        setup: SessionSetup,
        limits: AdmissionLimits,
        deadline_ns: int,
    ) -> None:
        manifest = bundle.manifest
        self.session = setup.session
        self._backend = backend
        self._board = board
        self._words = board.worker
        self._pipeline = bundle.pipeline()
        self._admission = StateAdmission(manifest, limits)
        self._admission.start(setup.session)
        self._raw = setup.raw
        self._to_policy = setup.policy_from_controller
        self._to_controller = np.argsort(setup.policy_from_controller)
        self._period_ns = round(manifest.control_period_s * 1e9)
        self._deadline_ns = deadline_ns
        self._stiffness = self._pipeline.mapper.stiffness[self._to_controller]
        self._damping = self._pipeline.mapper.damping[self._to_controller]
        self._zeros = np.zeros(len(manifest.joints), np.float32)
        self._newest: RobotState | RawObservation | None = None
        self._missed_before = 0
        self._record = board.new_record()
        self._receive_ns = 0
        self._infer_ns = (0, 0)
        self._answered: tuple[RobotState | RawObservation, Decision] | None = None
        backend.reset()

    def take(self, frame: bytes, now_ns: int) -> None:
        """Admit one message into the observation, or refuse and count it."""
        self._words["received"] += 1
        try:
            message = self._decode(frame)
        except WireError:
            self._refuse(Refusal.MALFORMED, now_ns)
            return
        refusal = self._admission.admit(message, now_ns)
        if refusal is not None:
            self._refuse(refusal, now_ns)
            return
        if self._admission.missed != self._missed_before:
            self._words["missed"] += self._admission.missed - self._missed_before
            self._missed_before = self._admission.missed
        self._words["last_state_ns"] = now_ns
        if self._newest is not None:
            self._words["superseded"] += 1
        self._newest = message
        self._receive_ns = now_ns
        if isinstance(message, RobotState):
            self._pipeline.observe(message)
        else:
            self._pipeline.observe_raw(message)

    def answer(self) -> bytes | None:
        """Infer on the newest admitted state; the command to publish, or None when there is none."""
        state, self._newest = self._newest, None
        if state is None:
            return None
        words = self._words
        start_ns = time.monotonic_ns()
        if self._admission.too_old(state.stamp_ns, start_ns):
            self._refuse(Refusal.OLD, start_ns)
            return None
        words["busy_since_ns"] = start_ns
        try:
            action = self._backend.infer(self._pipeline.observation())
        except BackendError:
            self._reject(Reason.BACKEND_ERROR)
            return None
        finally:
            words["busy_since_ns"] = 0
        self._infer_ns = start_ns, time.monotonic_ns()
        decision = self._pipeline.decide(action)
        for name, count in decision.clamped.items():
            words.row("clamped")[LIMIT_NAMES.index(name)] += count
        if not decision.accepted:
            self._reject(decision.reason)
            return None
        self._backend.accept()
        self._answered = (state, decision)
        command = self._encode(state, decision)
        if not self._may_publish():
            words["withheld"] += 1
            return None
        return command

    def rehearse(self, frame: bytes) -> None:
        """Go through all the rooms with an old message, so that code and data lie in the caches."""
        self._board.guard["active_session"] = self.session
        self._board.guard["heartbeat_ns"] = now_ns = time.monotonic_ns()
        self.take(frame, now_ns)
        self.answer()

    def published(self) -> None:
        """Note the command that ``answer`` gave as sent; the slow part comes after the sending."""
        assert self._answered is not None
        state, decision = self._answered
        words, record = self._words, self._record
        publish_ns = time.monotonic_ns()
        words["last_command_session"] = self.session
        words["last_command_ns"] = publish_ns
        words["steps"] += 1
        if publish_ns - state.stamp_ns > self._period_ns:
            words["late_steps"] += 1
        record["session"], record["seq"] = self.session, state.seq
        record["state_stamp_ns"], record["receive_ns"] = state.stamp_ns, self._receive_ns
        record["infer_start_ns"], record["infer_end_ns"] = self._infer_ns
        record["publish_ns"] = publish_ns
        record["joint_position"], record["joint_velocity"] = state.joint_position, state.joint_velocity
        if isinstance(state, RobotState):
            record["angular_velocity"] = state.angular_velocity
            record["orientation"] = state.orientation
            record["linear_acceleration"] = state.linear_acceleration
            record["velocity_command"] = state.velocity_command
            record["joint_torque"] = state.joint_torque
        record["action"], record["target"] = decision.action, decision.target
        self._board.append(record)

    def _decode(self, frame: bytes) -> RobotState | RawObservation:
        """Decode into the policy's joint order."""
        order = self._to_policy
        message: RobotState | RawObservation
        if self._raw:
            message = decode_raw_observation(frame, self._pipeline.builder.dim, len(order))
        else:
            message = decode_state(frame, len(order))
            message.joint_torque = message.joint_torque.take(order)
        message.joint_position = message.joint_position.take(order)
        message.joint_velocity = message.joint_velocity.take(order)
        return message

    def _encode(self, state: RobotState | RawObservation, decision: Decision) -> bytes:
        return encode_command(
            JointCommand(
                session=self.session,
                epoch=0,
                slot=0,
                seq=state.seq,
                state_stamp_ns=state.stamp_ns,
                publish_stamp_ns=time.monotonic_ns(),
                mode=Mode.ACTIVE,
                reason=Reason.NONE,
                cause=NO_CAUSE,
                policy=0,
                joint_position=decision.target[self._to_controller],
                joint_velocity=self._zeros,
                stiffness=self._stiffness,
                damping=self._damping,
                torque=self._zeros,
                action=decision.action,
            )
        )

    def _may_publish(self) -> bool:
        """The guardian still has this session active, and is itself alive."""
        guard = self._board.guard
        if guard["active_session"] != self.session:
            return False
        return time.monotonic_ns() - guard["heartbeat_ns"] <= self._deadline_ns

    def _refuse(self, refusal: Refusal, now_ns: int) -> None:
        self._words.row("refused")[refusal] += 1
        if refusal is not Refusal.FOREIGN_SESSION:
            self._words["last_refusal_reason"] = int(REFUSAL_REASONS[refusal])
            self._words["last_refusal_ns"] = now_ns

    def _reject(self, reason: Reason) -> None:
        self._words.row("rejected")[reason] += 1
        if reason is Reason.LIMIT:
            self._words["trip_reason"] = int(reason)
            self._words["trip_session"] = self.session
        self._words["last_refusal_reason"] = int(reason)
        self._words["last_refusal_ns"] = time.monotonic_ns()
