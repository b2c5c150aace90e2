"""How well the robot walked, and how it went down if it did, from the trace of a run."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitforge.simulate.stature import LITE3, Stature
from gaitforge.simulate.trace import Trace

Float64Array = npt.NDArray[np.float64]

DOWN_TILT_RAD = np.deg2rad(60.0)
"""A robot is down when it is tilted further, or its base lower than its stature's; it walks at a few
degrees."""

UP_TILT_RAD = np.deg2rad(20.0)
"""And up again when it is back within."""

HARD_TILT_RAD = np.deg2rad(45.0)
"""Tilting further on the way down is a hard fall, as is going faster than the stature's. Damped out of a walk
the Lite3 tilts up to 30 degrees."""

DESCENT_S = (0.8, 1.0)
"""The way down is judged from this long before the robot counts as down until this long after."""

CHORD_S = 0.5
"""Distance is summed over straight pieces of this duration, so that the trunk's sway adds nothing."""

STICK_SPEED = (0.8, 0.8, 0.8)
"""m/s, m/s, rad/s that a full normalized stick asks of the Lite3 policy."""


class Outcome(str, enum.Enum):
    """How a run ended, from the hand-over on."""

    NEVER_STOOD = "never stood up"
    KEPT_UP = "kept walking"
    LAID_DOWN = "lay down softly"
    FELL = "fell"


@dataclass(frozen=True)
class Descent:
    """One time that the robot went down."""

    time_s: float
    """After the hand-over."""
    speed_m_per_s: float
    """Largest downward speed of the trunk on the way."""
    tilt_deg: float
    """Largest tilt on the way."""
    damped: bool
    """The motors were damped: it was told to let go."""
    hard: bool
    """Too fast or too tilted for lying down."""

    @property
    def fall(self) -> bool:
        """Whether it is a fall: it went down hard, or while a controller meant to keep it up."""
        return self.hard or not self.damped


@dataclass(frozen=True)
class Measures:
    """A run in numbers, from the hand-over to its end."""

    outcome: Outcome
    duration_s: float
    distance_m: float
    """Length of the path, see CHORD_S."""
    displacement_m: float
    """Straight line from the hand-over's place to the last one."""
    falls: int
    descents: tuple[Descent, ...]
    max_tilt_deg: float
    final_tilt_deg: float
    height_m: tuple[float, float]
    """Lowest and highest of the base above the ground."""
    velocity_rmse_m_per_s: float
    """Of the trunk's horizontal velocity in its heading's frame against the command, while it was up."""
    yaw_rate_bias_rad_per_s: float
    """Mean turn rate less the commanded one, while it was up."""


def measure(
    trace: Trace, full_command: tuple[float, float, float] = (1.0, 1.0, 1.0), stature: Stature = LITE3
) -> Measures:
    """Judge a run of a robot of this stature.

    ``full_command`` is what a command of 1 asks for [m/s, m/s, rad/s]: ones for commands in SI units,
    STICK_SPEED for the Lite3 policy's normalized stick.
    """
    walking = trace.after_handover()
    if not walking.any():
        return Measures(Outcome.NEVER_STOOD, 0.0, 0.0, 0.0, 0, (), 0.0, 0.0, (0.0, 0.0), 0.0, 0.0)
    time = trace.time_s[walking] - trace.handover_s
    position = trace.base_position[walking]
    tilt = tilts_rad(trace.base_orientation[walking])
    damped = np.asarray(trace.leg_stiffness()[walking] == 0.0)
    height = position[:, 2] - trace.ground_m[walking]
    descents = _descents(time, height, trace.base_velocity[walking, 2], tilt, damped, stature)
    falls = sum(descent.fall for descent in descents)
    up = (height > stature.down_m) & (tilt < DOWN_TILT_RAD) & ~damped
    asked = trace.velocity_command[walking] * full_command
    rmse, bias = _tracking(trace.base_velocity[walking], trace.base_orientation[walking],
                           trace.base_angular_velocity[walking], asked, up)  # fmt: skip
    return Measures(
        outcome=Outcome.FELL if falls else Outcome.LAID_DOWN if descents else Outcome.KEPT_UP,
        duration_s=float(time[-1]),
        distance_m=_path_length_m(time, position[:, :2]),
        displacement_m=float(np.linalg.norm(position[-1, :2] - position[0, :2])),
        falls=falls,
        descents=descents,
        max_tilt_deg=float(np.rad2deg(tilt.max())),
        final_tilt_deg=float(np.rad2deg(tilt[-1])),
        height_m=(float(height.min()), float(height.max())),
        velocity_rmse_m_per_s=rmse,
        yaw_rate_bias_rad_per_s=bias,
    )


def tilts_rad(orientation: Float64Array) -> Float64Array:
    """(N,) angle of the base's upward axis from the vertical, from quaternions (N, 4) w, x, y, z."""
    x, y = orientation[:, 1], orientation[:, 2]
    return np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0))


def _descents(
    time: Float64Array,
    height: Float64Array,
    speed: Float64Array,
    tilt: Float64Array,
    damped: npt.NDArray[np.bool_],
    stature: Stature,
) -> tuple[Descent, ...]:
    descents: list[Descent] = []
    is_down = False
    for index, now in enumerate(time):
        if is_down:
            is_down = not (height[index] > stature.up_m and tilt[index] < UP_TILT_RAD)
        elif height[index] < stature.down_m or tilt[index] > DOWN_TILT_RAD:
            is_down = True
            way = (time > now - DESCENT_S[0]) & (time < now + DESCENT_S[1])
            fastest, furthest = max(0.0, -float(speed[way].min())), float(tilt[way].max())
            hard = fastest > stature.hard_m_per_s or furthest > HARD_TILT_RAD
            descents.append(
                Descent(float(now), fastest, float(np.rad2deg(furthest)), bool(damped[index]), bool(hard))
            )
    return tuple(descents)


def _path_length_m(time: Float64Array, position: Float64Array) -> float:
    corners = np.append(np.arange(time[0], time[-1], CHORD_S), time[-1])
    path = np.column_stack([np.interp(corners, time, position[:, axis]) for axis in (0, 1)])
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def _tracking(
    velocity: Float64Array,
    orientation: Float64Array,
    angular_velocity: Float64Array,
    asked: Float64Array,
    up: npt.NDArray[np.bool_],
) -> tuple[float, float]:
    if not up.any():
        return 0.0, 0.0
    error = planar_velocity(velocity[up], orientation[up], angular_velocity[up]) - asked[up]
    return float(np.sqrt((error[:, :2] ** 2).sum(axis=1).mean())), float(error[:, 2].mean())


def planar_velocity(
    velocity: Float64Array, orientation: Float64Array, angular_velocity: Float64Array
) -> Float64Array:
    """(N, 3) forward and left [m/s] in the heading's frame, and the turn rate to the left [rad/s].

    From the trunk's velocity (N, 3) in the world frame, quaternion (N, 4) w, x, y, z and angular velocity
    (N, 3) in its own frame; while the trunk is level, the turn rate is the latter's z.
    """
    w, x, y, z = orientation.T
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    forward = np.cos(yaw) * velocity[:, 0] + np.sin(yaw) * velocity[:, 1]
    left = -np.sin(yaw) * velocity[:, 0] + np.cos(yaw) * velocity[:, 1]
    return np.column_stack((forward, left, angular_velocity[:, 2]))
