"""A walk that changes its policy again and again, straight in the simulator (gaitforge.simulate.direct)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaitd.bundle.read import Bundle
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.fade import Gains
from gaitd.policy.limits import Decision
from gaitd.policy.manifest import Float32Array
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.stream import Frames
from gaitd.wire.messages import RobotState
from gaitforge.simulate.direct import DirectRun, onnx_backend, run_direct
from gaitforge.simulate.script import CommandScript


@dataclass(frozen=True)
class ChangingRun:
    """What came of one such walk."""

    run: DirectRun
    changes: int
    largest_step_of_slew: float
    """Largest change of a joint target from one command to the next while policies change, as a share of the
    slew limit."""
    fade_steps: int
    """Of the longest change."""


class ChangingPipeline(PolicyPipeline):
    """Two policies without hidden state: one has the robot, the other one follows, as in gaitd."""

    def __init__(self, bundles: Sequence[Bundle], change_at: Sequence[int], blend_steps: int) -> None:
        """``change_at``: the control steps, from 1 on, at which the other one goes on."""
        self._pipelines = [bundle.pipeline() for bundle in bundles]
        self._backends = [onnx_backend(bundle) for bundle in bundles]
        self._slew = [TargetBounds.of(each.manifest, each.pipeline().mapper).slew for each in bundles]
        self._change_at, self._blend_steps = set(change_at), blend_steps
        self.reset()

    def reset(self) -> None:
        """Start of a session, with the first policy."""
        for pipeline in self._pipelines:
            pipeline.reset()
        self._holder, self._step = 0, 0
        self._last_target: Float32Array | None = None
        self.largest_step_of_slew, self.fade_steps, self._fading = 0.0, 0, 0
        self._take_roles()

    @property
    def fade_gains(self) -> Gains | None:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].fade_gains

    def infer(self, observation: Float32Array) -> Float32Array:
        """The model of the policy that has the robot."""
        return self._backends[self._holder].infer(observation)

    def observe(self, state: RobotState, frames: Frames = (), at_ns: int = 0) -> None:
        """See PolicyPipeline."""
        self._step += 1
        if self._step in self._change_at:
            self._holder = 1 - self._holder
            self._take_roles()
        for pipeline in self._pipelines:
            pipeline.observe(state, frames, at_ns)

    def raw_observation(self) -> Float32Array:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].raw_observation()

    def normalize(self, raw_observation: Float32Array) -> Float32Array:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].normalize(raw_observation)

    def decide(self, action: Float32Array) -> Decision:
        """See PolicyPipeline."""
        return self._pipelines[self._holder].decide(action)

    def commit(self, decision: Decision) -> None:
        """See PolicyPipeline."""
        other, target = self._pipelines[1 - self._holder], decision.target
        self._measure(target)
        self._pipelines[self._holder].commit(decision)
        other.follow(other.mapper.action(target), target)

    def _take_roles(self) -> None:
        mapper = self.mapper = self._pipelines[self._holder].mapper
        self._pipelines[self._holder].watch(None, self._blend_steps)
        self._pipelines[1 - self._holder].watch(Gains(mapper.stiffness, mapper.damping), self._blend_steps)

    def _measure(self, target: Float32Array) -> None:
        last, self._last_target = self._last_target, target
        self._fading = self._fading + 1 if self.fade_gains is not None else 0
        self.fade_steps = max(self.fade_steps, self._fading)
        if last is not None and self._fading:
            step = float((np.abs(target - last) / self._slew[self._holder]).max())
            self.largest_step_of_slew = max(self.largest_step_of_slew, step)


def run_changing(
    bundles: Sequence[Bundle],
    *,
    script: CommandScript,
    seconds: float,
    change_at: Sequence[int],
    blend_steps: int,
    seed: int = 0,
) -> ChangingRun:
    """Walk with the first of two policies that may run beside each other, changing at those control steps."""
    pipeline = ChangingPipeline(bundles, change_at, blend_steps)
    manifest = bundles[0].manifest
    run = run_direct(manifest, pipeline.infer, script=script, seconds=seconds, seed=seed, pipeline=pipeline)
    return ChangingRun(run, len(change_at), pipeline.largest_step_of_slew, pipeline.fade_steps)
