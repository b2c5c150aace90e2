"""What format 2 says beyond format 1, against other ways to compute it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitd.policy.brake import Brakes
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import RobotState
from gaitforge.common.manifest import checked_manifest
from support.bundles import small_manifest
from support.states import random_state
from support.wheels import M20_DEFAULT, M20_SCALE, WHEELS, m20_manifest, m20_observation

JOINTS = ["hip", "thigh", "knee"]
GROUPS = m20_manifest()["action"]


def two(**changes: Any) -> dict[str, Any]:
    return small_manifest(format=2, **changes)


def make(manifest: dict[str, Any], motion: dict[str, np.ndarray] | None = None) -> PolicyPipeline:
    return PolicyPipeline(checked_manifest(manifest, "manifest"), None, motion)


def state(seed: int, joints: int = 3, **changes: Any) -> RobotState:
    return random_state(np.random.default_rng(seed), joints, **changes)


# ---- the format itself ----


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"inputs": [{"name": "height", "min": 0.0, "max": 1.0}]}, "inputs"),
        ({"continuous_joints": ["hip"]}, "continuous_joints"),
        ({"phases": {"gait": {"period_s": 1.0}}}, "phases"),
        ({"action": [{"joints": JOINTS, "target": "torque", "scale": 1.0}]}, "action, a list of groups,"),
        (
            {"observation": {"terms": [{"term": "joint_velocity", "joints": ["hip"]}]}},
            "observation.terms[0].joints",
        ),
        ({"observation": {"raw_size": 5}}, "observation.raw_size"),
    ],
)
def test_a_manifest_of_format_1_has_no_key_of_format_2(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_manifest(small_manifest(**changes), "manifest")
    assert str(caught.value).startswith(f"manifest: {key}")
    assert "is of format 2: write `format: 2`" in str(caught.value)


def test_a_manifest_of_format_1_means_the_same_in_format_2() -> None:
    one, other = make(small_manifest()), make(two())
    for seed in range(5):
        for pipeline in (one, other):
            pipeline.observe(state(seed))
        np.testing.assert_array_equal(one.raw_observation(), other.raw_observation())
        action = np.random.default_rng(seed).normal(size=3).astype(np.float32)
        np.testing.assert_array_equal(one.decide(action).target, other.decide(action).target)


# ---- wheels: groups of joints with targets of their own ----


def test_the_wheels_of_the_m20_are_its_own_runner() -> None:
    """Observation and targets, over a session, as the vendor's deploy code computes them."""
    pipeline = make(
        m20_manifest(
            limits={"position": {"min_rad": -9.0, "max_rad": 9.0}, "velocity": {"max_rad_per_s": 99}}
        )
    )
    rng = np.random.default_rng(3)
    last = np.zeros(16)
    for _ in range(20):
        now = random_state(rng, 16)
        pipeline.observe(now)
        np.testing.assert_allclose(
            pipeline.raw_observation(), m20_observation(now, last), rtol=1e-5, atol=2e-6
        )
        last = rng.normal(size=16).astype(np.float32)
        decision = pipeline.decide(last)
        assert decision.accepted
        pipeline.commit(decision)
        told = pipeline.mapper.motor_targets(decision.target)
        wanted = last * M20_SCALE + M20_DEFAULT
        np.testing.assert_allclose(told.position[:12], wanted[:12], rtol=1e-5)
        np.testing.assert_allclose(told.velocity[12:], wanted[12:], rtol=1e-5)
        assert not told.position[12:].any()
        assert not told.velocity[:12].any()
        assert not told.torque.any()
    assert pipeline.mapper.stiffness.tolist() == [80.0] * 12 + [0.0] * 4
    np.testing.assert_allclose(pipeline.mapper.damping, [2.0] * 12 + [0.6] * 4)


