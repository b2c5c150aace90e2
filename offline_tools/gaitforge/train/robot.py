"""The robot's model for training: no pictures, and motors that are part of the physics.

MuJoCo holds a control over the steps of a control period, so the motors' law must be the actuator's own:
affine in position and velocity, for whatever the joint follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.bounds import bounded_mask
from gaitd.policy.joints import default_position, positive_joint_array
from gaitd.policy.manifest import Manifest
from gaitforge.simulate import mjcf as files
from gaitforge.simulate import terrain
from gaitforge.simulate.mjcf import FLOOR, reach_m
from gaitforge.simulate.model import model_xml
from gaitforge.simulate.physics import mujoco
from gaitforge.simulate.terrain import Kind
from gaitforge.train.config import RobotParameters

Float64Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

_Disable = mujoco.mjtDisableBit


@dataclass(frozen=True)
class Robot:
    """A compiled model, and where in it what the environment reads and writes is.

    Its sensors: contact with the floor of the feet, then of the terminal geoms, then the feet's velocities.
    """

    model: mujoco.MjModel
    base: int
    """Body of the free joint."""
    floor: int
    """Geom."""
    position: Indices
    """(n,) of the policy's joints in qpos."""
    velocity: Indices
    """(n,) in qvel."""
    feet: Indices
    """(f,) geoms."""
    foot_radius_m: Float64Array
    """(f,) from a foot's centre down to its sole."""
    terminals: Indices
    """(t,) geoms whose contact with the floor ends an episode."""
    terminal_radius_m: Float64Array
    """(t,)"""
    abduction: Mask
    """(n,) joints that turn about the robot's length."""
    bounded: Mask
    """(n,) joints that do not turn without end."""
    default: Float64Array
    """(n,) rad; 0 for a joint that turns without end."""
    start: Float64Array
    """(n,) The target in force at a start: the default pose, at rest."""
    follows_velocity: Mask
    """(n,) joints whose motor follows a velocity."""
    height_m: float
    """Of the base above the floor in the default pose, standing."""
    home: Float64Array
    """(nq,) the default pose, standing on the floor."""


def build(
    manifest: Manifest,
    parameters: RobotParameters,
    mjcf: Path | None,
    timestep_s: float | None = None,
    kind: Kind = "flat",
) -> Robot:
    """Build the model of the manifest's joints and gains, on a floor whose heights are not laid yet.

    ``timestep_s`` replaces the parameters'. Raises InputError when the model cannot be read, is not for these
    joints, or lacks a geom that the parameters name.
    """
    where = "the Lite3's model" if mjcf is None else str(mjcf)
    spec = mujoco.MjSpec.from_string(model_xml()) if mjcf is None else files.read(mjcf)
    files.check(spec, manifest.joints, where, manifest.continuous_joints)
    with files.refusals(where):
        _strip(spec)
        files.floor(spec)
        if kind != "flat":
            terrain.prepare(spec)
        _add_motors(spec, manifest, parameters)
        for geom in (*parameters.feet, *parameters.terminal):
            _add_contact(spec, geom, where)
        for geom in parameters.feet:
            _add_velocity(spec, geom)
        spec.option.timestep = timestep_s or parameters.timestep_s
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.iterations = 8
        # One robot is one island, and its motors change at every control step: both only cost time (a sixth).
        spec.option.disableflags |= int(_Disable.mjDSBL_ISLAND | _Disable.mjDSBL_WARMSTART)
        model = spec.compile()
    return _describe(model, manifest, parameters)


def control_steps(robot: Robot, manifest: Manifest) -> int:
    """Physics steps of a control period. Raises InputError when it is not a whole number of them."""
    timestep = float(robot.model.opt.timestep)
    steps = round(manifest.control_period_s / timestep)
    if steps < 1 or abs(steps * timestep - manifest.control_period_s) > 1e-9:
        raise InputError(
            f"control_period_s: {manifest.control_period_s} s is not a whole number of physics steps of "
            f"{timestep} s; change timestep_s in the robot parameter file"
        )
    return steps


