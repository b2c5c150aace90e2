"""A robot that moves by one factor too fast or too slow is told so, and nobody else is."""

from __future__ import annotations

import pytest

from gaitforge.verify.pace import other_scale
from gaitforge.verify.walking import Velocity

TWICE = {
    (1.0, 0.0, 0.0): (1.96, 0.02, 0.0),
    (0.5, 0.0, 0.0): (0.94, 0.0, 0.01),
    (-0.5, 0.0, 0.0): (-0.99, 0.0, 0.0),
    (0.0, 0.5, 0.0): (0.01, 0.52, 0.0),
    (0.0, -0.5, 0.0): (0.01, -0.5, 0.0),
    (0.0, 0.0, 0.7): (0.0, 0.0, 0.32),
    (0.0, 0.0, -0.7): (0.0, 0.0, -0.33),
    (0.0, 0.0, 0.0): (0.2, 0.1, 0.0),
}


def test_a_constant_factor_is_named_with_its_directions() -> None:
    assert other_scale(TWICE) == (
        "walks 1.9 times as fast as asked, forward and backward alike; "
        "turns 0.46 times as fast as asked, to the left and to the right alike: "
        "look at the scale of velocity_command in the manifest "
        "(deploy scripts multiply the joystick's values)"
    )


def test_a_direction_that_was_not_asked_for_is_not_named() -> None:
    said = other_scale({(0.4, 0.0, 0.0): (0.8, 0.0, 0.0), (0.8, 0.0, 0.0): (1.6, 0.0, 0.0)})
    assert said.startswith("walks 2 times as fast as asked, forward: look at")


@pytest.mark.parametrize(
    "walked",
    [
        {},
        {(1.0, 0.0, 0.0): (2.0, 0.0, 0.0)},  # one command says nothing of another
        {(1.0, 0.0, 0.0): (1.2, 0.0, 0.0), (0.5, 0.0, 0.0): (0.6, 0.0, 0.0)},  # near enough
        {(1.0, 0.0, 0.0): (0.5, 0.0, 0.0), (0.5, 0.0, 0.0): (0.1, 0.0, 0.0)},  # no factor
        {(1.0, 0.0, 0.0): (-0.5, 0.0, 0.0), (0.5, 0.0, 0.0): (-0.25, 0.0, 0.0)},  # the wrong way
        {(1.0, 0.0, 0.0): (0.0, 0.0, 0.0), (0.5, 0.0, 0.0): (0.0, 0.0, 0.0)},  # it stands
        {(0.05, 0.0, 0.0): (0.1, 0.0, 0.0), (0.02, 0.0, 0.0): (0.04, 0.0, 0.0)},  # nothing asked
    ],
)
def test_anything_else_is_no_other_scale(walked: dict[Velocity, Velocity]) -> None:
    assert other_scale(walked) == ""