def wheel(**limits: Any) -> PolicyPipeline:
    """A hip with a position, a wheel with a velocity, and a knee with a torque target; 12 ms."""
    wanted = {
        "position": {"min_rad": [-1.0, -2.0], "max_rad": [1.0, 2.0]},
        "velocity": {"max_rad_per_s": 20.0},
        "torque": {"max_nm": {"hip": 1e3, "wheel": 1e3, "knee": 30.0}},
    }
    return make(
        two(
            joints=["hip", "wheel", "knee"],
            continuous_joints=["wheel"],
            default_joint_position_rad=[0.5, -0.5],
            brake={"stiffness_nm_per_rad": 50.0, "max_nm": 5.0},
            observation={"terms": [{"term": "joint_velocity"}]},
            action=[
                {
                    "joints": ["hip"],
                    "target": "position",
                    "scale": 0.25,
                    "stiffness_nm_per_rad": 40.0,
                    "damping_nms_per_rad": 1.0,
                },
                {"joints": ["wheel"], "target": "velocity", "scale": 10.0, "damping_nms_per_rad": 0.5},
                {"joints": ["knee"], "target": "torque", "scale": 8.0, "damping_nms_per_rad": 0.1},
            ],
            fallback_damping_nms_per_rad=2.0,
            limits={**wanted, **limits},
        )
    )


def ask(pipeline: PolicyPipeline, action: list[float], velocity: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Any:
    now = state(0, joint_position=np.array([0.5, 900.0, -0.5], np.float32))
    now.joint_velocity = np.array(velocity, np.float32)
    pipeline.observe(now)
    decision = pipeline.decide(np.array(action, np.float32))
    if decision.accepted:
        pipeline.commit(decision)
    return decision


@pytest.mark.parametrize(
    ("limits", "name", "action", "target"),
    [
        ({}, "velocity", [0.0, 3.0, 0.0], [0.5, 20.0, 0.0]),
        ({}, "torque", [0.0, 0.0, -9.0], [0.5, 0.0, -30.0]),
        # 100 rad/s² for 12 ms.
        ({"acceleration": {"max_rad_per_s2": 100.0}}, "acceleration", [0.0, 1.0, 0.0], [0.5, 1.2, 0.0]),
        ({"torque_rate": {"max_nm_per_s": 500.0}}, "torque_rate", [0.0, 0.0, 2.0], [0.5, 0.0, 6.0]),
        ({"slew": {"max_rad_per_step": 0.1}}, "slew", [4.0, 0.0, 0.0], [0.6, 0.0, 0.0]),
        # 0.5 Nm s/rad: 2 Nm let it ask for 4 rad/s more than it has.
        ({"torque": {"max_nm": [9.0, 2.0, 30.0]}}, "torque", [0.0, 1.5, 0.0], [0.5, 7.0, 0.0]),
    ],
)
def test_every_kind_of_target_is_held_at_its_limit(
    limits: dict[str, Any], name: str, action: list[float], target: list[float]
) -> None:
    decision = ask(wheel(**limits), action, (0.0, 3.0, 0.0))
    assert decision.clamped == {name: 1}
    np.testing.assert_allclose(decision.target, target, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("limits", "action", "kind", "joint", "number", "bound"),
    [
        ({"velocity": {"max_rad_per_s": 20, "response": "damp"}}, [0, 3, 0], "VELOCITY_LIMIT", 1, 30.0, 20.0),
        (
            {"acceleration": {"max_rad_per_s2": 100.0, "response": "damp"}},
            [0, 1, 0], "ACCELERATION_LIMIT", 1, 10 / 0.012, 100.0,
        ),
        (
            {"torque_rate": {"max_nm_per_s": 500.0, "response": "damp"}},
            [0, 0, 2], "TORQUE_RATE_LIMIT", 2, 16 / 0.012, 500.0,
        ),
        ({"torque": {"max_nm": 30.0, "response": "damp"}}, [0, 0, 9], "TORQUE_LIMIT", 2, 72.0, 30.0),
    ],
)  # fmt: skip
def test_a_limit_that_damps_says_joint_number_and_bound(
    limits: dict[str, Any], action: list[float], kind: str, joint: int, number: float, bound: float
) -> None:
    cause = ask(wheel(**limits), action).cause
    assert (cause.kind, cause.joint) == (CauseKind[kind], joint)
    assert cause.number == pytest.approx(number, rel=1e-5)
    assert cause.bound == pytest.approx(bound, rel=1e-5)


def test_a_rate_counts_from_the_last_target_that_went_out() -> None:
    pipeline = wheel(acceleration={"max_rad_per_s2": 100.0})
    assert [float(ask(pipeline, [0, 1, 0]).target[1]) for _ in range(3)] == pytest.approx([1.2, 2.4, 3.6])


def test_a_low_pass_goes_part_of_the_way_from_the_last_target() -> None:
    groups = m20_manifest()["action"]
    groups[0]["low_pass"] = {"share": 0.25}
    groups[1]["low_pass"] = {"share": dict.fromkeys(WHEELS, 0.5)}
    free = {"position": {"min_rad": -99.0, "max_rad": 99.0}, "velocity": {"max_rad_per_s": 99.0}}
    pipeline = make(m20_manifest(action=groups, limits=free))
    filtered = M20_DEFAULT.copy()
    share = np.array([0.25] * 12 + [0.5] * 4)
    rng = np.random.default_rng(5)
    for seed in range(10):
        pipeline.observe(state(seed, 16, joint_velocity=np.zeros(16, np.float32)))
        action = rng.normal(size=16).astype(np.float32)
        decision = pipeline.decide(action)
        withheld = pipeline.decide(np.zeros(16, np.float32))
        assert withheld.accepted
        pipeline.commit(decision)
        filtered += share * (action * M20_SCALE + M20_DEFAULT - filtered)
        np.testing.assert_allclose(decision.target, filtered, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(pipeline.last_action, action)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"brake": None}, "brake: missing, but joint 'fl_wheel_joint' is continuous"),
        ({"limits": {"position": {"min_rad": -9, "max_rad": 9}}}, "limits.velocity: missing, but joint"),
        ({"action": GROUPS[:1]}, "action: joint 'fl_wheel_joint' is in no group"),
        ({"action": [*GROUPS, GROUPS[1]]}, "action[2].joints: joint 'fl_wheel_joint' is in a group before"),
        ({"continuous_joints": [*WHEELS, "fl_knee_joint"]}, "default_joint_position_rad: expected 11 values"),
        ({"continuous_joints": ["fifth"]}, "continuous_joints: joint 'fifth' is unknown"),
    ],
)  # fmt: skip
def test_a_contradiction_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_manifest(m20_manifest(**changes), "manifest")
    assert words in str(caught.value)


