"""From which height on a robot counts as down, and how fast is hard."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Stature:
    """Bounds for a robot of one height; a base's height is above the ground below it."""

    standing_m: float
    """Height of the base in the default pose."""
    stood_m: float
    """Above this it has stood up."""
    down_m: float
    """A robot is down when its base is lower."""
    up_m: float
    """And up again when it is back above."""
    hard_m_per_s: float
    """Going down faster is a hard fall."""

    @staticmethod
    def of(standing_m: float) -> Stature:
        """The Lite3's bounds for a robot of another height; the speed as that of falling, by the root."""
        size = standing_m / LITE3.standing_m
        return Stature(
            standing_m=standing_m,
            stood_m=LITE3.stood_m * size,
            down_m=LITE3.down_m * size,
            up_m=LITE3.up_m * size,
            hard_m_per_s=LITE3.hard_m_per_s * math.sqrt(size),
        )


LITE3 = Stature(standing_m=0.33, stood_m=0.28, down_m=0.18, up_m=0.25, hard_m_per_s=1.3)
"""It walks at 0.31 to 0.34 m. Damped out of a walk it sinks with up to 1 m/s."""
