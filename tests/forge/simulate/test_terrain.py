"""The ground: by seed, and the same for the physics as for whoever asks how high it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitforge.simulate.body import from_mjcf, lite3
from gaitforge.simulate.physics import mujoco
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.terrain import KINDS, SIDE_M, TOP_M, Kind, make
from support.robots import stool_contract, write_stool

UNEVEN = [kind for kind in KINDS if kind != "flat"]


@pytest.mark.parametrize("kind", UNEVEN)
def test_a_seed_is_one_terrain(kind: Kind) -> None:
    first, again, other = (make(kind, seed, 0.33) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first.heights, again.heights)
    assert np.abs(first.heights - other.heights).max() > 0.005
    assert first.heights.min() >= 0.0
    assert 0.02 < first.heights.max() < TOP_M


def test_flat_is_no_field() -> None:
    assert make("flat", 1, 0.33) is None


@pytest.mark.parametrize("kind", UNEVEN)
def test_a_robot_starts_on_the_flat(kind: Kind) -> None:
    terrain = make(kind, 5, 0.7)
    assert terrain is not None
    around = np.stack(np.meshgrid(np.linspace(-0.45, 0.45, 19), np.linspace(-0.45, 0.45, 19)), axis=-1)
    np.testing.assert_allclose(terrain.height_m(around), 0.0, atol=1e-12)


def test_a_larger_robot_gets_higher_steps() -> None:
    small, large = (make("steps", 3, size) for size in (0.3, 0.6))
    assert small is not None
    assert large is not None
    np.testing.assert_allclose(2 * np.unique(small.heights), np.unique(large.heights), atol=1e-9)
    assert 0.03 < np.diff(np.unique(small.heights)).max() < 0.06


@pytest.mark.parametrize("kind", UNEVEN)
def test_the_physics_has_the_heights_that_are_told(kind: Kind) -> None:
    robot = Robot(7, lite3(kind))
    assert robot.terrain is not None
    places = np.random.default_rng(0).uniform(-15, 15, (200, 2))
    measured, geom = [], np.zeros(1, np.int32)
    for x, y in places:
        down = mujoco.mj_ray(
            robot.model, robot.data, np.array([x, y, 5.0]), np.array([0.0, 0.0, -1.0]), None, 1, -1, geom
        )
        measured.append(5.0 - down)
    # Within a cell MuJoCo has two triangles, here it is bilinear.
    np.testing.assert_allclose(
        measured, robot.terrain.height_m(places), atol=0.06 if kind == "steps" else 0.01
    )
    assert np.ptp(measured) > 0.02


def test_height_is_above_the_ground(tmp_path: Path) -> None:
    robot = Robot(0, from_mjcf(write_stool(tmp_path), stool_contract(), "slope"))
    assert robot.terrain is not None
    robot.data.qpos[:3] = (3.0, 0.0, 1.0)
    assert robot.height_m == pytest.approx(1.0 - float(robot.terrain.height_m((3.0, 0.0))))
    assert robot.height_m < 0.9


def test_walking_off_the_field_is_told() -> None:
    robot = Robot(0, lite3("rough"))
    robot.data.qpos[0] = SIDE_M / 2 + 0.1
    with pytest.raises(InputError, match="left the terrain, a square of 40 m"):
        robot.step()
