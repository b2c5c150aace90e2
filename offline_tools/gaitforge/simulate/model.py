"""The simulated robot's body: a Lite3-like quadruped for MuJoCo, written from the maker's published numbers.

Masses, inertias, link lengths, joint ranges and torque limits are those published for the Deep
Robotics Lite3. Shapes are primitives of our own: what touches the ground (feet, knees, trunk) is in
geom group 3 and hidden in pictures; what is seen is in group 2 and touches nothing.
Frames: x forward, y left, z up; the base frame is the trunk's, where the IMU sits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

LEGS = ("FL", "FR", "HL", "HR")
"""Front left, front right, hind left, hind right."""

JOINTS = tuple(f"{leg}_{joint}_joint" for leg in LEGS for joint in ("HipX", "HipY", "Knee"))
"""The twelve joints in the order of the robot's own interface."""

STANDING_LEG_RAD = (0.0, -0.65, 1.3)
"""HipX, HipY, Knee of one leg when the robot stands."""

LYING_LEG_RAD = (0.0, -1.35453, 2.54948)
"""HipX, HipY, Knee of one leg when the robot lies folded, as it is switched on."""

TORQUE_LIMITS_NM = (24.0, 24.0, 36.0)
"""HipX, HipY, Knee: actuatorfrcrange in the maker's current model (deep_robotics_model, Lite3.xml)."""

TIMESTEP_S = 0.001

# Joint ranges [rad]: HipX, HipY, Knee.
_RANGES_RAD = ((-0.523, 0.523), (-2.67, 0.314), (0.524, 2.792))

# Distances [m]: trunk to HipX axis (forward, sideways), HipX to HipY (sideways), thigh, shank, foot radius.
_HIP_FORWARD_M, _HIP_SIDE_M = 0.1745, 0.062
_HIP_OFFSET_M = 0.09735
_THIGH_M = 0.2
_SHANK_M = 0.21012
_FOOT_RADIUS_M = 0.022

Vector = tuple[float, float, float]


class Inertial(NamedTuple):
    """Mass [kg], centre of mass [m] and principal inertia [kg m^2] of a link in its own frame."""

    mass: float
    centre: Vector
    inertia: Vector


@dataclass(frozen=True)
class Leg:
    """The links of one leg, and on which corner of the trunk it sits."""

    name: str
    front: int
    """1 in front, -1 behind."""
    left: int
    """1 on the left, -1 on the right."""
    hip: Inertial
    thigh: Inertial
    shank: Inertial


