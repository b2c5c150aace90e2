"""Published policies walk in the published models of their robots, as far as their own code walks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaitd.errors import InputError
from gaitd.policy.manifest import Manifest
from gaitforge.common.manifest import checked_manifest
from gaitforge.model.onnx_policy import read_policy
from gaitforge.simulate.body import from_mjcf
from gaitforge.simulate.direct import DirectRun, run_direct
from gaitforge.simulate.script import CommandScript
from gaitforge.verify.verification import replace_model
from support.deploy import (
    G1,
    G1_ACTION,
    G1_DEFAULT,
    G1_TERMS,
    GO1,
    GO1_ACTION,
    GO1_DEFAULT,
    GO1_TERMS,
    POLICIES,
    ROBOTS,
    legs,
)
from support.wheels import M20_MODEL, M20_POLICY, m20_manifest

pytestmark = pytest.mark.skipif(not ROBOTS.is_dir(), reason="the robots' models are not here (../shared)")


def contract(joints: list[str], default: list[float], terms: list[Any], action: dict[str, Any]) -> Manifest:
    return checked_manifest(legs("real", joints, default, terms, action), "manifest")


def walk(manifest: Manifest, model: Path, mjcf: Path, command: tuple[float, float], seed: int) -> DirectRun:
    policy = read_policy(model)
    return run_direct(
        replace_model(manifest, policy),
        policy.backend(),
        script=CommandScript.constant(*command),
        seconds=10.0,
        seed=seed,
        body=from_mjcf(mjcf, manifest),
    )


@pytest.mark.parametrize(("command", "distance_m"), [((1.0, 0.0), 10.03), ((0.0, 0.5), 4.50)])
def test_the_go1_walks(command: tuple[float, float], distance_m: float) -> None:
    manifest = contract(GO1, GO1_DEFAULT, GO1_TERMS, {**GO1_ACTION, "allow_zero_damping": GO1})
    model = POLICIES / "go1_tf2onnx/go1_policy.onnx"
    run = walk(manifest, model, ROBOTS / "go1/go1.xml", command, seed=0)
    assert run.falls == 0
    assert run.measures.displacement_m == pytest.approx(distance_m, rel=0.05)


@pytest.mark.thorough
def test_the_g1_walks_with_its_lstm(tmp_path: Path) -> None:
    from gaitforge.cli import main

    model = tmp_path / "g1.onnx"
    assert main(["export", str(POLICIES / "g1_lstm/motion.pt"), "--output", str(model)]) == 0
    manifest = contract(G1, G1_DEFAULT, G1_TERMS, G1_ACTION)
    for seed in range(3):
        run = walk(manifest, model, ROBOTS / "g1/g1_12dof.xml", (0.5, 0.0), seed)
        assert run.falls == 0
        assert run.measures.displacement_m == pytest.approx(4.58, rel=0.05)


@pytest.mark.parametrize(("command", "distance_m"), [((1.0, 0.0), 11.26), ((0.0, 1.0), 9.08)])
def test_the_m20_drives(command: tuple[float, float], distance_m: float) -> None:
    manifest = checked_manifest({**m20_manifest(), "model": {}}, "manifest")
    run = walk(manifest, M20_POLICY, M20_MODEL, command, seed=0)
    assert run.falls == 0
    assert run.measures.displacement_m == pytest.approx(distance_m, rel=0.05)


def test_the_wheels_of_the_m20_are_refused_by_name() -> None:
    corners = ("fl", "fr", "hl", "hr")
    joints = [f"{leg}_{joint}_joint" for leg in corners for joint in ("hipx", "hipy", "knee")]
    action = {"scale": 0.25, "stiffness_nm_per_rad": 80.0, "damping_nms_per_rad": 2.0}
    alone = contract(joints, [0.0] * 12, G1_TERMS, action)
    with pytest.raises(InputError, match="wheel 'fl_wheel_joint' has a motor, but the manifest has no joint"):
        from_mjcf(ROBOTS / "m20/m20.xml", alone)
    joints = [*joints, *(f"{leg}_wheel_joint" for leg in corners)]
    both = contract(joints, [0.0] * 16, G1_TERMS, action)
    with pytest.raises(
        InputError, match="joint 'fl_wheel_joint' has no range: if it is a wheel, name it under"
    ):
        from_mjcf(ROBOTS / "m20/m20.xml", both)
