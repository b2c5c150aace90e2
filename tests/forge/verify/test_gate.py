"""The gate's floor: the float model itself must stay up and go where it is told."""

from __future__ import annotations

from pathlib import Path

import graphs
import msgspec
import numpy as np
import pytest

from gaitd.bundle.read import open_bundle
from gaitforge.common.manifest import load_manifest
from gaitforge.model.onnx_policy import read_policy
from gaitforge.simulate.tour import TOUR_S, tour_script, walk_tour
from gaitforge.verify import gate
from gaitforge.verify.evaluation import Result, action_error
from gaitforge.verify.joint_errors import JointBound
from gaitforge.verify.verification import replace_model
from gaitforge.verify.walking import Leg, Walk, in_words, judge
from support.bundles import contract, mixed_manifest
from support.reference import EXAMPLE_BUNDLE, EXAMPLE_DIR
from support.wheels import m20_manifest

COMMAND = slice(6, 9)
"""Where the example's observation (45 values) has the velocity command."""


def walked(path: Path) -> Walk:
    """How a model follows every kind of command under the example's contract."""
    policy = read_policy(path)
    manifest = replace_model(load_manifest(EXAMPLE_DIR / "manifest.yaml"), policy)
    _, run = walk_tour(manifest, policy.backend(), None)
    return judge(manifest, run, tour_script(manifest), TOUR_S)


def policy_that(tmp_path: Path, **factors: float) -> Path:
    """The example's policy, told another command: forward, left and turn times these factors."""
    every = np.ones(45)
    every[COMMAND] = [factors.get(name, 1.0) for name in ("forward", "left", "turn")]
    return graphs.with_factors(
        open_bundle(EXAMPLE_BUNDLE).read_bytes("model.onnx"), tmp_path / "policy.onnx", every.tolist()
    )


def test_the_example_walks_where_it_is_told(tmp_path: Path) -> None:
    walk = walked(policy_that(tmp_path))
    assert walk.outcome == "kept walking"
    assert gate.floor_failures([walk], gate.Floor()) == []
    sideways = next(leg for leg in walk.legs if leg.asked[1] == pytest.approx(0.4))
    assert sideways.walked[1] == pytest.approx(0.36, abs=0.1)
    assert walk.turned_rad == pytest.approx(0.6 * 2.0 - 0.6 * 2.0, abs=0.5)


@pytest.mark.parametrize(
    ("factors", "named"),
    [
        ({"forward": 0.0}, "asked to walk forward at 0.80 m/s, it stood"),
        ({"forward": -1.0}, "asked to walk forward at 0.80 m/s, it walked backward"),
        ({"left": -1.0}, "asked to walk left at 0.40 m/s, it walked right"),
        ({"turn": -1.0}, "turn to the left at 0.56 rad/s, it walked forward at 0."),
    ],
)
def test_a_policy_that_goes_elsewhere_fails(tmp_path: Path, factors: dict[str, float], named: str) -> None:
    failures = gate.floor_failures([walked(policy_that(tmp_path, **factors))], gate.Floor())
    assert any(named in failure for failure in failures), failures


def test_a_command_in_another_unit_is_recognized(tmp_path: Path) -> None:
    halved = policy_that(tmp_path, forward=0.45, left=0.45, turn=0.45)
    *strayed, scale = gate.floor_failures([walked(halved)], gate.Floor())
    assert scale.startswith("float: walks 0.")
    assert "look at the scale of velocity_command" in scale
    assert strayed
    assert not any("look at" in line for line in strayed)


def test_a_policy_that_falls_fails(tmp_path: Path) -> None:
    example = open_bundle(EXAMPLE_BUNDLE).read_bytes("model.onnx")
    walk = walked(graphs.with_factors(example, tmp_path / "policy.onnx", [-2.0] * 45))
    assert not walk.kept_up
    (failure,) = gate.floor_failures([walk], gate.Floor())
    assert failure.startswith("float: 1 of 1 walks failed (")
    assert gate.floor_failures([walk], gate.Floor(falls=1)) == []


@pytest.mark.parametrize(
    ("asked", "did", "passes"),
    [
        ((0.8, 0.0, 0.0), (0.45, 0.0, 0.0), True),
        ((0.8, 0.0, 0.0), (0.35, 0.0, 0.0), False),
        ((0.8, 0.0, 0.0), (1.3, 0.0, 0.0), False),
        ((0.8, 0.0, 0.0), (0.8, 0.4, 0.0), False),
        ((0.8, 0.0, 0.0), (0.8, 0.0, -0.5), False),
        ((0.0, 0.0, 0.0), (0.1, -0.1, 0.1), True),
        ((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), False),
        ((-0.4, 0.0, 0.0), (-0.3, 0.0, 0.0), True),
        ((-0.4, 0.0, 0.0), (0.3, 0.0, 0.0), False),
    ],
)
def test_bounds_of_following(
    asked: tuple[float, float, float], did: tuple[float, float, float], passes: bool
) -> None:
    walk = Walk(0, "kept walking", True, 10.0, 0.0, 0.0, 0.0, [Leg(0.0, 10.0, asked, did)])
    assert (gate.floor_failures([walk], gate.Floor()) == []) is passes


