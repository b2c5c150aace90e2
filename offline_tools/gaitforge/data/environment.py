"""Environments with reset and step, of any maker, taken as ``module:factory``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array

OBSERVATION_KEYS = ("policy", "obs", "observation")
"""Where an environment with a dictionary of observations keeps the policy's."""


@dataclass(frozen=True)
class StepResult:
    """What one step gave."""

    observation: Float32Array
    reward: float
    done: bool
    """The episode ended, for whatever reason."""


class Environment:
    """Wraps an environment of the forms ``reset() -> obs`` or ``(obs, info)`` and
    ``step(action) -> (obs, reward, done, info)`` or ``(obs, reward, terminated, truncated, info)``.

    A batch of one robot and torch tensors are taken as well. Every mistake of the environment is an
    InputError that names the step.
    """

    def __init__(self, inner: Any, name: str) -> None:
        self._inner, self._name = inner, name
        self._steps = 0
        self._dim: int | None = None
        for method in ("reset", "step"):
            if not callable(getattr(inner, method, None)):
                raise InputError(f"{name} gives a {type(inner).__name__} without the method {method}")

    def reset(self) -> Float32Array:
        """Start an episode; returns the observation (dim,)."""
        answer = self._guard("reset", self._inner.reset)
        if isinstance(answer, tuple):
            answer = answer[0]
        return self._observation(answer, "reset")

    def step(self, action: Float32Array) -> StepResult:
        """Apply an action (n,)."""
        self._steps += 1
        where = f"step {self._steps}"
        answer = self._guard(where, self._inner.step, action)
        if not isinstance(answer, tuple) or len(answer) not in (4, 5):
            raise InputError(
                f"{self._name}, {where}: expected (obs, reward, done, info) or (obs, reward, terminated, "
                f"truncated, info), got {type(answer).__name__}"
            )
        observation, reward, *ended, _ = answer
        done = any(bool(np.any(_numpy(flag))) for flag in ended)
        value = np.asarray(_numpy(reward), np.float64)
        if value.size != 1 or not np.isfinite(value).all():
            raise InputError(f"{self._name}, {where}: the reward is {reward!r}, expected one finite number")
        return StepResult(self._observation(observation, where), float(value.ravel()[0]), done)

    def action_dim(self) -> int | None:
        """Length of the action, where the environment tells."""
        space = getattr(self._inner, "single_action_space", getattr(self._inner, "action_space", None))
        shape = getattr(space, "shape", None)
        if shape:
            return int(shape[-1])
        for name in ("action_dim", "act_dim", "num_actions"):
            value = getattr(self._inner, name, None)
            if isinstance(value, int):
                return value
        return None

    def _guard(self, where: str, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self._name}, {where}: raised {type(error).__name__}: {reason}") from error

    def _observation(self, value: Any, where: str) -> Float32Array:
        if isinstance(value, Mapping):
            key = next((key for key in OBSERVATION_KEYS if key in value), None)
            if key is None:
                raise InputError(
                    f"{self._name}, {where}: the observations are {', '.join(map(str, value))}; "
                    f"the policy's is expected under one of {', '.join(OBSERVATION_KEYS)}"
                )
            value = value[key]
        try:
            observation = np.array(_numpy(value), np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self._name}, {where}: the observation is no array: {error}") from error
        if observation.ndim == 2 and observation.shape[0] == 1:
            observation = observation[0]
        if observation.ndim != 1 or observation.size == 0:
            raise InputError(
                f"{self._name}, {where}: the observation has shape {observation.shape}, expected one robot's"
            )
        bad = np.flatnonzero(~np.isfinite(observation))
        if len(bad):
            raise InputError(f"{self._name}, {where}: observation value {bad[0]} is {observation[bad[0]]}")
        if self._dim is not None and len(observation) != self._dim:
            raise InputError(
                f"{self._name}, {where}: the observation has {len(observation)} values, "
                f"before it had {self._dim}"
            )
        self._dim = len(observation)
        return observation


def load_environment(name: str) -> Environment:
    """Make the environment of ``module:factory``. Raises InputError."""
    factory = load_object(name, "--env")
    try:
        inner = factory()
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"--env {name} raised {type(error).__name__}: {reason}") from error
    return Environment(inner, name)


def load_object(name: str, option: str) -> Any:
    """Import ``module:object``, also from the working directory. Raises InputError."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise InputError(f"{option} {name}: expected module:name, such as my_robot.envs:make_env")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except AttributeError as error:
        raise InputError(f"{option} {name}: the module {module_name} has no {attribute}") from error
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{option} {name}: {type(error).__name__}: {reason}") from error


def _numpy(value: Any) -> Any:
    """Turn a torch tensor, on whatever device, into numpy's; leave the rest."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value
