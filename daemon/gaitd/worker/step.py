"""One session in the worker: from the bytes of state messages to a joint command. Pure: time is an argument.

In order: decode, joint order, admission, observation, inference, limits, joint order. A session
has a step of its own, so nothing of an old session can reach a new one. What a command changes (last action,
slew reference, hidden state) changes in ``commit``, when it went out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gaitd.bundle import Bundle
from gaitd.errors import BackendError
from gaitd.policy.admission import AdmissionLimits, StateAdmission
from gaitd.policy.fade import Gains
from gaitd.policy.limits import Decision
from gaitd.policy.manifest import Float32Array
from gaitd.policy.stream import Frames
from gaitd.shared.guard_memory import SessionSetup
from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.codec import decode_raw_observation, decode_state
from gaitd.wire.frame import WireError
from gaitd.wire.generated import CauseKind, Mode, Reason
from gaitd.wire.messages import JointCommand, RawObservation, RobotState

Infer = Callable[[Float32Array], Float32Array]
"""Runs the models: normalized observation (observation_dim,) to action (action_dim,). Raises BackendError."""


class Frame(NamedTuple):
    """One state message as it came."""

    data: bytes
    received_ns: int


class Heard(NamedTuple):
    """A message, decoded."""

    frame: Frame
    state: RobotState | RawObservation | None
    """In the policy's joint order; None: malformed."""


@dataclass(slots=True)
class Outcome:
    """What one step came to: at most one command, and why there is none."""

    command: JointCommand | None = None
    """``publish_stamp_ns`` is left to the sender."""
    state: RobotState | RawObservation | None = None
    """The state that was answered, in the policy's joint order."""
    frame: Frame | None = None
    """The message of that state; of the last admitted one where none was answered."""
    observation: Float32Array | None = None
    """(observation_dim,) before normalization, where the model was asked; overwritten by the next step."""
    decision: Decision | None = None
    refusals: list[Cause] = field(default_factory=list)
    """Of states, and of the action if it was rejected."""
    trip: Cause | None = None
    """The refusal that asks for damping."""
    error: str = ""
    """What the inference runtime said when it failed."""
    missed: int = 0
    """Sequence numbers that never came."""
    superseded: int = 0
    """States taken into the history, while a newer one was answered."""
    interval_ns: int = 0
    """How far apart the controller samples its states; 0 until known."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A command of another worker of which it is not known whether it went out."""

    seq: int
    """Of the state that it answers."""
    target: Float32Array
    """(n,) rad, rad/s or Nm, policy's joint order."""


