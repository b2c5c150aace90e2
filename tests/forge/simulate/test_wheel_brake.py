"""A cart on a slope gets damping: with its brake it stops and stays, with damping alone it does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from gaitd.policy.manifest import Manifest
from gaitforge.common.manifest import checked_manifest
from gaitforge.simulate.body import from_mjcf
from gaitforge.simulate.direct import run_direct
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript
from support.bundles import small_manifest

WHEELS = ["front_left", "front_right", "hind_left", "hind_right"]
SLOPE_RAD = np.deg2rad(10)
RADIUS_M = 0.1
SPEED_M_PER_S = 1.0

_WHEEL = """
      <body name="{name}" pos="{x} {y} 0">
        <joint name="{name}" axis="0 1 0" damping="0.01" actuatorfrcrange="-20 20"/>
        <geom type="ellipsoid" size="0.1 0.03 0.1" mass="0.5" friction="1 0.005 0.0001"/>
      </body>"""
_PLACES = dict(zip(WHEELS, [(0.2, 0.2), (0.2, -0.2), (-0.2, 0.2), (-0.2, -0.2)], strict=True))
CART = f"""
<mujoco model="cart">
  <compiler angle="radian" autolimits="true"/>
  <option cone="elliptic" noslip_iterations="5"/>
  <worldbody>
    <body name="base" pos="0 0 0.1"><freejoint/>
      <geom type="box" size="0.25 0.12 0.03" mass="10"/>
      {"".join(_WHEEL.format(name=name, x=x, y=y) for name, (x, y) in _PLACES.items())}
    </body>
  </worldbody>
  <actuator>{"".join(f'<motor name="{name}" joint="{name}"/>' for name in WHEELS)}</actuator>
</mujoco>"""


def contract() -> Manifest:
    return checked_manifest(
        small_manifest(
            format=2,
            robot="cart",
            control_period_s=0.02,
            joints=WHEELS,
            continuous_joints=WHEELS,
            default_joint_position_rad={},
            observation={"terms": [{"term": "velocity_command"}]},
            action=[{"joints": WHEELS, "target": "velocity", "scale": 10.0, "damping_nms_per_rad": 0.6}],
            fallback_damping_nms_per_rad=0.6,
            brake={"stiffness_nm_per_rad": 60.0, "max_nm": 4.0},
            limits={"position": {"min_rad": {}, "max_rad": {}}, "velocity": {"max_rad_per_s": 30.0}},
        ),
        "manifest",
    )


def roll(tmp_path: Path, manifest: Manifest) -> np.ndarray:
    """Down the slope: how far it is (m), each 20 ms, after the policy that drove it downhill is gone."""
    mjcf = tmp_path / "cart.xml"
    mjcf.write_text(CART)
    robot = Robot(0, from_mjcf(mjcf, manifest))
    robot.model.opt.gravity[:] = 9.81 * np.array([np.sin(SLOPE_RAD), 0.0, -np.cos(SLOPE_RAD)])
    way: list[float] = []
    run_direct(
        manifest,
        lambda _: np.full(4, SPEED_M_PER_S / RADIUS_M / 10.0, np.float32),
        script=CommandScript.constant(0.0, 0.0),
        seconds=12.0,
        robot=robot,
        let_go_s=1.9,
        on_step=lambda step: way.append(float(robot.data.qpos[0])) if step.time_s >= 2.0 else None,
    )
    return np.array(way) - way[0]


def test_a_cart_on_a_slope_stops_and_stays(tmp_path: Path) -> None:
    way = roll(tmp_path, contract())
    assert way[-1] < 0.15
    assert abs(way[-1] - way[100]) < 0.01  # from the second second on


def test_damping_alone_lets_it_roll_on(tmp_path: Path) -> None:
    manifest = contract()
    assert manifest.brake is not None
    none = msgspec.structs.replace(manifest.brake, stiffness_nm_per_rad=1e-6, max_nm=1e-6)
    way = roll(tmp_path, msgspec.structs.replace(manifest, brake=none))
    # As fast in the end as damping balances the slope.
    force_n = 12.0 * 9.81 * np.sin(SLOPE_RAD)
    speed = force_n * RADIUS_M / 4 / 0.61 * RADIUS_M
    assert way[-1] - way[-51] == pytest.approx(speed, rel=0.1)
