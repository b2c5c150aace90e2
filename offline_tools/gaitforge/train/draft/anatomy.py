"""What a draft reads off a model: motors, feet, what must not touch the floor, and how the robot stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitforge.simulate import mjcf as models
from gaitforge.simulate.physics import mujoco

Float64Array = npt.NDArray[np.float64]

_FOOT_ABOVE_LOWEST_M = 0.03
_CLEAR = 0.2
"""Of the base's height: what ends lower in the default pose comes near the floor in walking, too."""
_CROUCH = 0.8
"""From hip to foot, as part of the straight leg: so the Lite3 stands (examples/lite3_trained)."""
_ALONG = 0.9
"""Of an axis' component: along y, a joint swings the leg forward and back; along x, to the side."""


@dataclass(frozen=True)
class Anatomy:
    """Joints are ids of the model; every geom that collides has a name in it."""

    model: mujoco.MjModel
    legs: list[int]
    """Joints with a motor and a range."""
    wheels: list[int]
    """Joints with a motor that turn without end."""
    pose: Float64Array
    """(nq,) how it stands, the base upright."""
    abduction: list[bool]
    """Of ``legs``: which turn about the robot's length."""
    bent: bool
    """Whether the pose is neither a keyframe's nor the model's own."""
    feet: list[str]
    """Geoms that stand on the floor: from front to hind, left before right."""
    others: list[str]
    """Geoms well above the floor."""
    foot_radius_m: float
    """From the first foot's centre down to the floor."""


def name_colliders(spec: mujoco.MjSpec) -> None:
    """Name each geom of the robot that can collide and has no name, after its body."""
    taken = {geom.name for geom in spec.geoms}
    for geom in spec.geoms:
        if geom.name or not (geom.contype or geom.conaffinity) or geom.parent.name == "world":
            continue
        number = 1
        while (name := f"{geom.parent.name}_{number}") in taken:
            number += 1
        geom.name = name
        taken.add(name)


def study(model: mujoco.MjModel, where: str) -> Anatomy:
    """Look at a model with named colliders. Raises InputError when it has no motors or no feet."""
    driven = models.driven_joints(model) or _limited_hinges(model)
    if not driven:
        raise InputError(f"{where}: it has no joint with a motor or a range: there is nothing to train")
    legs = [joint for joint in driven if model.jnt_limited[joint]]
    pose = _own_pose(model)
    feet, _ = _standing_on(model, pose)
    if not feet:
        raise InputError(
            f"{where}: none of its parts can touch the floor: give its feet a geom that collides"
        )
    own = pose
    if not model.nkey:
        for foot in feet:
            pose = _bend(model, pose, foot)
    _, bottoms = _standing_on(model, pose)
    floor = min(bottoms[foot] for foot in feet)
    data = _moved(model, pose)
    clear = floor + _CLEAR * (pose[2] - floor)
    return Anatomy(
        model=model,
        legs=legs,
        wheels=[joint for joint in driven if joint not in legs],
        pose=pose,
        abduction=(np.abs(data.xaxis[legs, 0]) > _ALONG).tolist(),
        bent=not np.array_equal(pose, own),
        feet=[model.geom(foot).name for foot in feet],
        others=[model.geom(geom).name for geom, bottom in bottoms.items() if bottom > clear],
        foot_radius_m=float(data.geom_xpos[feet[0], 2] - bottoms[feet[0]]),
    )


def _limited_hinges(model: mujoco.MjModel) -> list[int]:
    hinge = model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE
    return [int(joint) for joint in np.flatnonzero(hinge & (model.jnt_limited != 0))]


def _own_pose(model: mujoco.MjModel) -> Float64Array:
    """(nq,) of the first keyframe, else the model's own with every joint inside its range; base upright."""
    pose: Float64Array = (model.key_qpos[0] if model.nkey else model.qpos0).copy()
    pose[3:7] = (1, 0, 0, 0)
    for joint in _limited_hinges(model):
        low, high = model.jnt_range[joint]
        margin = 0.05 * (high - low)
        place = model.jnt_qposadr[joint]
        pose[place] = np.clip(pose[place], low + margin, high - margin)
    return pose


