"""A candidate beside the policy that walks in simulation, compared as gaitctl shadow does on a robot."""

from __future__ import annotations

from dataclasses import replace

from gaitd.backends.base import Backend
from gaitd.bundle.read import Bundle
from gaitd.ctl.replay.took import Stopwatch
from gaitd.ctl.shadow.reporting import Pair, report_of
from gaitd.ctl.shadow.tally import JudgedStep, Tally
from gaitd.ctl.shadow.terms import TermComparison
from gaitd.ctl.shadow.verdict import default_bound
from gaitd.errors import BackendError
from gaitd.policy.joints import check_same_joints, order_from
from gaitd.shared.shadow import ShadowReport
from gaitd.wire.generated import CauseKind
from gaitforge.simulate.body import Body
from gaitforge.simulate.direct import Step, onnx_backend, run_direct
from gaitforge.simulate.tour import TOUR_S, tour_script

FIRST_SEED = 2000
"""Neither calibration's nor verification's."""


class Beside:
    """The candidate takes each state, and what was applied; it moves nothing."""

    def __init__(self, candidate: Bundle, walking: Bundle, backend: Backend) -> None:
        """Raises InputError when the two are for other joints."""
        own, joints = candidate.manifest.joints, walking.manifest.joints
        check_same_joints(joints, own, "joints")
        self._to_own, self._back = order_from(joints, own), order_from(own, joints)
        self._pipeline = candidate.pipeline()
        self._backend = backend
        self.tally = Tally(joints)
        self.terms = TermComparison(candidate.manifest, walking.manifest)

    def reset(self) -> None:
        """Another walk begins."""
        self._pipeline.reset()
        self._backend.reset()

    def take(self, step: Step) -> None:
        """One control step of the policy that walks."""
        pipeline, order = self._pipeline, self._to_own
        joints = {
            name: getattr(step.state, name)[order]
            for name in ("joint_position", "joint_velocity", "joint_torque")
        }
        watch = Stopwatch()
        pipeline.observe(replace(step.state, **joints))
        observation = pipeline.raw_observation()
        applied, target = step.applied[order], step.target[order]
        try:
            decision = pipeline.decide(self._backend.infer(pipeline.normalize(observation)))
        except BackendError:
            self.tally.add(JudgedStep(None, step.target, CauseKind.BACKEND_ERROR, {}, None))
            pipeline.follow(applied, target)
            return
        took = watch.read()
        self.terms.add(observation, step.observation)
        cause = CauseKind.NONE if decision.cause is None else decision.cause.kind
        own = decision.target[self._back] if decision.accepted else None
        told = step.target if step.accepted else None
        self.tally.add(JudgedStep(own, told, cause, dict(decision.clamped), took))
        if not (decision.accepted and step.accepted):
            pipeline.follow(applied, target)
            return
        decision.action, decision.target = applied, target
        pipeline.commit(decision)
        self._backend.commit()


def compare_in_simulation(
    walking: Bundle, candidate: Bundle, seeds: int, seconds: float = TOUR_S, body: Body | None = None
) -> ShadowReport:
    """Walk through every kind of velocity command once for each seed. ``body``: the Lite3's.

    Raises InputError when one of the two cannot be simulated.
    """
    beside = Beside(candidate, walking, onnx_backend(candidate))
    backend, manifest = onnx_backend(walking), walking.manifest
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        beside.reset()
        run_direct(
            manifest,
            backend,
            script=tour_script(manifest),
            seconds=seconds,
            seed=seed,
            obs_stats=walking.obs_stats(),
            on_step=beside.take,
            body=body,
        )
    name = f"{manifest.name} {manifest.version}"
    pair = Pair(candidate, name, walking.policy_id, default_bound("onnx"))
    return report_of(pair, beside.tally, beside.terms)
