"""How a policy walks, in episodes that no training saw: randomized as in training, in finer physics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from gaitd.policy.manifest import Float32Array, Manifest
from gaitforge.train.config import Commands, Config, Pushes, RobotParameters
from gaitforge.train.environment import Environment

Policy = Callable[[Float32Array], Float32Array]
"""Observations (n, dim) to raw actions (n, j)."""
Float64Array = npt.NDArray[np.float64]

EPISODES = 500
EPISODE_S = 10.0
TIMESTEP_S = 0.002
"""Of the physics, whatever the training's is."""
FORWARD, LEFT, TURN = (-0.4, 0.8), (-0.5, 0.5), (-0.8, 0.8)
"""Commands are drawn from here [m/s, m/s, rad/s], and once more in the middle of the episode; as far as the
training asked for them."""
KICK_M_PER_S = 0.5
SETTLE_S = 1.0
"""After a start or a new command."""
FULL_M_PER_S = 0.8

_SEED = 90_001
"""Far from those of trainings."""
_NEVER_S = 1e9


@dataclass(frozen=True)
class Result:
    """Of all episodes together. A fall is what ends an episode in training."""

    episodes: int
    falls: int
    velocity_rmse_m_per_s: float
    """Along the floor, in the base's frame: of every moment from SETTLE_S after a new command on, kicks and
    the gait's own swaying included."""
    turning_rmse_rad_per_s: float
    velocity_rmse_all_m_per_s: float
    """The same of every moment of the episode."""
    turning_rmse_all_rad_per_s: float
    hard_kick_falls: int
    """In 100 episodes with kicks of +-1.0 m/s."""
    straight_rmse_m_per_s: float
    """As velocity_rmse_m_per_s, in 100 episodes that ask for one of the three alone, without kicks."""
    straight_turning_rmse_rad_per_s: float
    straight_falls: int
    full_speed_m_per_s: float
    """Mean forward speed at a command of 0.8 m/s, or as much as the training asked for, without kicks."""
    full_speed_falls: int
    zero_drift_m_per_s: float
    """Mean over the robots, from 2 s on, of how far each got at a command of zero, without kicks, by time."""
    zero_worst_drift_m_per_s: float
    zero_steps_per_s: float
    """Feet lifted, a robot, from 2 s on."""
    zero_falls: int
    max_torque_nm: float
    """What the motors gave in the first episodes."""
    max_joint_speed_rad_per_s: float
    p999_joint_speed_rad_per_s: float


@dataclass
class _Walk:
    """What n robots did in t steps; nothing of a robot counts from its fall on."""

    error: Float64Array
    """(t, n, 3)"""
    velocity: Float64Array
    """(t, n, 3)"""
    position: Float64Array
    """(t, n, 2) m."""
    contact: npt.NDArray[np.bool_]
    """(t, n, f)"""
    alive: npt.NDArray[np.bool_]
    """(t, n)"""
    torque: float
    speeds: Float64Array
    """Of joints: every one of every tenth step."""
    speed: float

    @property
    def falls(self) -> int:
        return int(np.count_nonzero(~self.alive[-1]))


