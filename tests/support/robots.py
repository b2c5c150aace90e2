"""A robot of nobody's: a four-legged stool with two joints a leg, as an MJCF file and a contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gaitd.policy.manifest import Manifest
from support.bundles import contract, small_manifest

LEGS = {"front_left": (1, 1), "front_right": (1, -1), "hind_left": (-1, 1), "hind_right": (-1, -1)}
JOINTS = [f"{leg}_{joint}" for leg in LEGS for joint in ("hip", "knee")]
HEIGHT_M = 0.2 * 2 * 0.877583 + 0.025
"""Of the trunk with the hips at 0.5 rad and the knees at -1.0."""

_LEG = """
      <body name="{leg}_thigh" pos="{x} {y} 0">
        <joint name="{leg}_hip" axis="0 1 0" range="-1.5 1.5" actuatorfrcrange="-40 40" armature="0.01"/>
        <geom type="capsule" size="0.02" fromto="0 0 0 0 0 -0.2" mass="0.5" contype="0" conaffinity="0"/>
        <body name="{leg}_shank" pos="0 0 -0.2">
          <joint name="{leg}_knee" axis="0 1 0" range="-2.5 -0.2" actuatorfrcrange="-40 40" armature="0.01"/>
          <geom type="capsule" size="0.015" fromto="0 0 0 0 0 -0.2" mass="0.2" contype="0" conaffinity="0"/>
          <geom name="{leg}_foot" type="sphere" size="0.025" pos="0 0 -0.2" mass="0.05"/>
        </body>
      </body>"""


def stool_xml(base: str = "<freejoint/>", more: str = "", world: str = "", assets: str = "") -> str:
    """The model: ``base`` is the trunk's joint, ``more`` stands in the trunk, ``world`` beside it."""
    legs = "".join(_LEG.format(leg=leg, x=0.25 * x, y=0.15 * y) for leg, (x, y) in LEGS.items())
    motors = "".join(f'<motor name="{joint}" joint="{joint}"/>' for joint in JOINTS)
    return f"""
<mujoco model="stool">
  <compiler angle="radian" autolimits="true"/>
  <asset>{assets}</asset>
  <worldbody>{world}
    <body name="trunk" pos="0 0 1">{base}
      <geom name="trunk" type="box" size="0.25 0.15 0.05" mass="6"/>{more}{legs}
    </body>
  </worldbody>
  <actuator>{motors}</actuator>
</mujoco>"""


def write_stool(folder: Path, **changes: str) -> Path:
    path = folder / "stool.xml"
    path.write_text(stool_xml(**changes))
    return path


def stool_manifest(**changes: Any) -> dict[str, Any]:
    """A contract whose joints are in another order than the model's; without ``files``."""
    joints = JOINTS[::-1]
    return {
        **small_manifest(
            name="stool",
            robot="stool",
            control_period_s=0.02,
            joints=joints,
            default_joint_position_rad={name: 0.5 if name.endswith("hip") else -1.0 for name in joints},
            velocity_command={"unit": "si", "min": [-0.5, -0.5, -0.5], "max": [0.5, 0.5, 0.5]},
            action={"scale": 0.25, "stiffness_nm_per_rad": 80.0, "damping_nms_per_rad": 2.0},
            fallback_damping_nms_per_rad=3.0,
            limits={"position": {"min_rad": -2.5, "max_rad": 1.5}},
        ),
        **changes,
    }


def stool_contract(**changes: Any) -> Manifest:
    return contract(stool_manifest(**changes))
