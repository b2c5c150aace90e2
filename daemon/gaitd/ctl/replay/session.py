"""One session's messages through the worker's own step once more, for another policy or the same one.

Each step is judged alone: what it takes from the step before (last action, reference of the slew limit) is
what the one that was applied left there. A recurrent policy's hidden state is its own, run along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle
from gaitd.errors import InputError
from gaitd.policy.admission import AdmissionLimits
from gaitd.policy.joints import order_from
from gaitd.policy.limits import Decision
from gaitd.policy.observation import required_fields
from gaitd.shared.guard_memory import SessionSetup
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import RobotState
from gaitd.worker.step import Frame, Outcome, PolicyStep


class Replayable:
    """A policy that can take the states of another one: it is for the same joints."""

    def __init__(self, bundle: Bundle, backend: Backend, joints: Sequence[str], of: str) -> None:
        """``joints``: in the order of the records. Raises InputError, naming whose they are with ``of``."""
        self.bundle = bundle
        self.backend = backend
        manifest = bundle.manifest
        if sorted(manifest.joints) != sorted(joints):
            raise InputError(
                f"{bundle.path}: its joints are {' '.join(manifest.joints)}, those of {of} {' '.join(joints)}"
            )
        self.to_policy = order_from(joints, manifest.joints)
        """values_of_a_record[to_policy] is in the policy's order."""
        self.to_record = order_from(manifest.joints, joints)
        """values_of_the_policy[to_record] is in that of the records."""
        self.depth = bundle.pipeline().builder.depth
        """States that it remembers."""
        self.fields = required_fields(manifest)
        """Of a state message."""


class Judged(NamedTuple):
    """What became of a recorded step's state now."""

    decision: Decision | None
    """None: the state is refused, or the inference failed."""
    cause: CauseKind
    """Why there is no target; NONE also where another state was answered."""

    @classmethod
    def of(cls, outcome: Outcome, record: Any) -> Judged:
        """``record``: the step that was made of the same messages."""
        decision, state = outcome.decision, outcome.state
        if decision is not None and state is not None and state.seq == int(record["seq"]):
            return cls(decision, CauseKind.NONE if decision.cause is None else decision.cause.kind)
        older = None if decision is None else decision.cause  # that of a state before the one that is refused
        causes = [cause.kind for cause in outcome.refusals if cause is not older]
        return cls(None, causes[-1] if causes else CauseKind.NONE)


class SessionReplay:
    """One session of a policy that answers nobody."""

    def __init__(self, policy: Replayable, setup: SessionSetup, limits: AdmissionLimits) -> None:
        """``setup``: of the session, its joint order that of the records."""
        self._policy = policy
        order = setup.policy_from_controller[policy.to_policy]
        backend = policy.backend
        own = replace(setup, policy_from_controller=order)
        self._step = PolicyStep(policy.bundle, own, limits, backend.infer, backend.commit)
        backend.reset()

    def resume(self, record: Any) -> None:
        """Go on behind this step of the records, whose past is not known."""
        self._step.resume(int(record["seq"]), int(record["state_stamp_ns"]), self._decision(record))

    def answer(self, frames: Sequence[Frame], step_ns: int) -> Outcome:
        """What the policy makes of the messages of one step that began at ``step_ns``.

        Raises InputError when the controller does not send what the policy observes.
        """
        outcome = self._step.step(frames, step_ns)
        if isinstance(outcome.state, RobotState):
            for field in self._policy.fields:
                if getattr(outcome.state, field) is None:
                    raise InputError(
                        f"{self._policy.bundle.path}: a term is made from {field}, which this controller "
                        "does not send"
                    )
        return outcome

    def apply(self, outcome: Outcome, record: Any) -> None:
        """What was applied in that step is what the next one takes up."""
        if not record["sent_ns"]:
            return
        decision = self._decision(record)
        judged = Judged.of(outcome, record)
        if judged.decision is None and judged.cause is not CauseKind.START_POSTURE:  # it has not begun yet
            self._step.pass_over(int(record["seq"]), int(record["state_stamp_ns"]))
        if outcome.decision is None or outcome.decision.cause is not None:  # no hidden state to adopt
            self._step.follow(decision.action, decision.target)
            return
        outcome.decision = decision
        self._step.commit(outcome)

    def _decision(self, record: Any) -> Decision:
        """What was recorded of a step, in the policy's joint order."""
        parts = (record[name][self._policy.to_policy] for name in ("target", "action", "model_action"))
        target, action, model_action = parts
        return Decision(None, target, action, model_action, {})
