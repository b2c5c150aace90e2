"""How runs are judged, on traces made by hand."""

import dataclasses

import numpy as np
import pytest

from gaitforge.simulate.measure import Outcome, measure
from gaitforge.simulate.report import summary
from gaitforge.simulate.trace import Trace

RATE_HZ = 250.0


def walk(seconds: float = 10.0, speed: float = 0.8, handover_s: float = 0.0) -> Trace:
    """A level robot that glides straight ahead at a constant speed."""
    time = np.arange(0.0, seconds, 1.0 / RATE_HZ)
    count = len(time)
    return Trace(
        time_s=time,
        handover_s=np.array(handover_s),
        base_position=np.column_stack((speed * time, np.zeros(count), np.full(count, 0.33))),
        base_orientation=np.tile((1.0, 0.0, 0.0, 0.0), (count, 1)),
        ground_m=np.zeros(count),
        base_velocity=np.tile((speed, 0.0, 0.0), (count, 1)),
        base_angular_velocity=np.zeros((count, 3)),
        joint_position=np.zeros((count, 12)),
        joint_velocity=np.zeros((count, 12)),
        joint_torque=np.zeros((count, 12)),
        joint_target=np.zeros((count, 12)),
        velocity_target=np.zeros((count, 12)),
        stiffness=np.full((count, 12), 30.0),
        velocity_command=np.tile((speed, 0.0, 0.0), (count, 1)),
        rolls=np.zeros(12, np.bool_),
    )


def sink(trace: Trace, speed: float, tilt_deg: float = 0.0, damped: bool = True) -> Trace:
    """The same, but from 5 s on the trunk goes down to 0.06 m with that speed and tilt."""
    down = trace.time_s >= 5.0
    position, velocity = trace.base_position.copy(), trace.base_velocity.copy()
    position[down, 2] = np.maximum(0.06, 0.33 - speed * (trace.time_s[down] - 5.0))
    velocity[down & (position[:, 2] > 0.06), 2] = -speed
    orientation, stiffness = trace.base_orientation.copy(), trace.stiffness.copy()
    half = np.deg2rad(tilt_deg) / 2.0
    orientation[down] = (np.cos(half), 0.0, np.sin(half), 0.0)
    if damped:
        stiffness[down] = 0.0
    return dataclasses.replace(
        trace,
        base_position=position,
        base_velocity=velocity,
        base_orientation=orientation,
        stiffness=stiffness,
    )


def test_a_straight_walk():
    measures = measure(walk())
    assert measures.outcome is Outcome.KEPT_UP
    assert measures.distance_m == pytest.approx(8.0, abs=0.01)
    assert measures.displacement_m == pytest.approx(8.0, abs=0.01)
    assert measures.velocity_rmse_m_per_s == pytest.approx(0.0)
    assert measures.falls == 0


def test_only_what_comes_after_the_hand_over_counts():
    assert measure(walk(handover_s=5.0)).distance_m == pytest.approx(4.0, abs=0.01)


def test_sway_adds_nothing_to_the_distance():
    trace = walk()
    position = trace.base_position.copy()
    position[:, 1] += 0.03 * np.sin(2 * np.pi * 2.0 * trace.time_s)
    assert measure(dataclasses.replace(trace, base_position=position)).distance_m == pytest.approx(
        8.0, abs=0.05
    )


def test_distance_follows_a_circle():
    trace = walk(speed=0.0)
    angle = 2 * np.pi * trace.time_s / 10.0
    position = np.column_stack((np.cos(angle), np.sin(angle), np.full(len(angle), 0.33)))
    measures = measure(dataclasses.replace(trace, base_position=position))
    assert measures.distance_m == pytest.approx(2 * np.pi, rel=0.01)
    assert measures.displacement_m < 0.1


def test_velocity_error_is_against_what_a_full_stick_asks_for():
    trace = dataclasses.replace(walk(speed=0.8), velocity_command=np.tile((1.0, 0.0, 0.0), (2500, 1)))
    assert measure(trace, (0.8, 0.8, 0.8)).velocity_rmse_m_per_s == pytest.approx(0.0)
    assert measure(trace).velocity_rmse_m_per_s == pytest.approx(0.2)


def test_yaw_rate_bias_is_signed():
    trace = walk()
    angular = trace.base_angular_velocity.copy()
    angular[:, 2] = -0.1
    biased = dataclasses.replace(trace, base_angular_velocity=angular)
    assert measure(biased).yaw_rate_bias_rad_per_s == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("speed", "tilt_deg", "damped", "outcome"),
    [
        (0.6, 10.0, True, Outcome.LAID_DOWN),
        (1.0, 30.0, True, Outcome.LAID_DOWN),
        (0.6, 10.0, False, Outcome.FELL),  # nobody let go: a controller lost it
        (2.0, 10.0, True, Outcome.FELL),
        (0.6, 80.0, True, Outcome.FELL),
    ],
)
def test_ways_down(speed, tilt_deg, damped, outcome):
    measures = measure(sink(walk(), speed, tilt_deg, damped))
    assert measures.outcome is outcome
    assert measures.falls == (outcome is Outcome.FELL)
    (descent,) = measures.descents
    assert 5.0 <= descent.time_s < 5.6
    assert descent.speed_m_per_s == pytest.approx(speed)
    assert descent.tilt_deg == pytest.approx(tilt_deg, abs=0.01)


def test_getting_up_and_falling_again_are_two_falls():
    trace = walk()
    position = trace.base_position.copy()
    for start in (2.0, 6.0):
        position[(trace.time_s > start) & (trace.time_s < start + 2.0), 2] = 0.1
    assert measure(dataclasses.replace(trace, base_position=position)).falls == 2


def test_tipping_over_where_it_lies_is_no_fall_but_is_said():
    trace = sink(walk(), speed=0.6)
    orientation = trace.base_orientation.copy()
    half = np.deg2rad(80.0) / 2.0
    orientation[trace.time_s > 8.0] = (np.cos(half), np.sin(half), 0.0, 0.0)
    measures = measure(dataclasses.replace(trace, base_orientation=orientation))
    assert (measures.outcome, measures.falls) == (Outcome.LAID_DOWN, 0)
    assert "at the end it lies on its side, tilt 80 deg; it was down before" in summary(measures)
    assert "on its side" not in summary(measure(sink(walk(), speed=0.6)))
    fell = summary(measure(sink(walk(), speed=0.6, tilt_deg=80.0)))
    assert fell.endswith("at the end it lies on its side, tilt 80 deg")


def test_a_robot_that_never_stood():
    measures = measure(walk(handover_s=float("nan")))
    assert measures.outcome is Outcome.NEVER_STOOD
    assert measures.distance_m == 0.0


def test_a_trace_survives_its_file(tmp_path):
    trace = walk(seconds=0.1)
    path = tmp_path / "trace.npz"
    trace.save(path)
    for field in dataclasses.fields(Trace):
        np.testing.assert_array_equal(getattr(Trace.load(path), field.name), getattr(trace, field.name))
