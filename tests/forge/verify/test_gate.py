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
from gaitforge.verify.verification import replace_model
from gaitforge.verify.walking import Leg, Walk, in_words, judge
from support.reference import EXAMPLE_BUNDLE, EXAMPLE_DIR

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
    assert any("[rad]" in failure for failure in compared(2.0, actions, 0.003))
    # Raw actions of +-20 at a scale of 0.01 rad: rounding is ten times larger in raw units.
    assert compared(0.01, 20.0 * actions, 0.04) == []
    assert any("action error" in failure for failure in compared(0.01, actions, 0.04))
