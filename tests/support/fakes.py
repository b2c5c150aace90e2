"""Backends that do what backends must not."""

from __future__ import annotations

import time

import numpy as np

from gaitd.backends.base import Backend
from gaitd.errors import BackendError


class Honest:
    """Base of the fakes: answers as the backend that it wraps."""

    def __init__(self, real: Backend) -> None:
        self.real = real

    def infer(self, observation: np.ndarray) -> np.ndarray:
        return self.real.infer(observation)

    def commit(self) -> None:
        self.real.commit()

    def reset(self) -> None:
        self.real.reset()

    def versions(self) -> dict[str, str]:
        return self.real.versions()

    def memory(self) -> dict[str, int]:
        return self.real.memory()

    def close(self) -> None:
        self.real.close()


class Nan(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        return np.full_like(super().infer(observation), np.nan)


class Constant(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        return np.full_like(super().infer(observation), 0.25)


class Huge(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        return np.full_like(super().infer(observation), 1000.0)


class Slow(Honest):
    """Later than the period, sooner than the deadline."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        time.sleep(0.02)
        return super().infer(observation)


class Hanging(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        time.sleep(3600)
        return super().infer(observation)


class Failing(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        raise BackendError("the NPU said no")


class Crashing(Honest):
    """An error that nobody foresaw."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("boom")


class Wrong(Honest):
    """A little off, for one joint."""

    def infer(self, observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = super().infer(observation).copy()
        action[1] += 0.01
        return action


class Short(Honest):
    def infer(self, observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = super().infer(observation)[:-1]
        return action


FAKES: dict[str, type[Honest]] = {
    fake.__name__.lower(): fake
    for fake in (Honest, Nan, Constant, Huge, Slow, Hanging, Failing, Crashing, Wrong, Short)
}
