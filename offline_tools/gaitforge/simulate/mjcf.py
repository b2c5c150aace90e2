"""Anybody's robot as an MJCF file: what a simulation needs of it, and what it refuses it for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitforge.common import files
from gaitforge.simulate.physics import mujoco

Float64Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

FLOOR = "floor"
"""Name of the geom that robots stand on, whatever the file called it."""

_Geom, _Joint = mujoco.mjtGeom, mujoco.mjtJoint


def read(mjcf: Path) -> mujoco.MjSpec:
    """Read the file. Raises InputError."""
    files.existing(mjcf, "the robot's model", files.MAX_MODEL_BYTES)
    with refusals(str(mjcf)):
        return mujoco.MjSpec.from_file(str(mjcf))


@contextmanager
def refusals(where: str) -> Iterator[None]:
    """Turn what MuJoCo says of a model, or of a mesh that is not there, into an InputError of one line."""
    try:
        yield
    except ValueError as error:
        words = " ".join(str(error).split())
        missing = "opening file" in words or "No such file" in words
        hint = "; put the files that it names where it looks for them (compiler meshdir)" if missing else ""
        raise InputError(f"{where}: MuJoCo refuses it: {words}{hint}") from None


def check(
    spec: mujoco.MjSpec, joints: Sequence[str], where: str, continuous: Collection[str] = ()
) -> mujoco.MjModel:
    """Compile the file as it is, and hold it against the joints of a policy, some of them ``continuous``.

    Raises InputError, naming the joint: the base cannot move, a joint is not there or has a range where
    the policy's has none, or a motor is not the policy's.
    """
    with refusals(where):
        model = spec.compile()
    check_base(model, where)
    names = [model.joint(index).name for index in range(model.njnt)]
    for name in joints:
        if name not in names:
            known = ", ".join(known for known in names if known)
            raise InputError(f"{where}: joint {name!r} of the manifest is not in it; it has {known}")
        index = names.index(name)
        if model.jnt_type[index] != _Joint.mjJNT_HINGE:
            raise InputError(f"{where}: joint {name!r} is no hinge: a policy moves nothing else here")
        if not model.jnt_limited[index] and name not in continuous:
            raise InputError(
                f"{where}: joint {name!r} has no range: if it is a wheel, name it under the manifest's "
                "continuous_joints; if it is none, give it a range"
            )
        if model.jnt_limited[index] and name in continuous:
            raise InputError(f"{where}: joint {name!r} has a range, but the manifest calls it continuous")
    for index in driven_joints(model):
        if names[index] not in joints:
            kind = "joint" if model.jnt_limited[index] else "wheel"
            raise InputError(
                f"{where}: {kind} {names[index]!r} has a motor, but the manifest has no joint of that name: "
                "name it under joints, and under held_joints if the policy does not move it; take the motor "
                "out of the model if the joint hangs free"
            )
    return model


def check_base(model: mujoco.MjModel, where: str) -> None:
    """Raise InputError unless exactly one joint is free, and the first."""
    free = np.flatnonzero(model.jnt_type == _Joint.mjJNT_FREE)
    if len(free) != 1 or free[0] != 0:
        raise InputError(
            f"{where}: expected one free joint, the base's, before all others; it has {len(free) or 'none'}"
            + (": add <freejoint/> to the base's body" if not len(free) else "")
        )


def driven_joints(model: mujoco.MjModel) -> list[int]:
    """Joints that an actuator moves."""
    on_joint = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT
    return sorted({int(joint) for joint in model.actuator_trnid[on_joint, 0]})


def torque_limit_nm(model: mujoco.MjModel, joint: int) -> float | None:
    """The most of a joint's motor: the joint's, else its actuator's; None where the model does not tell."""
    if model.jnt_actfrclimited[joint]:
        return float(model.jnt_actfrcrange[joint, 1])
    on_joint = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT
    for motor in np.flatnonzero(on_joint & (model.actuator_trnid[:, 0] == joint)):
        is_torque = model.actuator_biastype[motor] == mujoco.mjtBias.mjBIAS_NONE
        for limited, most in (
            (model.actuator_forcelimited[motor], model.actuator_forcerange[motor, 1]),
            # Of a servo the control is an angle.
            (model.actuator_ctrllimited[motor] and is_torque, model.actuator_ctrlrange[motor, 1]),
        ):
            if limited and most > 0:
                return float(most)
    return None