def test_a_brake_holds_like_dry_friction() -> None:
    brakes = Brakes(np.array([50.0, 0.0], np.float32), np.array([5.0, 0.0], np.float32))
    held = np.array([0.0, 0.0], np.float32)
    for measured, expected in ((0.05, 0.0), (3.0, 2.9), (2.95, 2.9), (-1.0, -0.9)):
        held = brakes.hold(held, np.array([measured, measured], np.float32))
        np.testing.assert_allclose(held, [expected, measured], rtol=1e-6)
        assert abs(50.0 * (held[0] - measured)) <= 5.0 + 1e-4


def relative_position(**changes: Any) -> dict[str, Any]:
    return m20_manifest(observation={"terms": [{"term": "joint_position_relative", **changes}]})


def test_how_far_a_wheel_has_turned_is_not_shown_by_mistake() -> None:
    grows = (
        r"terms\[0\]: joint 'fl_wheel_joint' turns without end: joint_position_relative grows without bound; "
        "give it scale 0, or list the other joints"
    )
    with pytest.raises(InputError, match=grows):
        checked_manifest(relative_position(), "manifest")
    checked_manifest(relative_position(scale=[1.0] * 12 + [0.0] * 4), "manifest")
    checked_manifest(relative_position(joints=m20_manifest()["joints"][:12]), "manifest")
    checked_manifest(relative_position(clip=[-100.0, 100.0]), "manifest")
