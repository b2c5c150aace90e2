"""Which robot is simulated: the Lite3, or anybody's from its MJCF file and the policy's manifest."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitd.bundle.read import fallback_damping
from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.bounds import bounded_mask, torque_limit
from gaitd.policy.joints import default_position, some_joints_array
from gaitd.policy.manifest import Manifest
from gaitforge.simulate import mjcf, model, stature, terrain
from gaitforge.simulate.physics import mujoco
from gaitforge.simulate.stature import Stature
from gaitforge.simulate.terrain import Kind

Float64Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

LYING_RAD: Float64Array = np.array(model.LYING_LEG_RAD * 4)
STANDING_RAD: Float64Array = np.array(model.STANDING_LEG_RAD * 4)
"""Of the Lite3, in the order of model.JOINTS."""

LITE3 = "lite3"
"""What its manifests call it."""
LITE3_DAMPING_NMS_PER_RAD = 2.5
_STAND_UP_STIFFNESS_NM_PER_RAD = 100.0
_PAYLOAD_PART = 0.025
"""Of the robot's mass; the Lite3's is 0.3 kg."""
_HOLD = "hold the base"


@dataclass(frozen=True, eq=False)
class Body:
    """A robot's model, and what in it the simulator drives. Arrays of n are in the order of ``joints``."""

    where: str
    """What messages call it."""
    model: mujoco.MjModel
    """Nobody changes it: every Robot has a copy."""
    joints: tuple[str, ...]
    soles: Indices
    """Geoms, the lowest of which stands on the ground at the start."""
    torque_limit_nm: Float64Array
    """(n,)"""
    start_rad: Float64Array
    """(n,) as it is switched on."""
    standing_rad: Float64Array
    """(n,) where standing up ends."""
    stand_up_stiffness: Float64Array
    """(n,) Nm/rad."""
    stand_up_damping: Float64Array
    """(n,) Nms/rad."""
    rest_damping: Float64Array
    """(n,) Nms/rad that the motors brake with when nothing is asked of them."""
    rolls: npt.NDArray[np.bool_]
    """(n,) of the wheels, which turn without end."""
    payload_kg: tuple[float, float]
    """What a seed puts on the base."""
    stature: Stature
    start_error_rad: Float64Array | None = None
    """(n,) Until the hand-over the base is held upright at its standing height, as on a stand, and then the
    joints must be this near to standing. None: the robot stands up by itself."""
    terrain: Kind = "flat"
    height_map: str | None = None
    """The stream that shows the ground to the policy, and where, as gaitforge.simulate.height_map has it."""

    @functools.cached_property
    def position(self) -> Indices:
        """(n,) of the joints in qpos."""
        return np.array([self.model.joint(name).qposadr[0] for name in self.joints], np.intp)

    @functools.cached_property
    def velocity(self) -> Indices:
        """(n,) of the joints in qvel."""
        return np.array([self.model.joint(name).dofadr[0] for name in self.joints], np.intp)

    @functools.cached_property
    def base(self) -> int:
        """The body of the free joint."""
        return int(self.model.jnt_bodyid[0])

    @property
    def sinks(self) -> bool:
        """Whether nothing of the base can touch the floor: going down, it sinks through it."""
        return self.base not in self.model.geom_bodyid[mjcf.solid_geoms(self.model)]

    @functools.cached_property
    def hold(self) -> int:
        """The constraint that holds the base of a body that is held."""
        return int(self.model.equality(_HOLD).id)

    @property
    def held(self) -> bool:
        """Whether the base is held until the hand-over."""
        return self.start_error_rad is not None


@functools.cache
def lite3(kind: Kind = "flat") -> Body:
    """The Lite3, which lies folded when it is switched on and stands up by itself."""
    if kind == "flat":
        compiled = mujoco.MjModel.from_xml_string(model.model_xml())
    else:
        spec = mujoco.MjSpec.from_string(model.model_xml())
        terrain.prepare(spec)
        compiled = spec.compile()
    zero = np.zeros(len(model.JOINTS))
    return Body(
        where="the Lite3",
        model=compiled,
        joints=model.JOINTS,
        soles=np.array([compiled.geom(f"{leg}_foot").id for leg in model.LEGS], np.intp),
        torque_limit_nm=np.array(model.TORQUE_LIMITS_NM * len(model.LEGS)),
        start_rad=LYING_RAD,
        standing_rad=STANDING_RAD,
        stand_up_stiffness=zero + _STAND_UP_STIFFNESS_NM_PER_RAD,
        stand_up_damping=zero + LITE3_DAMPING_NMS_PER_RAD,
        rest_damping=zero + LITE3_DAMPING_NMS_PER_RAD,
        rolls=np.zeros(len(model.JOINTS), np.bool_),
        payload_kg=(0.0, 0.3),
        stature=stature.LITE3,
        terrain=kind,
    )


