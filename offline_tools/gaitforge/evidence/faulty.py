"""Policies with something wrong in them, for closed loops: each wraps the real one's ``infer``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from gaitd.policy.manifest import Float32Array
from gaitforge.simulate.direct import Infer

Spoil: TypeAlias = Callable[[Float32Array], Float32Array]
"""A raw action (n,) to the one that comes out instead."""


class StepWise:
    """Answers as ``infer`` does, except in the control steps for which ``wrong`` says otherwise."""

    def __init__(self, infer: Infer, wrong: Callable[[int], bool], spoil: Spoil) -> None:
        self._infer = infer
        self._wrong = wrong
        self._spoil = spoil
        self._step = -1

    def __call__(self, observation: Float32Array) -> Float32Array:
        """One control step."""
        self._step += 1
        action = np.array(self._infer(observation))
        return self._spoil(action) if self._wrong(self._step) else action


class Repeating:
    """Answers anew only in the control steps for which ``fresh`` says so; otherwise the last answer again.

    So what was held is also what the policy sees as its last action.
    """

    def __init__(self, infer: Infer, fresh: Callable[[int], bool]) -> None:
        self._infer = infer
        self._fresh = fresh
        self._step = -1
        self._last: Float32Array | None = None

    def __call__(self, observation: Float32Array) -> Float32Array:
        """One control step."""
        self._step += 1
        if self._last is None or self._fresh(self._step):
            self._last = np.array(self._infer(observation))
        return self._last


def one_joint(joint: int, value: float) -> Spoil:
    """One joint of the action has this value."""

    def spoil(action: Float32Array) -> Float32Array:
        action[joint] = value
        return action

    return spoil


def every_joint(value: float) -> Spoil:
    """Each joint of the action has this value."""
    return lambda action: np.full_like(action, value)


def sign_flip(action: Float32Array) -> Float32Array:
    """The action with its sign turned round."""
    return -action


def swapped_legs(action: Float32Array) -> Float32Array:
    """Left and right legs changed places, front and hind: a wrong joint order."""
    return action[[3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]]
