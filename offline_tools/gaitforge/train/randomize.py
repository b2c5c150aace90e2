"""What differs between the robots of a training: drawn once for each, from its own generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitforge.train.batch import Batch
from gaitforge.train.config import Randomization
from gaitforge.train.robot import Robot

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """One value for each of n robots."""

    friction: Float64Array
    payload_kg: Float64Array
    strength: Float64Array
    delay_steps: npt.NDArray[np.intp]
    """Physics steps until an answer reaches the motors."""

    def privileged(self) -> Float64Array:
        """(n, 3) of order 1: what the critic is told."""
        return np.stack([self.friction - 1.0, self.payload_kg / 2.0, (self.strength - 1.0) * 10.0], axis=1)


def randomize(batch: Batch, robot: Robot, ranges: Randomization, rng: np.random.Generator) -> Drawn:
    """Give each robot of the batch parameters of its own."""
    count = batch.nsim
    drawn = Drawn(
        friction=rng.uniform(*ranges.friction, count),
        payload_kg=rng.uniform(*ranges.payload_kg, count),
        strength=rng.uniform(*ranges.strength, count),
        delay_steps=np.rint(rng.uniform(*ranges.delay_s, count) / robot.model.opt.timestep).astype(np.intp),
    )
    batch.expand("geom_friction")[:, robot.floor, 0] = drawn.friction
    mass = batch.expand("body_mass")
    inertia = batch.expand("body_inertia")
    heavier = 1.0 + drawn.payload_kg / mass[:, robot.base]
    mass[:, robot.base] *= heavier
    inertia[:, robot.base] *= heavier[:, None]
    shift = rng.uniform(-ranges.centre_m, ranges.centre_m, (count, 3))
    batch.expand("body_ipos")[:, robot.base] += shift
    batch.expand("actuator_gainprm")[:, :, 0] *= drawn.strength[:, None]
    bias = batch.expand("actuator_biasprm")
    bias[:, :, 1:3] *= drawn.strength[:, None, None]
    damping = rng.uniform(*ranges.damping, count)[:, None]
    bias[:, :, 2] *= damping
    # A motor that follows a velocity is all damping; unloaded, it turns as fast as it is told.
    batch.expand("actuator_gainprm")[:, robot.follows_velocity, 0] *= damping
    batch.set_const()
    return drawn
