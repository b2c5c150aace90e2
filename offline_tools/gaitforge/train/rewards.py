"""What the training pays for: each term has a name, a unit and a meaning, and a weight in the settings.

A step's reward is max(0, sum of weight * term) * control period, less the penalty of a fall.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Motion:
    """What n robots with j joints and f feet did in one control step."""

    command: Array
    """(n, 3) m/s, m/s, rad/s: forward, left, turn left."""
    velocity: Array
    """(n, 3) m/s of the base, in its frame."""
    angular_velocity: Array
    """(n, 3) rad/s of the base, in its frame."""
    gravity: Array
    """(n, 3) the world's unit gravity in the base's frame."""
    height_error: Array
    """(n,) m, of the base above the floor."""
    pose_error: Array
    """(n, j) rad from the default pose; 0 of joints that turn without end."""
    joint_velocity: Array
    """(n, j) rad/s."""
    joint_acceleration: Array
    """(n, j) rad/s^2, over the control step."""
    torque: Array
    """(n, j) Nm, as the motors gave it last."""
    action_change: Array
    """(n, j) from the step before."""
    action_bend: Array
    """(n, j) change of the change."""
    contact: Mask
    """(n, f) which feet are on the floor."""
    foot_height: Array
    """(n, f) m, of the soles above the floor."""
    foot_speed: Array
    """(n, f) m/s along the floor."""
    terminal_height: Array
    """(n, t) m above the floor, of what must not touch it."""
    standing: Mask
    """(n,) robots that are asked to stand."""
    stance: Mask
    """(n, f) which feet the gait has on the floor; all of them where it is to stand."""
    swing_height: Array
    """(n, f) m that the gait lifts them now."""
    abduction: Mask
    """(j,) joints that turn about the robot's length."""
    tracking_width: float
    """(m/s)^2."""


Term = Callable[[Motion], Array]

UNITS: dict[str, str] = {}
"""Of each term, by name."""
TERMS: dict[str, Term] = {}
CLOCKED: set[str] = set()
"""Terms that need a gait and a clock_phase."""


def _term(unit: str, clocked: bool = False) -> Callable[[Term], Term]:
    def register(function: Term) -> Term:
        TERMS[function.__name__] = function
        UNITS[function.__name__] = unit
        if clocked:
            CLOCKED.add(function.__name__)
        return function

    return register


@_term("1")
def velocity(motion: Motion) -> Array:
    """How well it moves as commanded along the floor: exp(-error^2 / tracking_width), 1 at best."""
    error = motion.command[:, :2] - motion.velocity[:, :2]
    return np.asarray(np.exp(-_sum_of_squares(error) / motion.tracking_width))


@_term("(m/s)^2")
def velocity_error(motion: Motion) -> Array:
    """The squared error along the floor: what it still costs where ``velocity`` is nearly 0, after a push."""
    return _sum_of_squares(motion.command[:, :2] - motion.velocity[:, :2])


@_term("1")
def turning(motion: Motion) -> Array:
    """How well it turns as commanded: exp(-error^2 / 0.25 (rad/s)^2), 1 at best."""
    error = motion.command[:, 2] - motion.angular_velocity[:, 2]
    return np.asarray(np.exp(-(error**2) / 0.25))


@_term("1", clocked=True)
def contact(motion: Motion) -> Array:
    """Part of the feet that are on the floor, or off it, as the gait wants them."""
    return np.asarray((motion.contact == motion.stance).mean(axis=1))


@_term("m", clocked=True)
def swing(motion: Motion) -> Array:
    """How far the feet that swing are from the height that the gait lifts them to, all together."""
    return np.asarray((np.abs(motion.foot_height - motion.swing_height) * ~motion.stance).sum(axis=1))


@_term("(m/s)^2")
def bobbing(motion: Motion) -> Array:
    """The base's velocity up and down."""
    return motion.velocity[:, 2] ** 2


@_term("(rad/s)^2")
def rocking(motion: Motion) -> Array:
    """The base's roll and pitch rates."""
    return _sum_of_squares(motion.angular_velocity[:, :2])


@_term("1")
def tilt(motion: Motion) -> Array:
    """The squared sine of the base's tilt."""
    return _sum_of_squares(motion.gravity[:, :2])


@_term("m^2")
def height(motion: Motion) -> Array:
    """The base's distance from its wanted height."""
    return motion.height_error**2


@_term("(Nm)^2")
def torque(motion: Motion) -> Array:
    """The motors' torques: heat."""
    return _sum_of_squares(motion.torque)


@_term("1")
def action_change(motion: Motion) -> Array:
    """Actions that differ from the step before: trembling."""
    return _sum_of_squares(motion.action_change)


@_term("1")
def action_bend(motion: Motion) -> Array:
    """Actions whose change differs from the step before: jerks."""
    return _sum_of_squares(motion.action_bend)


@_term("(rad/s^2)^2")
def acceleration(motion: Motion) -> Array:
    """The joints' accelerations."""
    return _sum_of_squares(motion.joint_acceleration)


@_term("(m/s)^2")
def slip(motion: Motion) -> Array:
    """The speed of feet that are on the floor."""
    return np.asarray((motion.foot_speed**2 * motion.contact).sum(axis=1))


@_term("rad^2")
def pose(motion: Motion) -> Array:
    """All joints' distance from the default pose."""
    return _sum_of_squares(motion.pose_error)


@_term("rad^2")
def abduction(motion: Motion) -> Array:
    """The distance from the default pose of the joints that turn about the robot's length."""
    return _sum_of_squares(motion.pose_error[:, motion.abduction])


@_term("1")
def low(motion: Motion) -> Array:
    """Number of parts within 5 cm of the floor that must not touch it."""
    return np.asarray(np.count_nonzero(motion.terminal_height < 0.05, axis=1).astype(np.float64))


@_term("rad^2")
def still_pose(motion: Motion) -> Array:
    """Asked to stand: the joints' distance from the default pose."""
    return _sum_of_squares(motion.pose_error) * motion.standing


@_term("(rad/s)^2")
def still_joints(motion: Motion) -> Array:
    """Asked to stand: the joints' velocities."""
    return _sum_of_squares(motion.joint_velocity) * motion.standing


@_term("1")
def still_feet(motion: Motion) -> Array:
    """Asked to stand: number of feet off the floor."""
    return np.asarray(np.count_nonzero(~motion.contact, axis=1) * motion.standing, np.float64)


def check_weights(weights: Mapping[str, float], clocked: bool) -> None:
    """Raise InputError for a name that is no term, or a term that the training has no clock for."""
    for name in weights:
        if name not in TERMS:
            raise InputError(f"rewards: {name!r} is unknown; there are {', '.join(TERMS)}")
        if name in CLOCKED and not clocked:
            raise InputError(
                f"rewards: {name} needs a gait in the settings, and a clock_phase in the manifest's terms"
            )


def reward(motion: Motion, weights: Mapping[str, float], period_s: float) -> tuple[Array, dict[str, float]]:
    """The step's reward (n,), before falls, and each weighted term's mean over the robots, a second."""
    total = np.zeros(len(motion.command))
    means = {}
    for name, weight in weights.items():
        part = weight * TERMS[name](motion)
        means[name] = float(part.mean())
        total += part
    return np.maximum(total, 0.0) * period_s, means


def _sum_of_squares(values: Array) -> Array:
    result: Array = np.einsum("ij,ij->i", values, values)
    return result