def from_mjcf(path: Path, manifest: Manifest, kind: Kind = "flat") -> Body:
    """The robot of an MJCF file under a policy of these joints.

    It is switched on in the manifest's default pose, its base held until the hand-over. Its motors follow the
    manifest's gains, up to the smaller of the model's and the manifest's torque. Raises InputError when the
    file cannot be read, is not for these joints, or the default pose is impossible.
    """
    where = str(path)
    spec = mjcf.read(path)
    as_it_is = mjcf.check(spec, manifest.joints, where, manifest.continuous_joints)
    torque = _torque_limits_nm(as_it_is, manifest, where)
    mjcf.take_out_motors(spec)
    mjcf.floor(spec)
    mjcf.add_scenery(spec)
    if kind != "flat":
        terrain.prepare(spec)
    _add_motors(spec, manifest.joints)
    base = spec.body(as_it_is.body(as_it_is.jnt_bodyid[0]).name)
    if base is None:
        raise InputError(f"{where}: the body of the free joint has no name: give it one")
    base.add_site(name="gaitforge imu")
    spec.add_sensor(
        name="accelerometer",
        type=mujoco.mjtSensor.mjSENS_ACCELEROMETER,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname="gaitforge imu",
    )
    spec.add_equality(
        name=_HOLD,
        type=mujoco.mjtEq.mjEQ_WELD,
        objtype=mujoco.mjtObj.mjOBJ_BODY,
        name1=base.name,
        name2="world",
        active=True,
    )
    spec.option.timestep = model.TIMESTEP_S
    with mjcf.refusals(where):
        compiled = spec.compile()
    soles = mjcf.solid_geoms(compiled)
    if not soles.size:
        raise InputError(
            f"{where}: none of the robot's geoms can touch the floor: it would fall through; set their "
            "contype or conaffinity to 1"
        )
    standing = default_position(manifest).astype(np.float64)
    mapper = ActionMapper(manifest)
    posture = manifest.limits.posture
    return Body(
        where=where,
        model=compiled,
        joints=tuple(manifest.joints),
        soles=soles,
        torque_limit_nm=torque,
        start_rad=standing,
        standing_rad=standing,
        stand_up_stiffness=mapper.stiffness.astype(np.float64),
        stand_up_damping=mapper.damping.astype(np.float64),
        rest_damping=fallback_damping(manifest).astype(np.float64),
        rolls=~bounded_mask(manifest),
        payload_kg=(0.0, _PAYLOAD_PART * float(compiled.body_mass.sum())),
        stature=Stature.of(_standing_height_m(compiled, manifest, standing, soles, where)),
        start_error_rad=some_joints_array(
            0.3 if posture is None else posture.max_start_error_rad,
            manifest.bounded_joints,
            manifest.joints,
            "max_start_error_rad",
            np.inf,
        ).astype(np.float64),
        terrain=kind,
    )


def find(
    manifest: Manifest, path: Path | None, kind: Kind = "flat", height_map: str | None = None
) -> Body | None:
    """The robot of a file, else the Lite3 where the policy is for its joints; None where there is none.

    Raises InputError as ``from_mjcf`` does, and for a Lite3 whose joints are not its own.
    """
    if path is not None:
        return replace(from_mjcf(path, manifest, kind), height_map=height_map)
    if sorted(manifest.joints) == sorted(model.JOINTS):
        return replace(lite3(kind), height_map=height_map)
    strange = [name for name in manifest.joints if name not in model.JOINTS]
    mostly = len(manifest.joints) == len(model.JOINTS) and 2 * len(strange) < len(model.JOINTS)
    if mostly or manifest.robot == LITE3:
        told = (
            f"{', '.join(strange)} is no joint of the Lite3" if strange else "joints of the Lite3 are missing"
        )
        raise InputError(
            f"the manifest's joints: {told}; its joints are {', '.join(model.JOINTS)}; another robot: --mjcf"
        )
    return None


def _add_motors(spec: mujoco.MjSpec, joints: list[str]) -> None:
    for joint in joints:
        motor = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.gaintype, motor.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_NONE
        motor.gainprm[0] = 1.0


def _torque_limits_nm(compiled: mujoco.MjModel, manifest: Manifest, where: str) -> Float64Array:
    limit = torque_limit(manifest)
    allowed = np.full(len(manifest.joints), np.inf) if limit is None else limit
    limits = np.empty(len(manifest.joints))
    for index, name in enumerate(manifest.joints):
        most = mjcf.torque_limit_nm(compiled, compiled.joint(name).id)
        limits[index] = min(np.inf if most is None else most, allowed[index])
        if not np.isfinite(limits[index]):
            raise InputError(
                f"{where}: joint {name!r} has no torque limit: add actuatorfrcrange to it, or limits.torque "
                "to the manifest"
            )
    return limits


def _standing_height_m(
    compiled: mujoco.MjModel, manifest: Manifest, standing: Float64Array, soles: Indices, where: str
) -> float:
    """Of the base above the floor in the default pose. Raises InputError when that pose is impossible."""
    data = mujoco.MjData(compiled)
    data.qpos[:7] = (0.0, 0.0, 1e3, 1.0, 0.0, 0.0, 0.0)  # far above the floor
    for name, angle in zip(manifest.joints, standing, strict=True):
        low, high = compiled.joint(name).range
        if not low <= angle <= high and name not in manifest.continuous_joints:
            raise InputError(
                f"{where}: joint {name!r}: the manifest's default_joint_position_rad is {angle:g}, but its "
                f"range is {low:g} to {high:g}"
            )
        data.qpos[compiled.joint(name).qposadr[0]] = angle
    mujoco.mj_forward(compiled, data)
    mjcf.check_apart(compiled, data, where)
    return 1e3 - float((data.geom_xpos[soles, 2] - mjcf.reach_m(compiled, data, soles)).min())
