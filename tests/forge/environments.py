"""Environments with reset and step, good and bad."""

from __future__ import annotations

from typing import Any

import numpy as np

DIM, ACT = 45, 12


class Base:
    action_dim = ACT

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.steps = 0

    def reset(self) -> Any:
        return self.random.standard_normal(DIM, dtype=np.float32)

    def step(self, action: np.ndarray) -> Any:
        self.steps += 1
        return self.reset(), 1.0, self.steps % 20 == 0, {}


class Gymnasium(Base):
    """The newer form: info at reset, terminated and truncated, a batch of one, observations by name."""

    class Space:
        shape = (1, ACT)

    action_space = Space()

    def reset(self) -> Any:
        return {"policy": super().reset()[None]}, {}

    def step(self, action: np.ndarray) -> Any:
        self.steps += 1
        return self.reset()[0], np.array([0.5]), np.array([False]), np.array([self.steps % 20 == 0]), {}


class Raises(Base):
    def step(self, action: np.ndarray) -> Any:
        if self.steps == 3:
            raise ValueError("the robot\nfell apart")
        return super().step(action)


class GivesNan(Base):
    def step(self, action: np.ndarray) -> Any:
        observation, *rest = super().step(action)
        observation[7] = np.nan
        return observation, *rest


class ChangesSize(Base):
    def step(self, action: np.ndarray) -> Any:
        observation, *rest = super().step(action)
        return observation[:-1], *rest


class GivesThree(Base):
    def step(self, action: np.ndarray) -> Any:
        return super().step(action)[:3]


class NanReward(Base):
    def step(self, action: np.ndarray) -> Any:
        observation, _, *rest = super().step(action)
        return observation, float("nan"), *rest


class NoStep:
    def reset(self) -> Any:
        return np.zeros(DIM)


class Strings(Base):
    def reset(self) -> Any:
        return "no numbers"


def broken() -> Any:
    raise RuntimeError("no simulator")


class Policy:
    """What --policy module:Class may be."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        return np.tanh(observation[:ACT])
