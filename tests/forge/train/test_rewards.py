"""What each reward pays for, by numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitforge.train.config import Gait
from gaitforge.train.gait import Feet
from gaitforge.train.rewards import TERMS, UNITS, Motion, check_weights, reward

STILL = Motion(
    command=np.zeros((2, 3)),
    velocity=np.zeros((2, 3)),
    angular_velocity=np.zeros((2, 3)),
    gravity=np.tile([0.0, 0.0, -1.0], (2, 1)),
    height_error=np.zeros(2),
    pose_error=np.zeros((2, 3)),
    joint_velocity=np.zeros((2, 3)),
    joint_acceleration=np.zeros((2, 3)),
    torque=np.zeros((2, 3)),
    action_change=np.zeros((2, 3)),
    action_bend=np.zeros((2, 3)),
    contact=np.ones((2, 4), np.bool_),
    foot_height=np.zeros((2, 4)),
    foot_speed=np.zeros((2, 4)),
    terminal_height=np.full((2, 2), 0.3),
    standing=np.ones(2, np.bool_),
    stance=np.ones((2, 4), np.bool_),
    swing_height=np.zeros((2, 4)),
    abduction=np.array([True, False, False]),
    tracking_width=0.25,
)
MOVED = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
FIRST_FOOT = np.array([[True, False, False, False]] * 2)

CASES = {
    "velocity": ({"command": np.array([[0.3, 0.4, 9.0]] * 2)}, np.exp(-1.0)),
    "velocity_error": ({"velocity": MOVED}, 5.0),
    "turning": ({"command": np.array([[9.0, 9.0, 0.5]] * 2)}, np.exp(-1.0)),
    "contact": ({"stance": FIRST_FOOT}, 0.25),
    "swing": ({"stance": FIRST_FOOT, "swing_height": np.full((2, 4), 0.07)}, 3 * 0.07),
    "bobbing": ({"velocity": MOVED}, 9.0),
    "rocking": ({"angular_velocity": MOVED}, 5.0),
    "tilt": ({"gravity": MOVED}, 5.0),
    "height": ({"height_error": np.array([0.1, 0.0])}, 0.01),
    "torque": ({"torque": MOVED}, 14.0),
    "action_change": ({"action_change": MOVED}, 14.0),
    "action_bend": ({"action_bend": MOVED}, 14.0),
    "acceleration": ({"joint_acceleration": MOVED}, 14.0),
    "slip": ({"foot_speed": np.full((2, 4), 2.0), "contact": FIRST_FOOT}, 4.0),
    "pose": ({"pose_error": MOVED}, 14.0),
    "abduction": ({"pose_error": MOVED}, 1.0),
    "low": ({"terminal_height": np.array([[0.04, 0.06]] * 2)}, 1.0),
    "still_pose": ({"pose_error": MOVED}, 14.0),
    "still_joints": ({"joint_velocity": MOVED}, 14.0),
    "still_feet": ({"contact": FIRST_FOOT}, 3.0),
}


@pytest.mark.parametrize("name", TERMS)
def test_term(name: str) -> None:
    changes, expected = CASES[name]
    assert TERMS[name](replace(STILL, **changes))[0] == pytest.approx(expected)
    assert UNITS[name]
    assert TERMS[name].__doc__


def test_terms_of_standing_count_only_where_it_is_to_stand() -> None:
    moving = replace(
        STILL,
        standing=np.array([False, True]),
        joint_velocity=np.ones((2, 3)),
        contact=FIRST_FOOT,
    )
    np.testing.assert_array_equal(TERMS["still_joints"](moving), [0.0, 3.0])
    np.testing.assert_array_equal(TERMS["still_feet"](moving), [0.0, 3.0])


def test_a_step_is_paid_by_its_length_and_never_below_zero() -> None:
    motion = replace(STILL, height_error=np.array([1.0, 0.0]))
    total, means = reward(motion, {"velocity": 2.0, "height": -20.0}, 0.02)
    np.testing.assert_allclose(total, [0.0, 0.04])
    assert means == pytest.approx({"velocity": 2.0, "height": -10.0})


def test_an_unknown_reward_and_one_without_a_clock_are_refused() -> None:
    with pytest.raises(InputError, match="'speed' is unknown; there are velocity"):
        check_weights({"speed": 1.0}, clocked=True)
    with pytest.raises(InputError, match="swing needs a gait"):
        check_weights({"swing": 1.0}, clocked=False)


def test_a_trot_moves_diagonal_feet_together_and_stands_when_it_is_asked_to() -> None:
    feet = Feet(Gait(offsets=[0.0, 0.5, 0.5, 0.0], duty=0.6, swing_height_m=0.1), 0.5, 4)
    phase = np.array([0.0, 0.8, 0.8]) * 2 * np.pi
    stance, height = feet.plan(phase, np.array([False, False, True]))
    np.testing.assert_array_equal(stance, [[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(height[1], [0.1, 0.0, 0.0, 0.1])
    assert not height[[0, 2]].any()