def test_velocities_in_words() -> None:
    assert in_words((0.0, 0.0, 0.01)) == "stand"
    assert in_words((-0.4, 0.3, -0.5)) == (
        "walk backward at 0.40 m/s and walk left at 0.30 m/s and turn to the right at 0.50 rad/s"
    )


def test_a_way_in_words_has_no_negative_numbers() -> None:
    walk = Walk(0, "kept walking", True, 10.0, 3.1, -5.54, -0.63, [])
    assert walk.way() == "3.10 m forward, 5.54 m to the right, turned right by 36 deg"
    assert Walk(0, "kept walking", True, 10.0, -1.0, 0.5, 0.2, []).way() == (
        "1.00 m backward, 0.50 m to the left, turned left by 11 deg"
    )


def compared(scale: float, actions: np.ndarray, error: float) -> list[str]:
    """What fp16 with that error of every action misses, under that action scale [rad]."""
    manifest = load_manifest(EXAMPLE_DIR / "manifest.yaml")
    action = msgspec.structs.replace(manifest.action, scale=scale, clip=None)
    scaled = msgspec.structs.replace(manifest, action=action)
    floating = Result("float", actions, action_error(scaled, actions, actions))
    fp16 = Result("fp16", actions + error, action_error(scaled, actions, actions + np.float32(error)))
    return gate.failures(fp16, floating, gate.Gate().fp16)


def test_errors_are_judged_in_radians_and_in_parts_of_the_actions() -> None:
    actions = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
    assert compared(0.25, actions, 0.003) == []
    assert any(" rad, allowed is 0.001 rad" in failure for failure in compared(2.0, actions, 0.003))
    # Raw actions of +-20 at a scale of 0.01 rad: rounding is ten times larger in raw units.
    assert compared(0.01, 20.0 * actions, 0.04) == []
    assert any("action error" in failure for failure in compared(0.01, actions, 0.04))


def of_wheels(errors: dict[str, float], **changes: object) -> Result:
    """fp16 of a robot on wheels, whose actions are off by so much, raw, at these joints."""
    manifest = contract(m20_manifest(**changes))
    actions = np.random.default_rng(0).standard_normal((50, len(manifest.moved_joints))).astype(np.float32)
    off = np.array([errors.get(joint, 0.0) for joint in manifest.moved_joints], np.float32)
    return Result("fp16", actions + off, action_error(manifest, actions, actions + off))


def test_wheels_are_judged_by_their_speed_and_not_in_radians() -> None:
    """Raw 0.004 is 0.02 rad/s of a wheel that may turn with 60; 0.02 rad of a leg would be too much."""
    bounds = gate.Gate().fp16
    assert gate.failures(of_wheels({"fl_wheel_joint": 0.004}), of_wheels({}), bounds) == []
    (mean,) = gate.failures(of_wheels({"fl_wheel_joint": 0.02}), of_wheels({}), bounds)
    assert mean == "fp16: mean error of fl_wheel_joint is 0.1 rad/s, allowed is 0.06 rad/s"
    (leg,) = gate.failures(
        of_wheels({"fl_wheel_joint": 0.004, "hr_knee_joint": 0.008}), of_wheels({}), bounds
    )
    assert leg == "fp16: mean error of hr_knee_joint is 0.002 rad, allowed is 0.001 rad"


def test_the_worst_joint_is_the_one_nearest_its_bound() -> None:
    joints = of_wheels({"fl_wheel_joint": 0.004, "hr_knee_joint": 0.002}).action_error.joints
    worst = joints.worst(joints.largest, JointBound(rad=0.005, share=0.005))
    assert (joints.joints[worst.joint], joints.units[worst.joint]) == ("hr_knee_joint", "rad")
    worst = joints.worst(joints.largest, JointBound(rad=0.5, share=0.0))
    assert (joints.joints[worst.joint], worst.allowed) == ("fl_wheel_joint", 0.0)
    found = joints.as_json()
    assert {key: len(values) for key, values in found.items()} == {"error_rad": 12, "error_rad_per_s": 4}
    assert found["error_rad_per_s"]["fl_wheel_joint"]["max"] == pytest.approx(0.02, rel=1e-3)


def test_torques_have_bounds_of_their_own_and_held_joints_no_error() -> None:
    manifest = contract(mixed_manifest())
    actions = np.zeros((5, 4), np.float32)  # hip, wheel, knee, fin; the waist is held
    off = np.array([0.0, 0.004, 0.0, 0.05], np.float32)
    fp16 = Result("fp16", actions + off, action_error(manifest, actions, actions + off))
    floating = Result("float", actions, action_error(manifest, actions, actions))
    assert "fp16: mean error of fin is 0.2 Nm, allowed is 0.02 Nm" in gate.failures(
        fp16, floating, gate.Gate().fp16
    )
    assert fp16.action_error.joints.as_json()["error_rad"]["waist"]["max"] == 0.0


def test_bounds_that_are_not_the_default_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("fp16: {joint_max_rad: 0.05}\nfloor: {hard_landings: 3}\n")
    bounds = gate.read_gate(path)
    assert bounds.fp16.action_mean == gate.Gate().fp16.action_mean
    assert gate.other_bounds(bounds) == [
        "floor.hard_landings 3 (default 0)",
        "fp16.joint_max_rad 0.05 (default 0.005)",
    ]
    assert gate.other_bounds(gate.read_gate(None)) == []