def _strip(spec: mujoco.MjSpec) -> None:
    files.take_out_motors(spec)
    for listed in (spec.lights, spec.cameras):
        for element in list(listed):
            spec.delete(element)
    for geom in list(spec.geoms):
        if geom.contype == 0 and geom.conaffinity == 0 and _weightless(geom):
            spec.delete(geom)
    spec.compiler.discardvisual = True


def _weightless(geom: mujoco.MjsGeom) -> bool:
    return bool(geom.parent.explicitinertial) or geom.parent.name == "world"


def _add_motors(spec: mujoco.MjSpec, manifest: Manifest, parameters: RobotParameters) -> None:
    mapper = ActionMapper(manifest)
    limits = positive_joint_array(parameters.torque_limit_nm, manifest.joints, "torque_limit_nm").tolist()
    gains = zip(manifest.joints, mapper.kinds, mapper.stiffness, mapper.damping, limits, strict=True)
    for joint, kind, stiffness, damping, limit in gains:
        motor = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.gaintype, motor.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
        motor.gainprm[0] = {"position": stiffness, "velocity": damping, "torque": 1.0}[kind]
        motor.biasprm[:3] = (0.0, -stiffness, -damping)
        motor.forcelimited, motor.forcerange = mujoco.mjtLimited.mjLIMITED_TRUE, (-limit, limit)


def _add_contact(spec: mujoco.MjSpec, geom: str, where: str) -> None:
    if spec.geom(geom) is None:
        known = ", ".join(str(found.name) for found in spec.geoms if found.name)
        raise InputError(f"{where}: geom {geom!r} of the robot parameter file is not in it; it has {known}")
    sensor = spec.add_sensor(
        name=f"{geom} on the floor",
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=mujoco.mjtObj.mjOBJ_GEOM,
        objname=geom,
        reftype=mujoco.mjtObj.mjOBJ_GEOM,
        refname=FLOOR,
    )
    sensor.intprm[:3] = (1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1)


def _add_velocity(spec: mujoco.MjSpec, geom: str) -> None:
    spec.add_sensor(
        name=f"{geom} velocity",
        type=mujoco.mjtSensor.mjSENS_FRAMELINVEL,
        objtype=mujoco.mjtObj.mjOBJ_GEOM,
        objname=geom,
    )


def _describe(model: mujoco.MjModel, manifest: Manifest, parameters: RobotParameters) -> Robot:
    joints = [model.joint(name).id for name in manifest.joints]
    feet = np.array([model.geom(name).id for name in parameters.feet], np.intp)
    terminals = np.array([model.geom(name).id for name in parameters.terminal], np.intp)
    default = default_position(manifest).astype(np.float64)
    mapper = ActionMapper(manifest)
    data = mujoco.MjData(model)
    data.qpos[:7] = (0, 0, 0, 1, 0, 0, 0)
    data.qpos[model.jnt_qposadr[joints]] = default
    mujoco.mj_forward(model, data)
    soles = data.geom_xpos[feet, 2] - reach_m(model, data, feet)
    data.qpos[2] = -soles.min()
    return Robot(
        model=model,
        base=int(model.jnt_bodyid[0]),
        floor=model.geom(FLOOR).id,
        position=np.array(model.jnt_qposadr[joints], np.intp),
        velocity=np.array(model.jnt_dofadr[joints], np.intp),
        feet=feet,
        foot_radius_m=data.geom_xpos[feet, 2] - soles,
        bounded=bounded_mask(manifest),
        default=default,
        start=np.where(mapper.follow("position"), default, 0.0),
        follows_velocity=mapper.follow("velocity"),
        height_m=float(data.qpos[2]),
        home=data.qpos.copy(),
        terminals=terminals,
        terminal_radius_m=reach_m(model, data, terminals),
        abduction=np.abs(data.xaxis[joints, 0]) > 0.9,
    )
