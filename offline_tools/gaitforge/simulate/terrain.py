"""The ground: flat, or a field of heights made from a seed, as large as the robot makes it hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from gaitforge.simulate.mjcf import floor
from gaitforge.simulate.physics import mujoco

Float64Array = npt.NDArray[np.float64]
Kind: TypeAlias = Literal["flat", "rough", "steps", "slope"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SIDE_M = 40.0
"""The field is a square of this side around the origin."""
CELL_M = 0.05
TOP_M = 2.0
"""No field is higher. MuJoCo wants it at compilation, before there is a seed."""

_POINTS = round(SIDE_M / CELL_M) + 1
_NAME = "terrain"
_TILE_M = 8.0
"""Of stairs for many robots."""
_FLAT_START = 1.0
"""The robot starts on flat ground, whose radius is this much of its standing height, or MIN_START_M."""
_MIN_START_M = 0.5


@dataclass(frozen=True, eq=False)
class Terrain:
    """Heights [m] at the points of a grid of CELL_M, first along y, then along x; MuJoCo's own order."""

    heights: Float64Array

    def height_m(self, places: npt.ArrayLike) -> Float64Array:
        """Height of the ground at places (..., 2) m; beyond the field as at its edge."""
        cells = np.clip((np.asarray(places, np.float64) + SIDE_M / 2) / CELL_M, 0.0, _POINTS - 1 - 1e-9)
        low = cells.astype(np.intp)
        (x, y), (part_x, part_y) = np.moveaxis(low, -1, 0), np.moveaxis(cells - low, -1, 0)
        near = self.heights[y, x] * (1 - part_x) + self.heights[y, x + 1] * part_x
        far = self.heights[y + 1, x] * (1 - part_x) + self.heights[y + 1, x + 1] * part_x
        height: Float64Array = near * (1 - part_y) + far * part_y
        return height

    def highest_within(self, radius_m: float) -> Terrain:
        """At each point the highest ground of the square around it: where a robot can be put down."""
        reach, highest = round(radius_m / CELL_M), self.heights
        for axis in (0, 1):
            shifts = [_shifted(highest, shift, axis) for shift in range(-reach, reach + 1)]
            highest = np.maximum.reduce(shifts)
        return Terrain(highest)

    def lay(self, model: mujoco.MjModel) -> None:
        """Write the heights into a model whose floor was prepared."""
        model.hfield_data[:] = (self.heights / TOP_M).ravel()


def prepare(spec: mujoco.MjSpec) -> None:
    """Make the floor of a model a field of heights, which ``Terrain.lay`` fills."""
    spec.add_hfield(
        name=_NAME,
        nrow=_POINTS,
        ncol=_POINTS,
        size=[SIDE_M / 2, SIDE_M / 2, TOP_M, 1.0],
        userdata=np.tile([0.0, 1.0], _POINTS * _POINTS)[: _POINTS * _POINTS].tolist(),
    )
    geom = floor(spec)
    geom.type, geom.hfieldname = mujoco.mjtGeom.mjGEOM_HFIELD, _NAME
    geom.pos, geom.quat = [0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]


def make(kind: Kind, seed: int, standing_m: float) -> Terrain | None:
    """The terrain of a seed for a robot whose base stands ``standing_m`` high; None: flat, without a field.

    The same arguments give the same heights. Steps and slopes rise and sink in turn with the distance from
    the origin, so that every way from there meets them.
    """
    if kind == "flat":
        return None
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    axis = np.linspace(-SIDE_M / 2, SIDE_M / 2, _POINTS)
    start_m = max(_MIN_START_M, _FLAT_START * standing_m)
    if kind == "rough":
        return Terrain(_rough(rng, axis, start_m, standing_m))
    return Terrain(_steps(rng, axis, start_m, standing_m) if kind == "steps" else _slope(rng, axis, start_m))


def make_for_many(kind: Kind, seed: int, standing_m: float) -> Terrain | None:
    """As ``make``, for many robots that start all over it: stairs are of many kinds, lower and higher ones.

    Each tile of it has its own, which begin from a flat border.
    """
    if kind != "steps":
        return make(kind, seed, standing_m)
    rng = np.random.default_rng([seed, len(KINDS)])
    heights = np.zeros((_POINTS, _POINTS))
    points, tiles = round(_TILE_M / CELL_M), round(SIDE_M / _TILE_M)
    inward = np.minimum(np.arange(points), points - np.arange(points)) * CELL_M - _MIN_START_M
    way = np.minimum(inward[:, None], inward[None, :])
    for row, column in np.ndindex(tiles, tiles):
        place = np.s_[row * points : (row + 1) * points, column * points : (column + 1) * points]
        heights[place] = _stairs(rng, way, (0.08, 0.25), standing_m)
    return Terrain(heights)


def _rough(rng: np.random.Generator, axis: Float64Array, start_m: float, standing_m: float) -> Float64Array:
    """Lumps 0.2 m apart, as high as a tenth of the robot."""
    coarse = np.linspace(axis[0], axis[-1], round(SIDE_M / 0.2) + 1)
    lumps = rng.uniform(0.0, 0.1 * standing_m, (len(coarse), len(coarse)))
    rows = np.array([np.interp(axis, coarse, row) for row in lumps])
    heights = np.array([np.interp(axis, coarse, column) for column in rows.T]).T
    far = np.hypot(axis[:, None], axis[None, :])
    lifted: Float64Array = heights * np.clip((far - start_m) / 0.5, 0.0, 1.0)
    return lifted


def _steps(rng: np.random.Generator, axis: Float64Array, start_m: float, standing_m: float) -> Float64Array:
    """Square rings of stairs: some steps up, some down, and so on."""
    far = np.maximum(np.abs(axis[:, None]), np.abs(axis[None, :]))
    return _stairs(rng, far - start_m, (0.12, 0.18), standing_m)


def _stairs(
    rng: np.random.Generator, way_m: Float64Array, rises: tuple[float, float], standing_m: float
) -> Float64Array:
    """Steps up and down along a way, whose rise is a part of the robot's height within these."""
    rise_m = rng.uniform(*rises) * standing_m
    tread_m = rng.uniform(0.9, 1.3) * max(standing_m, 0.33)
    count = int(rng.integers(3, 5))
    return rise_m * _up_and_down(np.ceil(np.maximum(0.0, way_m) / tread_m), count)


def _slope(rng: np.random.Generator, axis: Float64Array, start_m: float) -> Float64Array:
    """A hill and a valley in turn."""
    steepness = np.tan(np.deg2rad(rng.uniform(8.0, 14.0)))
    length_m = rng.uniform(3.0, 5.0)
    far = np.hypot(axis[:, None], axis[None, :])
    heights: Float64Array = steepness * _up_and_down(np.maximum(0.0, far - start_m), length_m)
    return heights


def _up_and_down(way: Float64Array, turn: float) -> Float64Array:
    """0 up to ``turn`` and back, again and again."""
    heights: Float64Array = turn - np.abs(way % (2.0 * turn) - turn)
    return heights


def _shifted(heights: Float64Array, shift: int, axis: int) -> Float64Array:
    places = np.clip(np.arange(_POINTS) + shift, 0, _POINTS - 1)
    return np.take(heights, places, axis=axis)
