"""Left for right: what a robot's observation and action are in a mirror along its length.

Which joint is which one's mirror image, and whether its angle changes sign, follows from where the joints'
axes stand in the default pose: a rotation about (x, y, z) is one about (-x, y, -z) in the mirror.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.manifest import Manifest
from gaitd.policy.sources import SOURCES, source_name
from gaitd.policy.terms import CompiledTerm
from gaitforge.simulate.physics import mujoco
from gaitforge.train.observe import Observer
from gaitforge.train.robot import Robot

Float32Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

_VECTORS = {
    "linear_velocity": (1, -1, 1),
    "linear_acceleration": (1, -1, 1),
    "projected_gravity": (1, -1, 1),
    "angular_velocity": (-1, 1, -1),
    "velocity_command": (1, -1, -1),
    "roll_pitch_yaw": (-1, 1, -1),
    "clock_phase": (-1, -1),
}
"""Signs of what is not by joint. The clock of the mirror image is half a period ahead: a trot's."""

_NEAR_M = 0.02


@dataclass(frozen=True)
class Mirror:
    """Mirrored: ``values[:, source] * sign``."""

    observation: tuple[Indices, Float32Array]
    action: tuple[Indices, Float32Array]


def mirror(robot: Robot, manifest: Manifest, observer: Observer) -> Mirror:
    """Find the mirror image. Raises InputError when the robot's left is not its right."""
    joints = _joints(robot, manifest)
    sources, signs, start = [], [], 0
    for term in observer.terms:
        source, sign = _of_term(term, observer.layout[term.source], joints, manifest)
        if not np.allclose(term.scale[source], term.scale) or not np.allclose(
            term.offset[source] * sign, term.offset, atol=1e-6
        ):
            raise InputError(
                f"learning.mirror: the scale or default of {term.source} differs between left and right; set "
                "learning.mirror to 0"
            )
        sources.append(start + source)
        signs.append(sign)
        start += term.dim
    frame_source, frame_sign = np.concatenate(sources), np.concatenate(signs)
    row, column = np.divmod(observer.stack, start)
    place = {int(value): index for index, value in enumerate(observer.stack)}
    source = np.array([place[int(value)] for value in row * start + frame_source[column]], np.intp)
    return Mirror((source, frame_sign[column].astype(np.float32)), joints)


def _of_term(
    term: CompiledTerm, place: slice, joints: tuple[Indices, Float32Array], manifest: Manifest
) -> tuple[Indices, Float32Array]:
    """Of one frame of a term, whose source lies at ``place``; it may show some of the values only."""
    shown = (term.gather - place.start).tolist()
    if term.source in _VECTORS:
        source, sign = np.arange(place.stop - place.start), np.array(_VECTORS[term.source], np.float32)
    elif term.source not in SOURCES:
        source, sign = _declared(term.source, manifest)
    else:
        source, sign = joints
    try:
        return np.array([shown.index(each) for each in source[shown]], np.intp), sign[shown]
    except ValueError:
        raise InputError(
            f"learning.mirror: {term.source} shows a joint without its mirror image; set learning.mirror to 0"
        ) from None


def _declared(name: str, manifest: Manifest) -> tuple[Indices, Float32Array]:
    """Of a declared source: a phase is as ``clock_phase``, a map's rows go from right to left."""
    for phase, declared in manifest.phases.items():
        if name == source_name("phase", phase) and len(declared.offsets_turns) == 1:
            count = len(declared.functions)
            return np.arange(count), -np.ones(count, np.float32)
    for stream in manifest.streams:
        if name == source_name("stream", stream.name) and len(stream.shape) == 2:
            places = np.arange(stream.size).reshape(stream.shape)[:, ::-1].ravel()
            return places, np.ones(stream.size, np.float32)
        if name in (source_name("stream_age", stream.name), source_name("stream_valid", stream.name)):
            return np.zeros(1, np.intp), np.ones(1, np.float32)
    raise InputError(f"learning.mirror: what {name} is in a mirror is not known; set learning.mirror to 0")


def _joints(robot: Robot, manifest: Manifest) -> tuple[Indices, Float32Array]:
    model = robot.model
    data = mujoco.MjData(model)
    data.qpos[:] = robot.home
    mujoco.mj_kinematics(model, data)
    ids = [model.joint(name).id for name in manifest.joints]
    anchors, axes = data.xanchor[ids], data.xaxis[ids]
    source, sign = np.zeros(len(ids), np.intp), np.zeros(len(ids), np.float32)
    for index, name in enumerate(manifest.joints):
        distance = np.linalg.norm(anchors - anchors[index] * (1, -1, 1), axis=1)
        turns = axes @ (axes[index] * (-1, 1, -1))
        fits = (distance < _NEAR_M) & (np.abs(turns) > 0.9)
        if not fits.any():
            raise InputError(f"learning.mirror: joint {name!r} has no mirror image; set learning.mirror to 0")
        source[index] = int(np.argmin(np.where(fits, distance, np.inf)))
        sign[index] = np.sign(turns[source[index]])
    return source, sign