class PolicyStep:
    """Answers the states of one session."""

    def __init__(
        self,
        bundle: Bundle,
        setup: SessionSetup,
        limits: AdmissionLimits,
        infer: Infer,
        commit_state: Callable[[], None],
        policy: int = 0,
        blend_steps: int = 1,
        streams: Callable[[], Frames] = tuple,
    ) -> None:
        """``commit_state`` makes the hidden state of the last inference the model's own. ``streams``: the
        newest frame of each of the policy's.

        ``policy``: its index in hello's list. ``blend_steps``: a change from another policy takes so many.
        """
        self.setup = setup
        self.is_recurrent = bundle.manifest.remembers
        """The model has a hidden state."""
        self._policy = policy
        self._blend_steps = blend_steps
        self._infer = infer
        self._commit_state = commit_state
        self._streams = streams
        self._pipeline = bundle.pipeline()
        self._admission = StateAdmission(bundle.manifest, limits)
        self._admission.start(setup.session)
        self._to_policy = setup.policy_from_controller
        self._to_controller = np.argsort(setup.policy_from_controller)
        self._reorders = bool((np.diff(self._to_policy) != 1).any())
        """The controller has the joints in another order."""
        self._stiffness = self._pipeline.mapper.stiffness[self._to_controller]
        self._damping = self._pipeline.mapper.damping[self._to_controller]
        self._zeros = np.zeros(len(self._to_policy), np.float32)
        self._input_sizes = bundle.manifest.input_sizes
        self._staged: Staged | None = None

    def step(self, frames: Sequence[Frame], now_ns: int) -> Outcome:
        """Take the messages into the history, oldest first, and answer the newest admitted one.

        A state that is older at ``now_ns`` than it may be is not answered.
        """
        return self.step_heard(map(self.hear, frames), now_ns)

    def hear(self, frame: Frame) -> Heard:
        """Decode it; nothing is taken yet."""
        try:
            return Heard(frame, self._decode(frame.data))
        except WireError:
            return Heard(frame, None)

    def step_heard(self, messages: Iterable[Heard], now_ns: int) -> Outcome:
        """As ``step``, of messages that are decoded."""
        outcome = Outcome()
        for heard in messages:
            self._take(heard, outcome)
        outcome.interval_ns = self._admission.interval_ns
        state = outcome.state
        if state is None:
            return outcome
        too_old = self._admission.too_old(state.stamp_ns, now_ns)
        if too_old is not None:
            outcome.refusals.append(too_old)
            return outcome
        outcome.observation = self._pipeline.raw_observation()
        try:
            action = self._infer(self._pipeline.normalize(outcome.observation))
        except BackendError as error:
            outcome.refusals.append(Cause(CauseKind.BACKEND_ERROR))
            outcome.error = str(error)
            return outcome
        self._judge(outcome, state, action)
        return outcome

    def step_beside(self, heard: Heard, now_ns: int) -> Outcome:
        """As ``step``, for a state that another worker may have answered in time, however late it is here.

        A hidden state goes through it all the same; there is no command.
        """
        if not self.is_recurrent:
            return self.step_heard([heard], now_ns)
        outcome = self.step_heard([heard], 0)
        state = outcome.state
        too_old = None if state is None else self._admission.too_old(state.stamp_ns, now_ns)
        if too_old is not None:
            outcome.command = None
            outcome.refusals.append(too_old)
        return outcome

    def resume(self, seq: int, stamp_ns: int, decision: Decision) -> None:
        """Go on behind a recorded step, whose past is not known: for a replay."""
        self._admission.resume(seq, stamp_ns)
        self._pipeline.builder.resume(seq)
        self._pipeline.commit(decision)

    def pass_over(self, seq: int, stamp_ns: int) -> None:
        """The state of that number was refused here and answered all the same, by whom is replayed: the next
        one follows it."""
        if self._admission.last_seq < seq:
            self._admission.resume(seq, stamp_ns)

    def commit(self, outcome: Outcome) -> None:
        """The outcome's command went out."""
        assert outcome.decision is not None
        self._pipeline.commit(outcome.decision)
        self._commit_state()
        if self._staged is not None:
            self._keep_in_mind(self._staged, outcome)

    def commit_other(self, outcome: Outcome, action: Float32Array, target: Float32Array) -> bool:
        """Another worker's command for its state is in force, with its target (n,) rad.

        ``action`` (n,): what this policy asks for that target with. Of the outcome remain what the model
        answered, and its hidden state; False: our own model failed, so that there is none.
        """
        decision = outcome.decision
        cause = None if decision is None else decision.cause
        if decision is None or (cause is not None and cause.reason is not Reason.LIMIT):
            self._pipeline.follow(action, target)  # our own model failed
            return False
        self._pipeline.commit_other(decision, action, target)
        self._commit_state()
        return True

    def follow(self, action: Float32Array, target: Float32Array) -> None:
        """Another worker's command went out, for a state that is not here or not the newest any more."""
        self._pipeline.follow(action, target)

    def is_of_session(self, heard: Heard) -> bool:
        """Whether it is a well-formed state of this session."""
        return heard.state is not None and heard.state.session == self.setup.session

    def watch(self, setup: SessionSetup, gains: Gains | None) -> None:
        """The session is with another worker, whose policy has those gains; None: it runs this policy."""
        self.setup = setup
        self._staged = None
        self._pipeline.watch(gains, self._blend_steps)
        self._admission.watch(another=True)

    def action_of(self, target: Float32Array) -> Float32Array:
        """What this policy would ask for these targets (n,) rad with."""
        return self._pipeline.mapper.action(target)

    @property
    def newest_seq(self) -> int:
        """Of the newest state that was admitted; 0: none yet."""
        return self._admission.last_seq

    @property
    def is_fading(self) -> bool:
        """The next command is part of a change of policies."""
        return self._pipeline.fade_gains is not None

    def take_over(self, setup: SessionSetup, staged: Staged | None) -> None:
        """From now on commands are ours. ``staged``: the other worker's last one, if it may have gone out."""
        self.setup = setup
        self._admission.watch(another=False)
        self._pipeline.watch(None, self._blend_steps)
        self._refer_also_to(staged)

    def take_back(self, setup: SessionSetup, staged: Staged | None) -> None:
        """Commands are ours again, under a new epoch. ``staged``: another worker's, as in ``take_over``."""
        self.setup = setup
        if staged is not None:
            self._refer_also_to(staged)

    def answer_again(self, outcome: Outcome) -> Outcome:
        """The same answer of the model to the same, newest state, judged and addressed as things are now."""
        assert outcome.state is not None
        assert outcome.decision is not None
        again = Outcome(state=outcome.state, frame=outcome.frame, missed=outcome.missed)
        again.interval_ns, again.observation = outcome.interval_ns, outcome.observation
        self._judge(again, outcome.state, outcome.decision.model_action)
        return again

    def repeat(self, outcome: Outcome) -> Outcome | None:
        """Another worker's command for its state, which ``commit_other`` took, addressed as things are now.

        None when our own model failed at that state, or its target is outside our range.
        """
        decision, state = outcome.decision, outcome.state
        if outcome.command is None or self._pipeline.reference_fault() is not None:
            return None
        assert decision is not None
        assert state is not None
        again = Outcome(self._command(state, decision), state, outcome.frame, outcome.observation, decision)
        again.interval_ns = outcome.interval_ns
        return again

    def _refer_also_to(self, staged: Staged | None) -> None:
        self._staged = staged
        if staged is not None:
            self._pipeline.refer_also_to(staged.target)

    def _judge(self, outcome: Outcome, state: RobotState | RawObservation, action: Float32Array) -> None:
        decision = outcome.decision = self._pipeline.decide(action)
        if decision.cause is None:
            outcome.command = self._command(state, decision)
            return
        outcome.refusals.append(decision.cause)
        if decision.cause.reason is Reason.LIMIT:
            outcome.trip = decision.cause

    def _keep_in_mind(self, staged: Staged, outcome: Outcome) -> None:
        """Until a newer state is answered, the controller may follow the staged command instead of ours."""
        assert outcome.state is not None
        if outcome.state.seq <= staged.seq:
            self._pipeline.refer_also_to(staged.target)
        else:
            self._staged = None

    def _take(self, heard: Heard, outcome: Outcome) -> None:
        frame, state = heard
        if state is None:
            outcome.refusals.append(Cause(CauseKind.MALFORMED))
            return
        missed = self._admission.missed
        cause, streams = self._admission.admit(state, frame.received_ns), self._streams()
        outcome.missed += self._admission.missed - missed
        cause = cause or self._pipeline.stream_cause(streams, frame.received_ns)
        if cause is not None:
            outcome.refusals.append(cause)
            return
        outcome.superseded += outcome.state is not None
        outcome.state, outcome.frame = state, frame
        if isinstance(state, RobotState):
            self._pipeline.observe(state, streams, frame.received_ns)
        else:
            self._pipeline.observe_raw(state)

    def _decode(self, data: bytes) -> RobotState | RawObservation:
        """Decode into the policy's joint order."""
        order = self._to_policy
        message: RobotState | RawObservation
        if self.setup.raw:
            message = decode_raw_observation(data, self._pipeline.builder.dim, len(order))
        else:
            message = decode_state(data, len(order), self._input_sizes)
            if self._reorders:
                message.joint_torque = message.joint_torque.take(order)
        if self._reorders:
            message.joint_position = message.joint_position.take(order)
            message.joint_velocity = message.joint_velocity.take(order)
        return message

    def _command(self, state: RobotState | RawObservation, decision: Decision) -> JointCommand:
        stiffness, damping = self._stiffness, self._damping
        gains = self._pipeline.fade_gains
        if gains is not None:
            stiffness, damping = gains.stiffness[self._to_controller], gains.damping[self._to_controller]
        order, position, velocity, torque = self._to_controller, decision.target, self._zeros, self._zeros
        if not self._pipeline.mapper.only_positions:
            position, velocity, torque = self._pipeline.mapper.motor_targets(decision.target)
            velocity, torque = velocity[order], torque[order]
        return JointCommand(
            session=self.setup.session,
            epoch=self.setup.epoch,
            slot=self.setup.slot,
            seq=state.seq,
            state_stamp_ns=state.stamp_ns,
            publish_stamp_ns=0,
            mode=Mode.ACTIVE,
            reason=Reason.NONE,
            cause=NO_CAUSE,
            policy=self._policy,
            joint_position=position[order],
            joint_velocity=velocity,
            stiffness=stiffness,
            damping=damping,
            torque=torque,
            action=decision.action,
        )
