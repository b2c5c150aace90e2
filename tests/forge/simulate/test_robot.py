"""The simulated robot's physics, motors and sensors."""

import numpy as np
import pytest

from gaitforge.simulate.body import LYING_RAD, STANDING_RAD
from gaitforge.simulate.measure import Outcome, measure
from gaitforge.simulate.model import TORQUE_LIMITS_NM
from gaitforge.simulate.robot import (
    STAND_UP_S,
    MotorCommand,
    Robot,
    stand_up_command,
    tilt_rad,
)
from gaitforge.simulate.trace import Recorder


def stand_up(robot: Robot) -> None:
    start = robot.read().joint_position
    for _ in range(round(STAND_UP_S * 1000)):
        robot.command = stand_up_command(start, robot.time_s)
        robot.step()


def test_lies_still_until_asked():
    robot = Robot()
    robot.step(1000)
    assert robot.height_m < 0.15
    assert np.abs(robot.read().joint_velocity).max() < 0.2


def test_stands_up_and_keeps_standing():
    robot = Robot()
    stand_up(robot)
    place = robot.data.qpos[:2].copy()
    robot.step(5000)
    assert 0.31 < robot.height_m < 0.35
    assert robot.tilt_rad < np.deg2rad(2.0)
    assert np.linalg.norm(robot.data.qpos[:2] - place) < 0.02


def test_damping_lays_a_standing_robot_down_softly():
    robot = Robot()
    recorder = Recorder(robot)
    stand_up(robot)
    recorder.handover_s = robot.time_s
    robot.command = MotorCommand.damped()
    for _ in range(2000):
        recorder.sample(np.zeros(3))
        robot.step()
    measures = measure(recorder.trace())
    assert measures.outcome is Outcome.LAID_DOWN
    assert measures.falls == 0
    (descent,) = measures.descents
    assert descent.damped
    assert not descent.hard
    assert 0.1 < descent.speed_m_per_s < 1.0


def test_motors_follow_the_pd_law_up_to_their_torque():
    robot = Robot()
    reading = robot.read()
    rng = np.random.default_rng(1)
    command = MotorCommand(*rng.uniform(0.0, 2.0, (5, 12)))
    robot.command = command
    robot.step()
    expected = (
        command.stiffness * (command.position - reading.joint_position)
        + command.damping * (command.velocity - reading.joint_velocity)
        + command.torque
    )
    np.testing.assert_allclose(robot.read().joint_torque, expected)
    robot.command = MotorCommand.hold(STANDING_RAD + 1.0, 1e6, 0.0)
    robot.step()
    assert np.abs(robot.read().joint_torque).tolist() == list(TORQUE_LIMITS_NM * 4)


def test_sensors_of_a_standing_robot():
    robot = Robot()
    stand_up(robot)
    reading = robot.read()
    np.testing.assert_allclose(reading.linear_acceleration, (0.0, 0.0, 9.81), atol=0.3)
    np.testing.assert_allclose(reading.angular_velocity, 0.0, atol=0.02)
    np.testing.assert_allclose(reading.roll_pitch_yaw, 0.0, atol=0.03)
    np.testing.assert_allclose(reading.joint_position, STANDING_RAD, atol=0.1)


def test_velocity_is_given_in_the_base_frame():
    robot = Robot()
    robot.data.qpos[3:7] = (np.cos(np.pi / 4), 0.0, 0.0, np.sin(np.pi / 4))  # turned left by 90 degrees
    robot.push((0.0, 1.0))
    reading = robot.read()
    np.testing.assert_allclose(reading.linear_velocity, (1.0, 0.0, 0.0), atol=1e-9)
    np.testing.assert_allclose(reading.roll_pitch_yaw, (0.0, 0.0, np.pi / 2), atol=1e-6)


@pytest.mark.parametrize(
    ("orientation", "degrees"),
    [((1, 0, 0, 0), 0), ((np.cos(0.2), np.sin(0.2), 0, 0), np.rad2deg(0.4)), ((0, 1, 0, 0), 180)],
)
def test_tilt(orientation, degrees):
    assert np.rad2deg(tilt_rad(np.array(orientation, float))) == pytest.approx(degrees)


def test_a_seed_is_one_robot():
    def motion(seed: int) -> np.ndarray:
        robot = Robot(seed)
        stand_up(robot)
        return robot.data.qpos.copy()

    first = motion(3)
    np.testing.assert_array_equal(first, motion(3))
    assert np.abs(first - motion(4)).max() > 1e-6


def test_the_lying_pose_varies_by_seed_within_its_bounds():
    for seed in range(5):
        offset = Robot(seed).read().joint_position - LYING_RAD
        assert 0.0 < np.abs(offset).max() <= 0.03