def take_out_motors(spec: mujoco.MjSpec) -> None:
    """Delete what belongs to another controller: actuators, sensors and keyframes."""
    for listed in (spec.sensors, spec.actuators, spec.keys):
        for element in list(listed):
            spec.delete(element)


def floor(spec: mujoco.MjSpec) -> mujoco.MjsGeom:
    """The file's own floor, else a new one at height 0; its friction counts, whatever the feet's is."""
    geom = spec.geom(FLOOR)
    if geom is None:
        planes = [each for each in spec.worldbody.geoms if each.type == _Geom.mjGEOM_PLANE]
        geom = planes[0] if planes else spec.worldbody.add_geom(type=_Geom.mjGEOM_PLANE, size=[0, 0, 0.05])
        geom.name = FLOOR
    geom.priority, geom.contype, geom.conaffinity, geom.condim = 2, 1, 1, 3
    geom.friction = [1.0, 0.005, 0.0001]
    return geom


def add_scenery(spec: mujoco.MjSpec) -> None:
    """A sky where there is none, and tiles on a floor without a material: only for pictures."""
    kinds = mujoco.mjtTexture
    if not any(texture.type == kinds.mjTEXTURE_SKYBOX for texture in spec.textures):
        spec.add_texture(
            name="gaitforge sky",
            type=kinds.mjTEXTURE_SKYBOX,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=[0.55, 0.69, 0.83],
            rgb2=[0.90, 0.93, 0.96],
            width=256,
            height=1536,
        )
        spec.visual.rgba.haze = spec.visual.rgba.fog = [0.86, 0.90, 0.94, 1.0]
    if not spec.geom(FLOOR).material:
        spec.add_texture(
            name="gaitforge tiles",
            type=kinds.mjTEXTURE_2D,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
            rgb1=[0.80, 0.83, 0.86],
            rgb2=[0.70, 0.74, 0.78],
            width=512,
            height=512,
        )
        tiles = spec.add_material(name="gaitforge tiles", texrepeat=[2, 2], texuniform=True)
        tiles.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "gaitforge tiles"
        spec.geom(FLOOR).material = "gaitforge tiles"


def solid_geoms(model: mujoco.MjModel) -> Indices:
    """Geoms of the robot that can touch the floor."""
    floor = model.geom(FLOOR).id
    touches = (model.geom_contype & model.geom_conaffinity[floor]) | (
        model.geom_conaffinity & model.geom_contype[floor]
    )
    return np.flatnonzero((touches != 0) & (model.body_weldid[model.geom_bodyid] != 0))


def reach_m(model: mujoco.MjModel, data: mujoco.MjData, geoms: Indices) -> Float64Array:
    """(g,) from each geom's centre down to its lowest point in the present pose."""
    return np.array([_reach_m(model, geom, data.geom_xmat[geom, 6:9]) for geom in geoms.tolist()])


def _reach_m(model: mujoco.MjModel, geom: int, vertical: Float64Array) -> float:
    """``vertical``: (3,) the world's vertical in the geom's frame."""
    kind, size = model.geom_type[geom], model.geom_size[geom]
    along = abs(vertical[2])
    if kind == _Geom.mjGEOM_SPHERE:
        return float(size[0])
    if kind == _Geom.mjGEOM_CAPSULE:
        return float(size[0] + size[1] * along)
    if kind == _Geom.mjGEOM_CYLINDER:
        return float(size[1] * along + size[0] * np.sqrt(max(0.0, 1.0 - along * along)))
    if kind == _Geom.mjGEOM_ELLIPSOID:
        return float(np.linalg.norm(vertical * size))
    if kind == _Geom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        return float(-(model.mesh_vert[first : first + count] @ vertical).min())
    return float((np.abs(vertical) * model.geom_aabb[geom, 3:]).sum())


def check_apart(model: mujoco.MjModel, data: mujoco.MjData, where: str) -> None:
    """Raise InputError when parts of the robot overlap in the present pose, which must be the default one."""
    for contact in data.contact[: data.ncon]:
        bodies = [int(model.geom_bodyid[geom]) for geom in (contact.geom1, contact.geom2)]
        if 0 not in model.body_weldid[bodies] and contact.dist < -_OVERLAP_M:
            first, second = (model.body(body).name or f"number {body}" for body in bodies)
            raise InputError(
                f"{where}: in the manifest's default_joint_position_rad the bodies {first!r} and {second!r} "
                f"are {-1000 * contact.dist:.0f} mm inside each other: correct the pose, or exclude the pair "
                "in the model (contact exclude)"
            )


_OVERLAP_M = 0.003
"""Contacts are soft: less than this is touching."""