class Evaluation:
    """Episodes for any policy of one robot: the same robots, commands and kicks for each."""

    def __init__(
        self,
        config: Config,
        parameters: RobotParameters,
        mjcf: Path | None,
        threads: int,
        seconds: float = EPISODE_S,
    ) -> None:
        nothing = Commands(forward=(0, 0), left=(0, 0), turn=(0, 0), every_s=(_NEVER_S, _NEVER_S))
        self._config = msgspec.structs.replace(
            config,
            rewards={},
            gait=None,
            episode_s=2 * _NEVER_S,
            commands=nothing,
            pushes=Pushes(speed_m_per_s=0.0, every_s=(_NEVER_S, _NEVER_S)),
        )
        self._parameters, self._mjcf, self._threads, self._seconds = parameters, mjcf, threads, seconds
        trained = config.commands
        limits = np.array([trained.forward, trained.left, trained.turn])
        self._low, self._high = (
            np.clip(end, *limits.T) for end in np.array([FORWARD, LEFT, TURN], np.float64).T
        )

    def judge(self, policy: Policy, manifest: Manifest, episodes: int = EPISODES) -> Result:
        """Walk all episodes. Raises InputError when the manifest does not fit the robot."""
        few = max(1, episodes // 5)
        main = self._walk(policy, manifest, episodes, kick=KICK_M_PER_S)
        hard = self._walk(policy, manifest, few, kick=1.0)
        straight = self._walk(policy, manifest, few, straight=True)
        full = self._walk(policy, manifest, few, command=(min(FULL_M_PER_S, self._high[0]), 0.0, 0.0))
        zero = self._walk(policy, manifest, few, command=(0.0, 0.0, 0.0))
        period_s = manifest.control_period_s
        half = len(main.error) // 2
        settle = round(SETTLE_S / period_s)
        settled = np.zeros(len(main.error), np.bool_)
        settled[settle:half], settled[half + settle :] = True, True
        late = round(min(2.0, self._seconds / 2) / period_s)
        span_s = (len(zero.error) - late) * period_s
        gone = np.linalg.norm(zero.position[-1] - zero.position[late], axis=1)[zero.alive[-1]] / span_s
        lifted = zero.contact[late:-1] & ~zero.contact[late + 1 :]
        return Result(
            episodes=episodes,
            falls=main.falls,
            velocity_rmse_m_per_s=_rms(main, slice(0, 2), settled),
            turning_rmse_rad_per_s=_rms(main, slice(2, 3), settled),
            velocity_rmse_all_m_per_s=_rms(main, slice(0, 2), np.ones_like(settled)),
            turning_rmse_all_rad_per_s=_rms(main, slice(2, 3), np.ones_like(settled)),
            hard_kick_falls=hard.falls,
            straight_rmse_m_per_s=_rms(straight, slice(0, 2), settled),
            straight_turning_rmse_rad_per_s=_rms(straight, slice(2, 3), settled),
            straight_falls=straight.falls,
            full_speed_m_per_s=float(full.velocity[late:, :, 0][full.alive[late:]].mean())
            if full.alive[-1].any()
            else 0.0,
            full_speed_falls=full.falls,
            zero_drift_m_per_s=float(gone.mean()) if gone.size else float("inf"),
            zero_worst_drift_m_per_s=float(gone.max()) if gone.size else float("inf"),
            zero_steps_per_s=float(lifted.sum() / few / span_s),
            zero_falls=zero.falls,
            max_torque_nm=main.torque,
            max_joint_speed_rad_per_s=main.speed,
            p999_joint_speed_rad_per_s=float(np.quantile(main.speeds, 0.999)),
        )

    def feet(
        self, policy: Policy, manifest: Manifest, command: tuple[float, float, float]
    ) -> npt.NDArray[np.bool_]:
        """Which feet (t, f) of one robot are on the floor under a command, without kicks."""
        return self._walk(policy, manifest, 1, command=command).contact[:, 0]

    def _walk(
        self,
        policy: Policy,
        manifest: Manifest,
        count: int,
        *,
        command: tuple[float, float, float] | None = None,
        straight: bool = False,
        kick: float = 0.0,
    ) -> _Walk:
        blind = msgspec.structs.replace(self._config, height_map=None)
        environment = Environment(
            self._config if manifest.streams else blind,
            self._parameters,
            manifest,
            self._mjcf,
            count=count,
            seed=(_SEED,),
            threads=self._threads,
            timestep_s=TIMESTEP_S,
        )
        rng = np.random.default_rng(_SEED)
        commands = (
            np.tile(command, (2, count, 1))
            if command is not None
            else (rng.uniform(self._low, self._high, (2, count, 3)))
        )
        if straight:
            commands *= np.arange(3) == np.arange(count)[:, None] % 3
        steps = round(self._seconds / manifest.control_period_s)
        # One kick in each half, when it walks as told.
        kicks = rng.uniform(-kick, kick, (2, count, 2))
        times = rng.uniform(0.15, 0.4, (2, count)) + np.array([[0.0], [0.5]])
        due = (times * steps).astype(np.intp)
        alive = np.ones(count, np.bool_)
        kept: dict[str, list[Any]] = {
            name: [] for name in ("error", "velocity", "position", "contact", "alive")
        }
        torque = speed = 0.0
        speeds = []
        for step in range(steps):
            environment.memory.command[:] = commands[int(step >= steps // 2)]
            for moment, velocity in zip(due, kicks, strict=True):
                environment.kick(velocity * (moment == step)[:, None])
            observed, _ = environment.observe()
            asked = environment.memory.asked.copy()
            position = environment.position.copy()
            result = environment.step(policy(observed))
            alive = alive & ~result.fell
            for name, value in (
                ("error", result.velocity - asked),
                ("velocity", result.velocity),
                ("position", position),
                ("contact", result.contact),
                ("alive", alive),
            ):
                kept[name].append(value)
            torque = max(torque, float(np.abs(result.torque[alive]).max(initial=0.0)))
            moved = np.abs(result.joint_velocity[alive])
            speed = max(speed, float(moved.max(initial=0.0)))
            if step % 10 == 0:
                speeds.append(moved.ravel())
        arrays = {name: np.array(values) for name, values in kept.items()}
        return _Walk(**arrays, torque=torque, speed=speed, speeds=np.concatenate(speeds))


def onnx_policy(model: bytes) -> Policy:
    """A feed-forward model for many observations at once."""
    import onnx
    import onnxruntime

    graph = onnx.load_from_string(model)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "count"
    del graph.graph.value_info[:]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def infer(observations: Float32Array) -> Float32Array:
        actions: Float32Array = session.run(None, {name: observations})[0]
        return actions

    return infer


def as_rows(results: dict[str, Result]) -> list[list[str]]:
    """A table: a figure a row, a policy a column."""
    rows = [["figure", *results]]
    columns = [asdict(result) for result in results.values()]
    for name in columns[0]:
        rows.append([name, *(f"{column[name]:.4g}" for column in columns)])
    return rows


def _rms(walk: _Walk, axes: slice, moments: npt.NDArray[np.bool_]) -> float:
    squares = (walk.error[moments][:, :, axes] ** 2).sum(axis=2)
    return float(np.sqrt(squares[walk.alive[moments]].mean()))
