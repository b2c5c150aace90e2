"""A policy in its environment, step by step, with latency and reward."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array
from gaitforge.common import arrays, console, files
from gaitforge.common.arrays import Stats
from gaitforge.data.environment import Environment, load_environment
from gaitforge.model.onnx_policy import read_policy

if TYPE_CHECKING:
    from gaitforge.rknn.record import Record

OUTSIDE = 0.05
"""More than this share of input values outside the calibrated range is worth a note."""


@dataclass(frozen=True)
class Episode:
    """What running a policy for some steps gave."""

    latency_s: Float32Array
    """(steps,) of normalization and inference."""
    rewards: list[float]
    """(steps,)."""
    returns: list[float]
    """Sums of the rewards of finished episodes."""
    inputs: Float32Array
    """(steps, dim) as the model got them."""


def run_agent(model: Path, env: str, obs_stats: Path | None, steps: int, *, quiet: bool = False) -> None:
    """Run a model file in the environment ``env`` (MODULE:FACTORY) and print latency and reward.

    Raises InputError for what does not fit, BackendError when nothing here can run the model.
    """
    environment = load_environment(env)
    observation = environment.reset()
    stats = arrays.read_obs_stats(obs_stats, len(observation)) if obs_stats is not None else None
    with open_model(model, len(observation)) as (backend, where, record):
        console.say(f"running {model} on {where}")
        episode = roll_out(environment, observation, backend, stats, steps, quiet=quiet)
    _report(episode)
    if record is not None:
        _note_range(episode.inputs, record)


@contextlib.contextmanager
def open_model(path: Path, dim: int) -> Iterator[tuple[Backend, str, Record | None]]:
    """Give a backend for the model, what it runs on, and how the model was made where that is known.

    Raises InputError for a model that does not fit, BackendError when nothing here can run it.
    """
    if path.suffix == ".onnx":
        policy = read_policy(path)
        _check_dim(path, policy.observation_dim, dim)
        yield policy.backend(), "onnxruntime", None
    elif path.suffix == ".rknn":
        with _open_rknn(path, dim) as opened:
            yield opened
    else:
        raise InputError(f"{path}: expected a model that ends in .onnx or .rknn")


@contextlib.contextmanager
def _open_rknn(path: Path, dim: int) -> Iterator[tuple[Backend, str, Record | None]]:
    from gaitforge.rknn import record
    from gaitforge.rknn.simulator import SimulatorBackend
    from gaitforge.rknn.toolkit import Toolkit

    made = record.read(path)
    _check_dim(path, made.observation_dim, dim)
    if platform.machine() == "aarch64":
        from gaitd.backends.rknn import RknnBackend

        content = files.read_model(path, "the model")
        backend = RknnBackend(content, made.model, made.observation_dim, made.action_dim)
        with contextlib.closing(backend):
            yield backend, "the NPU", made
        return
    policy, options = record.sources(path, made)
    with Toolkit(path.with_name(f"{path.name}.log")) as toolkit:
        with console.step("Building the model for the simulator"):
            toolkit.build(policy, options)
        yield SimulatorBackend(toolkit, policy), "the toolkit's simulator (its time is not the NPU's)", made


def roll_out(
    environment: Environment,
    observation: Float32Array,
    backend: Backend,
    stats: Stats | None,
    steps: int,
    *,
    quiet: bool = True,
) -> Episode:
    """Run ``steps`` steps from an observation of a fresh episode. Raises InputError, BackendError."""
    latency, rewards, returns = np.empty(steps, np.float32), list[float](), list[float]()
    inputs = np.empty((steps, len(observation)), np.float32)
    total = 0.0
    backend.reset()
    for step in range(steps):
        start = time.perf_counter()
        inputs[step] = arrays.normalize(observation[None], stats)[0]
        action = np.array(backend.infer(inputs[step]))
        latency[step] = time.perf_counter() - start
        if not np.isfinite(action).all():
            raise InputError(f"step {step + 1}: the model's action is not finite")
        backend.commit()
        result = environment.step(action)
        observation, total = result.observation, total + result.reward
        rewards.append(result.reward)
        if not quiet:
            console.say(f"step {step + 1}: {latency[step] * 1e3:.3f} ms, reward {result.reward:.4f}")
        if result.done:
            returns.append(total)
            total = 0.0
            observation = environment.reset()
            backend.reset()
    return Episode(latency, rewards, returns, inputs)


def _report(episode: Episode) -> None:
    milliseconds = episode.latency_s * 1e3
    median, high = np.percentile(milliseconds, [50, 99])
    console.say(
        f"latency: mean {milliseconds.mean():.3f} ms, median {median:.3f} ms, 99 % below {high:.3f} ms, "
        f"largest {milliseconds.max():.3f} ms over {len(milliseconds)} steps"
    )
    rewards = np.array(episode.rewards)
    console.say(
        f"reward: mean {rewards.mean():.4f}, std {rewards.std():.4f}, min {rewards.min():.4f}, "
        f"max {rewards.max():.4f}, sum {rewards.sum():.2f}"
    )
    if episode.returns:
        console.say(f"episodes finished: {len(episode.returns)}, mean return {np.mean(episode.returns):.2f}")


def _note_range(inputs: Float32Array, record: Record) -> None:
    """Say so when the model meets what it was not calibrated for."""
    if record.input_min is None or record.input_max is None:
        return
    outside = float(((inputs < np.array(record.input_min)) | (inputs > np.array(record.input_max))).mean())
    if outside > OUTSIDE:
        console.note(
            f"{100 * outside:.0f} % of the input values are outside of what the model was calibrated with: "
            "were the calibration observations normalized as here (gaitforge calibrate --obs-stats)?"
        )


def _check_dim(path: Path, model_dim: int, dim: int) -> None:
    if model_dim != dim:
        raise InputError(f"{path} takes {model_dim} values, but the environment gives {dim}")
