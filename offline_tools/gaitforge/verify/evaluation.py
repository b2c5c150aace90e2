"""How far a model is from the float model: on the same inputs, and walking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from gaitd.backends.base import Backend
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.common.arrays import Stats
from gaitforge.verify.failover import FailoverWalk
from gaitforge.verify.joint_errors import JointErrors
from gaitforge.verify.walking import Walk, judge

if TYPE_CHECKING:
    from gaitforge.simulate.body import Body
    from gaitforge.simulate.direct import DirectRun

RunRows = Callable[[Float32Array], Float32Array]
"""Model inputs (N, observation_dim), in order from a reset, to actions (N, n)."""


@dataclass(frozen=True)
class ActionError:
    """Differences from the float model's actions."""

    mean: float
    """Mean absolute, raw action units."""
    max: float
    cosine_min: float
    """Smallest cosine between the action vectors of one step."""
    size: float
    """Root mean square of the float model's actions, raw action units."""
    joints: JointErrors
    """Of what the joints follow."""


@dataclass(frozen=True)
class ClosedLoop:
    """Walks with a model, over seeds."""

    runs: Sequence[DirectRun]
    action_mean: float
    """Mean absolute difference from what the float model would have done in the same states."""
    action_max: float
    joints: JointErrors
    """Of what the joints follow, likewise."""
    walks: Sequence[Walk]

    @property
    def distance_m(self) -> float:
        """Mean length of the path walked."""
        return float(np.mean([run.distance_m for run in self.runs]))

    @property
    def falls(self) -> int:
        """Over all seeds."""
        return sum(run.falls for run in self.runs)

    @property
    def velocity_rmse(self) -> float:
        """Mean over seeds, m/s."""
        return float(np.mean([run.measures.velocity_rmse_m_per_s for run in self.runs]))

    @property
    def yaw_bias(self) -> float:
        """Mean over seeds, rad/s."""
        return float(np.mean([run.measures.yaw_rate_bias_rad_per_s for run in self.runs]))


@dataclass(frozen=True)
class Result:
    """What was found out about one precision."""

    name: str
    actions: Float32Array
    """(N, n) on the common inputs."""
    action_error: ActionError
    closed_loop: ClosedLoop | None = None
    failovers: Sequence[FailoverWalk] = ()
    """Walks in which it failed and the float model went on."""


def action_error(manifest: Manifest, reference: Float32Array, actions: Float32Array) -> ActionError:
    """Compare actions (N, n) with the float model's."""
    difference = np.abs(actions - reference)
    norms = np.linalg.norm(actions, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = np.divide((actions * reference).sum(axis=1), norms, out=np.ones_like(norms), where=norms > 0)
    return ActionError(
        mean=float(difference.mean()),
        max=float(difference.max()),
        cosine_min=float(cosine.min()),
        size=float(np.sqrt(np.mean(reference**2))),
        joints=JointErrors.of(manifest, reference, actions),
    )


def closed_loop(
    manifest: Manifest,
    backend: Backend,
    float_rows: RunRows,
    stats: Stats | None,
    command: tuple[float, float, float],
    seconds: float,
    seeds: int,
    body: Body | None = None,
) -> ClosedLoop:
    """Walk with a model once for each seed; ``float_rows`` judges its actions. ``body``: the Lite3's.

    Raises InputError when the policy cannot be simulated.
    """
    from gaitforge.simulate.direct import Step, run_direct
    from gaitforge.simulate.script import CommandScript

    script = CommandScript.constant(*command)
    pipeline = PolicyPipeline(manifest, stats)
    runs: list[DirectRun] = []
    walks: list[Walk] = []
    answers: list[tuple[Float32Array, Float32Array]] = []
    for seed in range(seeds):
        steps: list[Step] = []
        runs.append(
            run_direct(
                manifest,
                backend,
                script=script,
                seconds=seconds,
                seed=seed,
                obs_stats=stats,
                on_step=steps.append,
                body=body,
            )
        )
        walks.append(judge(manifest, runs[-1], script, seconds))
        met = np.stack([pipeline.normalize(step.observation).copy() for step in steps])
        answers.append((float_rows(met), np.stack([step.action for step in steps])))
    expected, actions = (np.concatenate(each) for each in zip(*answers, strict=True))
    every = np.abs(actions - expected)
    joints = JointErrors.of(manifest, expected, actions)
    return ClosedLoop(runs, float(every.mean()), float(every.max()), joints, walks)


def summary(result: Result) -> dict[str, object]:
    """One precision's part of report.json."""
    error, loop = result.action_error, result.closed_loop
    return {
        "action_error": {"mean": error.mean, "max": error.max, "cosine_min": error.cosine_min},
        "closed_loop": None
        if loop is None
        else {
            "distance_m": loop.distance_m,
            "falls": loop.falls,
            "velocity_rmse": loop.velocity_rmse,
            "yaw_bias": loop.yaw_bias,
            "action_error": {"mean": loop.action_mean, "max": loop.action_max},
            **loop.joints.as_json(),
            "walks": [asdict(walk) for walk in loop.walks],
        },
    }