def _moved(model: mujoco.MjModel, pose: Float64Array) -> mujoco.MjData:
    data = mujoco.MjData(model)
    data.qpos[:] = pose
    mujoco.mj_kinematics(model, data)
    return data


def _standing_on(model: mujoco.MjModel, pose: Float64Array) -> tuple[list[int], dict[int, float]]:
    """The lowest colliding geom of each body that stands; and of all colliders how high [m] they end."""
    data = _moved(model, pose)
    touches = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    geoms = np.flatnonzero(touches & (model.body_weldid[model.geom_bodyid] != 0))
    ends = data.geom_xpos[geoms, 2] - models.reach_m(model, data, geoms)
    bottoms = dict(zip(geoms.tolist(), ends.tolist(), strict=True))
    lowest: dict[int, int] = {}
    for geom in sorted(bottoms, key=lambda geom: bottoms[geom]):
        lowest.setdefault(int(model.geom_bodyid[geom]), geom)
    floor = min(bottoms.values(), default=0.0)
    feet = [geom for geom in lowest.values() if bottoms[geom] < floor + _FOOT_ABOVE_LOWEST_M]
    feet.sort(key=lambda geom: (-round(float(data.geom_xpos[geom, 0]), 2), -float(data.geom_xpos[geom, 1])))
    return feet, bottoms


def _bend(model: mujoco.MjModel, pose: Float64Array, foot: int) -> Float64Array:
    """The pose with the foot's leg bent, foot below hip, at 80 % of the straight leg's length.

    Only a leg of two joints about the robot's width, a hip and a knee, and only where their ranges let it:
    with an ankle, the sole would have to be kept level, too. Of two ways to bend, that which leaves the knee
    nearer to the middle of its range; where both are alike, thighs lean back, as the Lite3's do.
    """
    data = _moved(model, pose)
    joints: list[int] = []
    body = int(model.geom_bodyid[foot])
    while body:
        first, count = model.body_jntadr[body], model.body_jntnum[body]
        joints[:0] = range(first, first + count)
        body = int(model.body_parentid[body])
    swinging = [j for j in joints if model.jnt_limited[j] and abs(data.xaxis[j, 1]) > _ALONG]
    if len(swinging) != 2:
        return pose
    hip, knee = swinging
    axis = data.xaxis[knee]
    thigh = _across(data.xanchor[knee] - data.xanchor[hip], axis)
    shank = _across(data.geom_xpos[foot] - data.xanchor[knee], axis)
    upper, lower = float(np.linalg.norm(thigh)), float(np.linalg.norm(shank))
    cosine = ((_CROUCH * (upper + lower)) ** 2 - upper**2 - lower**2) / (2 * upper * lower)
    angle = -np.sign(axis[1]) * np.arccos(np.clip(cosine, -1.0, 1.0))
    at_hip, at_knee = model.jnt_qposadr[[hip, knee]]
    straight = pose[at_knee] - _turn(thigh, shank, axis)
    low, high = model.jnt_range[knee]
    possible = [float(q) for q in (straight + angle, straight - angle) if low < q < high]
    if not possible:
        return pose
    bent = pose.copy()
    bent[at_knee] = min(possible, key=lambda q: round(abs(q - (low + high) / 2), 1))
    data = _moved(model, bent)
    leg = data.geom_xpos[foot] - data.xanchor[hip]
    bent[at_hip] += _turn(leg, np.array([0.0, 0.0, -1.0]), data.xaxis[hip])
    low, high = model.jnt_range[hip]
    return bent if low < bent[at_hip] < high else pose


def _across(vector: Float64Array, axis: Float64Array) -> Float64Array:
    result: Float64Array = vector - axis * (axis @ vector)
    return result


def _turn(start: Float64Array, end: Float64Array, axis: Float64Array) -> float:
    """The angle [rad] about ``axis`` from one direction to another."""
    return float(np.arctan2(axis @ np.cross(start, end), _across(start, axis) @ _across(end, axis)))
