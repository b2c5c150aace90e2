"""A walk whose worker fails in mid-stride, and a standby goes on: straight in the simulator, in lockstep.

As in gaitd the standby has observed every state, its last action is the one that was applied, its slew
reference the target in force, and its hidden state has gone through the same steps.
"""

from __future__ import annotations

import numpy as np

from gaitd.backends.base import Backend
from gaitd.policy.fade import Gains
from gaitd.policy.limits import Decision
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.stream import Frames
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import RobotState


class FailoverPipeline(PolicyPipeline):
    """One policy in two workers; ``run_direct`` takes it as its pipeline, and its ``infer`` as the policy."""

    def __init__(
        self,
        manifest: Manifest,
        obs_stats: tuple[Float32Array, Float32Array] | None,
        worker: Backend,
        standby: Backend,
        fail_at: int,
        lost: int,
    ) -> None:
        """The worker answers no state from control step ``fail_at`` on (counted from 1); to the first
        ``lost`` of these nobody does.
        """
        self._pipelines = [PolicyPipeline(manifest, obs_stats) for _ in range(2)]
        self._backends = [worker, standby]
        self._fail_at, self._lost = fail_at, lost
        self.mapper = self._pipelines[0].mapper
        self.reset()

    def reset(self) -> None:
        """Start of a session, with the worker."""
        for pipeline, backend in zip(self._pipelines, self._backends, strict=True):
            pipeline.reset()
            backend.reset()
        self._step, self._holder = 0, 0
        self._beside: Decision | None = None

    @property
    def fade_gains(self) -> Gains | None:
        """None: both have the same gains."""
        return None

    @property
    def last_action(self) -> Float32Array:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].last_action

    def stream_cause(self, frames: Frames, at_ns: int) -> Cause | None:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].stream_cause(frames, at_ns)

    def observe(self, state: RobotState, frames: Frames = (), at_ns: int = 0) -> None:
        """See PolicyPipeline."""
        self._step += 1
        self._holder = int(self._step >= self._fail_at)
        for pipeline in self._pipelines[self._holder :]:
            pipeline.observe(state, frames, at_ns)

    def raw_observation(self) -> Float32Array:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].raw_observation()

    def normalize(self, raw_observation: Float32Array) -> Float32Array:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].normalize(raw_observation)

    def infer(self, observation: Float32Array) -> Float32Array:
        """Of who has the robot; the standby answers every state."""
        worker, standby = self._backends
        if self._holder:
            return standby.infer(observation)
        pipeline = self._pipelines[1]
        self._beside = pipeline.decide(np.array(standby.infer(pipeline.observation())))
        return worker.infer(observation)

    def decide(self, action: Float32Array) -> Decision:
        """See PolicyPipeline; of a state that nobody answers it is a failure."""
        decision = self._pipelines[self._holder].decide(action)
        if 0 <= self._step - self._fail_at < self._lost:
            decision.cause = Cause(CauseKind.BACKEND_ERROR)
        return decision

    def commit(self, decision: Decision) -> None:
        """See PolicyPipeline."""
        if self._holder:
            self._pipelines[1].commit(decision)
            self._backends[1].commit()
            return
        assert self._beside is not None
        self._pipelines[0].commit(decision)
        self._pipelines[1].commit_other(self._beside, decision.action, decision.target)
        for backend in self._backends:
            backend.commit()
