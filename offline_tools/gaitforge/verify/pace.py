"""A velocity command in another unit than the trainer's: it moves a constant factor too fast or too slow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaitforge.verify.walking import DIRECTIONS, Velocity

NOTHING_ASKED = 0.1
"""A velocity command below this, m/s or rad/s, asks for nothing in that direction."""

ALIKE = 0.15
"""How far each command's factor may be from their mean, as a part of it."""

AS_ASKED = (0.77, 1.3)
"""A factor within is no other unit, but a policy that walks a little worse or better."""


def other_scale(walked: Mapping[Velocity, Velocity]) -> str:
    """Say where the robot moves by one factor faster or slower than asked, whatever it is asked; or "".

    ``walked``: for each command, the mean velocity that came of it.
    """
    found = []
    for axis, (verb, words) in enumerate(zip(("walks", "walks", "turns"), DIRECTIONS, strict=True)):
        asked = [velocity[axis] for velocity in walked if abs(velocity[axis]) >= NOTHING_ASKED]
        factors = [did[axis] / to[axis] for to, did in walked.items() if abs(to[axis]) >= NOTHING_ASKED]
        factor = float(np.mean(factors)) if len(factors) > 1 else 1.0
        if factor <= 0.0 or AS_ASKED[0] <= factor <= AS_ASKED[1]:
            continue
        if max(abs(each - factor) for each in factors) > ALIKE * factor:
            continue
        signs = {value < 0.0 for value in asked}
        where = f"{' and '.join(words)} alike" if len(signs) > 1 else words[int(signs.pop())]
        found.append(f"{verb} {factor:.2g} times as fast as asked, {where}")
    if not found:
        return ""
    return (
        f"{'; '.join(found)}: look at the scale of velocity_command in the manifest "
        "(deploy scripts multiply the joystick's values)"
    )
