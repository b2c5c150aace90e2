"""When the feet should stand and when they should swing."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitforge.train.config import Gait

Float64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Feet:
    """The gait on the policy's clock; without one, feet may do as they like."""

    def __init__(self, gait: Gait | None, period_s: float, count: int) -> None:
        """Raises InputError when the gait has no clock, or is not for ``count`` feet."""
        if gait is not None and math.isinf(period_s):
            raise InputError("gait: the manifest's observation has no clock_phase to follow; leave gait out")
        if gait is not None and len(gait.offsets) != count:
            raise InputError(f"gait.offsets: expected {count}, one a foot, got {len(gait.offsets)}")
        self._gait = gait
        self._count = count

    @property
    def clocked(self) -> bool:
        """Whether there is a gait to follow."""
        return self._gait is not None

    def plan(self, phase: Float64Array, standing: Mask) -> tuple[Mask, Float64Array]:
        """Which feet stand, and how high [m] the others are lifted, (n, f) each, at the phases (n,) rad.

        Where ``standing`` (n,), all feet stand.
        """
        if self._gait is None:
            shape = (len(phase), self._count)
            return np.ones(shape, np.bool_), np.zeros(shape)
        part = (phase[:, None] / (2.0 * np.pi) + np.array(self._gait.offsets)) % 1.0
        stance = (part < self._gait.duty) | standing[:, None]
        swung = (part - self._gait.duty) / (1.0 - self._gait.duty)
        return stance, np.where(stance, 0.0, self._gait.swing_height_m * np.sin(np.pi * swung))
