"""How far a model is from the float model: on the same inputs, and walking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from gaitd.backends.base import Backend
from gaitd.policy.action import ActionMapper
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.common.arrays import Stats
from gaitforge.verify.failover import FailoverWalk
from gaitforge.verify.walking import Walk, judge

if TYPE_CHECKING:
    from gaitforge.simulate.body import Body
    from gaitforge.simulate.direct import DirectRun

RunRows = Callable[[Float32Array], Float32Array]
"""Model inputs (N, observation_dim), in order from a reset, to actions (N, n)."""


@dataclass(frozen=True)
class ActionError:
    """Differences from the float model's actions; (n,) arrays are by joint, in the policy's order."""

    mean: float
    """Mean absolute, raw action units."""
    max: float
    cosine_min: float
    """Smallest cosine between the action vectors of one step."""
    joint_mean_rad: Float32Array
    """(n,) mean absolute error of the joint position target."""
    joint_bias_rad: Float32Array
    """(n,) mean signed error."""
    joint_worst_rad: Float32Array
    """(n,) largest absolute error."""
    worst_row: int
    """The input with the largest error."""
    worst_joint: int
    size: float
    """Root mean square of the float model's actions, raw action units."""

    @property
    def joint_max_rad(self) -> float:
        """Largest absolute error of any joint position target."""
        return float(self.joint_worst_rad.max())


@dataclass(frozen=True)
class ClosedLoop:
    """Walks with a model, over seeds."""

    runs: Sequence[DirectRun]
    action_mean: float
    """Mean absolute difference from what the float model would have done in the same states."""
    action_max: float
    joint_max_rad: float
    """Largest difference of a joint position target from the float model's in the same states."""
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
    mapper = ActionMapper(manifest)
    difference = np.abs(actions - reference)
    radians = mapper.target(mapper.clip(actions)) - mapper.target(mapper.clip(reference))
    norms = np.linalg.norm(actions, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = np.divide((actions * reference).sum(axis=1), norms, out=np.ones_like(norms), where=norms > 0)
    worst_row, worst_joint = np.unravel_index(int(difference.argmax()), difference.shape)
    return ActionError(
        mean=float(difference.mean()),
        max=float(difference.max()),
        cosine_min=float(cosine.min()),
        joint_mean_rad=np.abs(radians).mean(axis=0),
        joint_bias_rad=radians.mean(axis=0),
        joint_worst_rad=np.abs(radians).max(axis=0),
        worst_row=int(worst_row),
        worst_joint=int(worst_joint),
        size=float(np.sqrt(np.mean(reference**2))),
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
    mapper = ActionMapper(manifest)
    pipeline = PolicyPipeline(manifest, stats)
    runs: list[DirectRun] = []
    walks: list[Walk] = []
    errors: list[Float32Array] = []
    joint_max_rad = 0.0
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
        actions, expected = np.stack([step.action for step in steps]), float_rows(met)
        errors.append(np.abs(actions - expected))
        radians = mapper.target(mapper.clip(actions)) - mapper.target(mapper.clip(expected))
        joint_max_rad = max(joint_max_rad, float(np.abs(radians).max()))
    every = np.concatenate(errors)
    return ClosedLoop(runs, float(every.mean()), float(every.max()), joint_max_rad, walks)


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
            "joint_max_rad": loop.joint_max_rad,
            "walks": [asdict(walk) for walk in loop.walks],
        },
    }