_TRUNK = Inertial(5.6056, (0.0, 0.0, 0.0), (0.02456, 0.05518, 0.07016))
_FOOT = Inertial(0.02, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def _leg(name: str, hip: Vector, thigh: Vector, shank_y: float) -> Leg:
    """A leg from what differs between legs: the centres of mass, and by side the hip's inertia."""
    left = name[1] == "L"
    about_x, about_z = (0.0003949, 0.0004472) if left else (0.0004472, 0.0003949)
    return Leg(
        name,
        front=1 if name[0] == "F" else -1,
        left=1 if left else -1,
        hip=Inertial(0.55, hip, (about_x, 0.0004028, about_z)),
        thigh=Inertial(0.86, thigh, (0.005736, 0.00496, 0.001436)),
        shank=Inertial(0.153, (0.0064794, shank_y, -0.12157), (0.00089039, 0.00090672, 3.1266e-05)),
    )


_LEGS = (
    _leg("FL", (-0.00601, -0.0066532, 0.00034295), (-0.0052817, -0.014632, -0.042672), -1.4535e-06),
    _leg("FR", (-0.010579, 0.011358, 0.00048546), (-0.0039245, 0.025256, -0.025146), -1.4552e-06),
    _leg("HL", (0.010905, -0.012636, 0.001051), (-0.0057137, -0.014631, -0.042453), -1.4558e-06),
    _leg("HR", (0.010354, 0.011423, 0.00049498), (-0.0031903, 0.02526, -0.025617), -1.4529e-06),
)

_HEADER = f"""
<mujoco model="lite3">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIMESTEP_S}"/>
  <statistic center="0 0 0.25" extent="1"/>
  <visual>
    <global fovy="38"/>
    <quality shadowsize="4096" offsamples="0"/>
    <headlight ambient="0.42 0.42 0.44" diffuse="0.30 0.30 0.30" specular="0.05 0.05 0.05"/>
    <map znear="0.02" zfar="60" fogstart="2" fogend="4.2" shadowclip="3" shadowscale="0.7"/>
    <rgba haze="0.86 0.90 0.94 1" fog="0.86 0.90 0.94 1"/>
  </visual>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1="0.55 0.69 0.83" rgb2="0.90 0.93 0.96"
             width="256" height="1536"/>
    <texture name="tiles" type="2d" builtin="checker" mark="edge" width="512" height="512"
             rgb1="0.80 0.83 0.86" rgb2="0.70 0.74 0.78" markrgb="0.93 0.95 0.97"/>
    <material name="floor" texture="tiles" texrepeat="2 2" texuniform="true"/>
    <material name="shell" rgba="0.93 0.94 0.95 1" specular="0.5" shininess="0.6"/>
    <material name="accent" rgba="0.05 0.58 0.64 1" specular="0.5" shininess="0.6"/>
    <material name="frame" rgba="0.15 0.17 0.20 1" specular="0.35" shininess="0.5"/>
    <material name="motor" rgba="0.27 0.30 0.34 1" specular="0.5" shininess="0.6"/>
    <material name="rubber" rgba="0.07 0.07 0.08 1" specular="0.1" shininess="0.1"/>
    <material name="glass" rgba="0.04 0.08 0.12 1" specular="0.9" shininess="0.9"/>
  </asset>
  <default>
    <geom contype="0" conaffinity="0" group="2" material="frame"/>
    <default class="solid">
      <geom conaffinity="1" condim="3" group="3" rgba="0.9 0.4 0.2 0.4"/>
    </default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 0.05" material="floor" group="0"
          contype="1" conaffinity="1" priority="1" condim="3" solref="0.0125 1" friction="1 0.005 0.0001"/>
"""

_TRUNK_SHAPES = """
      <light name="sun" mode="track" pos="-0.9 1.4 2.6" dir="0.32 -0.46 -0.83" directional="true"
             diffuse="0.62 0.60 0.56" specular="0.25 0.25 0.25" castshadow="true"/>
      <site name="imu"/>
      <geom class="solid" name="trunk" type="box" size="0.25 0.05 0.06" pos="0 0 0.01"/>
      <geom type="box" size="0.185 0.062 0.036" pos="0 0 0.004"/>
      <geom type="capsule" size="0.034" fromto="-0.185 0.036 0.034 0.195 0.036 0.034" material="shell"/>
      <geom type="capsule" size="0.034" fromto="-0.185 -0.036 0.034 0.195 -0.036 0.034" material="shell"/>
      <geom type="box" size="0.185 0.036 0.0338" pos="0.005 0 0.034" material="shell"/>
      <geom type="box" size="0.15 0.010 0.002" pos="-0.01 0 0.0675" material="accent"/>
      <geom type="box" size="0.12 0.0012 0.006" pos="0 0.0695 0.034" material="accent"/>
      <geom type="box" size="0.12 0.0012 0.006" pos="0 -0.0695 0.034" material="accent"/>
      <geom type="ellipsoid" size="0.062 0.062 0.046" pos="0.212 0 0.018" material="shell"/>
      <geom type="ellipsoid" size="0.030 0.046 0.026" pos="0.250 0 0.020" material="glass"/>
      <geom type="sphere" size="0.007" pos="0.2775 0.018 0.026" material="accent"/>
      <geom type="sphere" size="0.007" pos="0.2775 -0.018 0.026" material="accent"/>
      <geom type="ellipsoid" size="0.040 0.058 0.040" pos="-0.208 0 0.016" material="shell"/>
"""


def model_xml() -> str:
    """Return the MJCF text: a floor, the robot at the origin with a free base, twelve torque motors."""
    legs = "".join(_leg_xml(leg) for leg in _LEGS)
    motors = "".join(
        f'    <motor name="{joint}" joint="{joint}" ctrlrange="-{limit} {limit}"/>\n'
        for joint, limit in zip(JOINTS, TORQUE_LIMITS_NM * len(LEGS), strict=True)
    )
    return (
        f"{_HEADER}"
        f'    <body name="trunk">\n      <freejoint name="base"/>\n      {_inertial(_TRUNK)}'
        f"{_TRUNK_SHAPES}{legs}    </body>\n  </worldbody>\n"
        f"  <actuator>\n{motors}  </actuator>\n"
        f'  <sensor>\n    <accelerometer name="accelerometer" site="imu"/>\n  </sensor>\n</mujoco>\n'
    )


def _leg_xml(leg: Leg) -> str:
    side, along_x, along_y = (
        leg.left,
        'type="cylinder" euler="0 1.5708 0"',
        'type="cylinder" euler="1.5708 0 0"',
    )
    hip_x, hip_y, knee = _RANGES_RAD
    return f"""
      <body name="{leg.name}_hip" pos="{leg.front * _HIP_FORWARD_M} {side * _HIP_SIDE_M} 0">
        {_joint(leg, "HipX", "-1 0 0", hip_x)}
        {_inertial(leg.hip)}
        <geom {along_x} size="0.040 0.026" pos="{0.012 * leg.front} 0 0" material="motor"/>
        <geom {along_x} size="0.030 0.004" pos="{0.040 * leg.front} 0 0" material="accent"/>
        <geom type="capsule" size="0.026" fromto="0 0 0 0 {side * 0.062} 0"/>
        <body name="{leg.name}_thigh" pos="0 {side * _HIP_OFFSET_M} 0">
          {_joint(leg, "HipY", "0 -1 0", hip_y)}
          {_inertial(leg.thigh)}
          <geom {along_y} size="0.044 0.024" pos="0 {-0.014 * side} 0" material="motor"/>
          <geom {along_y} size="0.036 0.004" pos="0 {0.012 * side} 0" material="accent"/>
          <geom {along_y} size="0.026 0.003" pos="0 {0.016 * side} 0"/>
          <geom type="capsule" size="0.026" fromto="0 {-0.004 * side} -0.02 0 0 -0.11" material="shell"/>
          <geom type="capsule" size="0.019" fromto="0 0 -0.1 0 0 -{_THIGH_M}" material="shell"/>
          <body name="{leg.name}_shank" pos="0 0 -{_THIGH_M}">
            {_joint(leg, "Knee", "0 -1 0", knee)}
            {_inertial(leg.shank)}
            <geom class="solid" name="{leg.name}_knee" type="sphere" size="0.02"/>
            <geom {along_y} size="0.024 0.022" material="motor"/>
            <geom type="capsule" size="0.013" fromto="0 0 0 0.006 0 -0.1"/>
            <geom type="capsule" size="0.010" fromto="0.006 0 -0.1 0 0 -{_SHANK_M}"/>
            <body name="{leg.name}_foot" pos="0 0 -{_SHANK_M}">
              {_inertial(_FOOT)}
              <geom class="solid" name="{leg.name}_foot" type="sphere" size="{_FOOT_RADIUS_M}"/>
              <geom type="sphere" size="{_FOOT_RADIUS_M}" material="rubber"/>
            </body>
          </body>
        </body>
      </body>
"""


def _joint(leg: Leg, joint: str, axis: str, limits: tuple[float, float]) -> str:
    return f'<joint name="{leg.name}_{joint}_joint" axis="{axis}" range="{limits[0]} {limits[1]}"/>'


def _inertial(link: Inertial) -> str:
    centre = " ".join(map(str, link.centre))
    inertia = " ".join(map(str, link.inertia))
    return f'<inertial mass="{link.mass}" pos="{centre}" diaginertia="{inertia}"/>'
