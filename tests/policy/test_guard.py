"""Action to target, and the guard's limits on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gaitd.errors import InputError
from gaitd.policy.action import ActionMapper
from gaitd.policy.limits import CommandGuard, Decision
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.causes import Cause
from gaitd.wire.generated import CauseKind, Reason
from support.bundles import contract, mixed_manifest, small_manifest
from support.states import random_state

DEFAULT = np.array([0.0, -0.65, 1.3], np.float32)
POSITION = {"min_rad": [-0.6, -3.5, 0.3], "max_rad": [0.6, 0.4, 2.8]}
ACTIONS = arrays(np.float32, 3, elements=st.floats(-50, 50, width=32))
ANY_ACTION = arrays(np.float32, 3, elements=st.floats(width=32))


def make(action: dict[str, Any] | None = None, **limits: Any) -> PolicyPipeline:
    base = small_manifest()
    manifest = small_manifest(
        action={**base["action"], **(action or {})}, limits={"position": POSITION, **limits}
    )
    return PolicyPipeline(contract(manifest), None)


def decide(
    pipeline: PolicyPipeline, action: Any, position: np.ndarray = DEFAULT, velocity: Any = (0, 0, 0)
) -> Decision:
    """One step whose command goes out if it is accepted."""
    state = random_state(
        np.random.default_rng(0), 3, joint_position=position, joint_velocity=np.array(velocity, np.float32)
    )
    pipeline.observe(state)
    decision = pipeline.decide(np.asarray(action, np.float32))
    if decision.accepted:
        pipeline.commit(decision)
    return decision


def test_a_command_that_did_not_go_out_leaves_no_trace() -> None:
    """Neither last_action nor the reference for slew move with a decision alone."""
    pipeline = make(None, slew={"max_rad_per_step": 0.1})
    for _ in range(3):
        withheld = pipeline.decide(np.full(3, 100, np.float32))
        assert withheld.accepted
        np.testing.assert_allclose(withheld.target, DEFAULT + np.float32(0.1), rtol=1e-6)
        np.testing.assert_array_equal(pipeline.last_action, np.zeros(3))
    pipeline.commit(withheld)
    np.testing.assert_array_equal(pipeline.last_action, withheld.action)
    second = pipeline.decide(np.full(3, 100, np.float32))
    np.testing.assert_allclose(second.target, DEFAULT + np.float32(0.2), rtol=1e-6)


def test_an_action_is_scaled_onto_the_default_position() -> None:
    decision = decide(make(), [1.0, -2.0, 0.5])
    assert decision.accepted
    assert decision.cause is None
    np.testing.assert_allclose(decision.target, DEFAULT + 0.25 * np.array([1.0, -2.0, 0.5]), rtol=1e-6)
    np.testing.assert_array_equal(decision.action, np.array([1.0, -2.0, 0.5], np.float32))
    assert decision.clamped == {}


def test_scale_and_offset_by_joint() -> None:
    action = {"scale": {"knee": 0.3, "hip": 0.1, "thigh": 0.2}, "offset": [0.1, -0.5, 1.0]}
    np.testing.assert_allclose(
        decide(make(action), [1.0, 1.0, 1.0]).target, [0.1 + 0.1, -0.5 + 0.2, 1.0 + 0.3], rtol=1e-6
    )


def test_the_policys_own_clip_is_before_the_scale_and_is_what_is_remembered() -> None:
    pipeline = make({"clip": [-1.0, 1.0]})
    decision = decide(pipeline, [100.0, -100.0, 0.5])
    np.testing.assert_allclose(decision.target, DEFAULT + 0.25 * np.array([1.0, -1.0, 0.5]), rtol=1e-6)
    np.testing.assert_array_equal(pipeline.last_action, np.array([1.0, -1.0, 0.5], np.float32))


def test_zero_gains_on_purpose() -> None:
    everywhere = ["hip", "thigh", "knee"]
    action = {"damping_nms_per_rad": 0.0, "allow_zero_damping": everywhere}
    assert decide(make(action), [1.0, 1.0, 1.0]).accepted


def test_the_trainers_clip_of_the_target_leaves_the_feedback_alone() -> None:
    pipeline = make({"target_clip": {"min_rad": [-0.1, -1.0, 1.0], "max_rad": [0.1, 0.0, 2.0]}})
    decision = decide(pipeline, [10.0, -20.0, 0.4])
    np.testing.assert_allclose(decision.target, [0.1, -1.0, 1.4], rtol=1e-6)
    np.testing.assert_array_equal(pipeline.last_action, np.array([10.0, -20.0, 0.4], np.float32))
    assert decision.clamped == {}


def test_a_limit_inside_the_trainers_clip_is_remembered_as_held() -> None:
    clip = {"min_rad": [-1.0, -4.0, 0.0], "max_rad": [1.0, 4.0, 4.0]}
    pipeline = make({"target_clip": clip})
    decision = decide(pipeline, [10.0, 0.0, 0.0])
    np.testing.assert_allclose(decision.target, [0.6, -0.65, 1.3], rtol=1e-6)
    np.testing.assert_allclose(pipeline.last_action, [0.6 / 0.25, 0.0, 0.0], rtol=1e-6)
    assert decision.clamped == {"position": 1}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("clip", [None, [-1.0, 1.0]])
def test_what_is_not_finite_is_rejected_even_where_a_clip_would_hide_it(
    bad: float, clip: list[float] | None
) -> None:
    pipeline = make({} if clip is None else {"clip": clip})
    for joint in range(3):
        action = np.zeros(3, np.float32)
        action[joint] = bad
        decision = decide(pipeline, action)
        assert decision.cause is not None
        assert decision.cause.reason is Reason.ACTION_INVALID
        np.testing.assert_array_equal(pipeline.last_action, np.zeros(3))


@pytest.mark.parametrize("shape", [(2,), (4,), (1, 3), (3, 1), (0,), ()])
def test_another_shape_is_rejected(shape: tuple[int, ...]) -> None:
    pipeline = make()
    cause = pipeline.decide(np.zeros(shape, np.float32)).cause
    assert cause is not None
    assert cause.kind is CauseKind.ACTION_SHAPE


def test_a_position_limit_that_clamps() -> None:
    decision = decide(make(), [100.0, 0.0, -100.0])
    assert decision.accepted
    np.testing.assert_allclose(decision.target, [0.6, -0.65, 0.3], rtol=1e-6)
    assert decision.clamped == {"position": 2}


@pytest.mark.parametrize(
    ("limits", "name", "cause"),
    [
        (
            {"position": {**POSITION, "response": "damp"}},
            "position",
            Cause(CauseKind.POSITION_LIMIT, 0, 25.0, 0.6),
        ),
        (
            {"slew": {"max_rad_per_step": 0.1, "response": "damp"}},
            "slew",
            Cause(CauseKind.SLEW_LIMIT, 0, 24.975, 0.1),
        ),
        (
            {"torque": {"max_nm": 5.0, "response": "damp"}},
            "torque",
            Cause(CauseKind.TORQUE_LIMIT, 0, 750.0, 5.0),
        ),
    ],
)
def test_a_limit_that_damps_rejects(limits: dict[str, Any], name: str, cause: Cause) -> None:
    """The cause names the joint, what was asked for and the bound."""
    pipeline = make(None, **limits)
    assert decide(pipeline, [0.1, 0.1, 0.1]).accepted
    before = pipeline.last_action.copy()
    decision = decide(pipeline, [100.0, 0.1, 0.1])
    assert decision.cause is not None
    assert decision.cause.reason is Reason.LIMIT
    assert (decision.cause.kind, decision.cause.joint) == (cause.kind, cause.joint)
    assert decision.cause.number == pytest.approx(cause.number, rel=1e-5)
    assert decision.cause.bound == pytest.approx(cause.bound, rel=1e-5)
    assert decision.clamped[name] == 1
    np.testing.assert_array_equal(pipeline.last_action, before)


def test_slew_is_counted_from_the_default_position_at_first_and_then_from_the_last_target() -> None:
    pipeline = make(None, slew={"max_rad_per_step": [0.1, 0.2, 0.3]})
    first = decide(pipeline, [100.0, 100.0, 100.0])
    np.testing.assert_allclose(first.target, DEFAULT + np.array([0.1, 0.2, 0.3]), rtol=1e-6)
    second = decide(pipeline, [100.0, 100.0, 100.0])
    np.testing.assert_allclose(second.target, DEFAULT + np.array([0.2, 0.4, 0.6]), rtol=1e-6)
    assert second.clamped["slew"] == 3
    pipeline.reset()
    np.testing.assert_allclose(decide(pipeline, [9.0, 9.0, 9.0]).target, first.target, rtol=1e-6)


def test_a_rejected_action_does_not_move_the_slew_reference() -> None:
    pipeline = make(None, slew={"max_rad_per_step": 0.1})
    first = decide(pipeline, [100.0, 100.0, 100.0]).target.copy()
    for _ in range(5):
        assert not decide(pipeline, [math.nan] * 3).accepted
    np.testing.assert_allclose(decide(pipeline, [100.0] * 3).target, first + np.float32(0.1), rtol=1e-6)


@given(
    ACTIONS,
    arrays(np.float32, 3, elements=st.floats(-0.25, 0.25, width=32)),
    arrays(np.float32, 3, elements=st.floats(-20, 20, width=32)),
)
def test_the_motors_torque_stays_within_its_bound(
    action: np.ndarray, offset: np.ndarray, velocity: np.ndarray
) -> None:
    """Wherever the range of the joint leaves room for it, computed as the motor does."""
    pipeline = make(None, torque={"max_nm": 12.0}, position={"min_rad": -10.0, "max_rad": 10.0})
    position = DEFAULT + offset
    decision = decide(pipeline, action, position, velocity)
    stiffness, damping = np.array([30.0, 31.0, 32.0]), np.array([1.0, 1.1, 1.2])
    torque = stiffness * (decision.target.astype(float) - position) + damping * (0.0 - velocity)
    assert (np.abs(torque) <= 12.0 + 1e-3).all()
    asked = stiffness * (DEFAULT + 0.25 * action.astype(float) - position) - damping * velocity
    free = np.abs(asked) < 12.0 - 1e-3
    np.testing.assert_allclose(torque[free], asked[free], atol=1e-3)  # what is within the bound stays


@given(st.lists(st.tuples(ACTIONS, ACTIONS), min_size=1, max_size=8))
def test_position_has_the_last_word(steps: list[tuple[np.ndarray, np.ndarray]]) -> None:
    pipeline = make(None, slew={"max_rad_per_step": 0.2}, torque={"max_nm": 10.0})
    low, high = np.array(POSITION["min_rad"], np.float32), np.array(POSITION["max_rad"], np.float32)
    for action, velocity in steps:
        # Far out of range, so that slew and torque pull to where the joint must not go.
        decision = decide(pipeline, action, DEFAULT + action, velocity)
        assert decision.accepted
        assert (decision.target >= low).all()
        assert (decision.target <= high).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": {"clip": [1.0, -1.0]}}, r"^action\.clip: expected min < max"),
        ({"action": {"scale": [1.0]}}, r"^action\.scale: expected 3 values"),
        ({"action": {"stiffness_nm_per_rad": -1.0}}, r"^action\.stiffness_nm_per_rad: joint 'hip' is -1"),
        ({"action": {"damping_nms_per_rad": [1.0, -2.0, 1.0]}}, r"damping_nms_per_rad: joint 'thigh' is -2"),
        ({"slew": {"max_rad_per_step": 0.0}}, r"^limits\.slew\.max_rad_per_step: joint 'hip' is 0"),
        ({"torque": {"max_nm": -1.0}}, r"^limits\.torque\.max_nm: joint 'hip' is -1"),
        ({"position": {"min_rad": 1.0, "max_rad": 1.0}}, r"^limits\.position: joint 'hip' has min 1"),
        ({"position": {"min_rad": 0.1, "max_rad": 3.0}}, r"^default_joint_position_rad: joint 'hip' is 0"),
        (
            {
                "action": {
                    "stiffness_nm_per_rad": 0.0,
                    "allow_zero_stiffness": ["hip", "thigh", "knee"],
                },
                "torque": {"max_nm": 1.0},
            },
            r"^limits\.torque: .*stiffness",
        ),
        ({"action": {"stiffness_nm_per_rad": [1.0, 0.0, 1.0]}}, r"'thigh' is 0, .*allow_zero_stiffness"),
        ({"action": {"damping_nms_per_rad": [1.0, 1.0, -0.0]}}, r"joint 'knee' is 0, .*allow_zero_damping"),
        (
            {"action": {"damping_nms_per_rad": 0.0, "allow_zero_damping": ["hip", "knee"]}},
            r"joint 'thigh' is 0",
        ),
        ({"action": {"damping_nms_per_rad": -1.0, "allow_zero_damping": ["hip"]}}, r"joint 'hip' is -1"),
        ({"action": {"allow_zero_damping": ["toe"]}}, r"^action\.allow_zero_damping: joint 'toe' is unknown"),
        (
            {"action": {"target_clip": {"min_rad": 1.0, "max_rad": [2.0, 2.0, 1.0]}}},
            r"^action\.target_clip: joint 'knee' has min 1",
        ),
    ],
)
def test_contradicting_limits_are_refused_by_key_and_joint(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**changes)


class LastAction(RuleBasedStateMachine):
    """Whatever the model answers, last_action is the last accepted one or what the limits made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pipeline = make(
            {"clip": [-20.0, 20.0]},
            slew={"max_rad_per_step": 2.0, "response": "damp"},
            torque={"max_nm": 60.0},
        )
        self.accepted = np.zeros(3, np.float32)
        self.rng = np.random.default_rng(0)
        self.observed = self.accepted

    @rule(action=ANY_ACTION | ACTIONS, reuse=st.booleans())
    def step(self, action: np.ndarray, reuse: bool) -> None:
        self.pipeline.observe(random_state(self.rng, 3))
        self.observed = self.accepted
        decision = self.pipeline.decide(action)
        if decision.accepted:
            self.pipeline.commit(decision)
            clipped = np.clip(action, -20, 20)
            self.accepted = decision.action.copy()
            if not decision.clamped:
                np.testing.assert_array_equal(self.accepted, clipped)
            applied = self.pipeline.mapper.target(self.accepted)
            np.testing.assert_allclose(applied, decision.target, atol=1e-5)
        if reuse:
            action.fill(np.nan)  # a backend overwrites its output with the next call

    @rule()
    def reset(self) -> None:
        self.pipeline.reset()
        self.accepted = np.zeros(3, np.float32)
        self.observed = self.accepted

    @invariant()
    def only_accepted_actions_are_remembered(self) -> None:
        np.testing.assert_array_equal(self.pipeline.last_action, self.accepted)
        assert np.isfinite(self.pipeline.raw_observation()).all()
        np.testing.assert_array_equal(self.pipeline.raw_observation()[-3:], self.observed)


TestLastAction = LastAction.TestCase
TestLastAction.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)


def test_a_joint_that_is_held_back_is_remembered_as_held() -> None:
    """A raw action of 100, fed back as it was, would upset the policy for many steps."""
    pipeline = make(slew={"max_rad_per_step": 0.5})
    decision = decide(pipeline, [100.0, 0.1, 0.0], DEFAULT)
    assert decision.clamped == {"slew": 1}
    assert decision.target[0] == pytest.approx(DEFAULT[0] + 0.5)
    asked = pipeline.mapper.target(pipeline.last_action)
    np.testing.assert_allclose(asked, decision.target, atol=1e-6)
    assert pipeline.last_action[1] == np.float32(0.1), "the others stay as the model said"


def test_a_joint_that_no_action_moves() -> None:
    pipeline = make({"scale": [0.25, 0.0, 0.25]}, slew={"max_rad_per_step": 0.5})
    decision = decide(pipeline, [100.0, 100.0, 0.0], DEFAULT)
    assert decision.accepted
    assert np.isfinite(pipeline.last_action).all()


def test_the_same_answer_while_the_joints_move_is_refused() -> None:
    pipeline = make(repetition={"max_joint_motion_rad": 0.1})
    same = [1.0, -2.0, 0.5]
    assert decide(pipeline, same, DEFAULT).accepted
    assert decide(pipeline, same, DEFAULT + np.float32(0.09)).accepted
    refused = decide(pipeline, same, DEFAULT + np.float32(0.11))
    assert refused.cause is not None
    assert refused.cause.reason is Reason.ACTION_INVALID
    assert decide(pipeline, [1.0, -2.0, 0.5001], DEFAULT + np.float32(0.11)).accepted
    assert decide(pipeline, same, DEFAULT + np.float32(0.3)).accepted
    pipeline.reset()
    assert decide(pipeline, same, DEFAULT - np.float32(0.3)).accepted


def test_without_that_limit_a_policy_may_be_constant() -> None:
    pipeline = make()
    for moved in (0.0, 0.2, 0.4):
        assert decide(pipeline, [1.0, -2.0, 0.5], DEFAULT + np.float32(moved)).accepted


@pytest.mark.parametrize("motion", [0.0, -1.0, math.nan])
def test_a_repetition_limit_that_is_none_is_refused(motion: float) -> None:
    with pytest.raises(InputError, match="max_joint_motion_rad"):
        make(repetition={"max_joint_motion_rad": motion})


def wheeled(**repetition: float) -> CommandGuard:
    """Joints hip, wheel, knee, fin, waist; the waist is held."""
    manifest = mixed_manifest()
    manifest["limits"]["repetition"] = repetition
    found = contract(manifest)
    return CommandGuard(found, ActionMapper(found))


def test_a_wheel_that_turns_under_the_same_answer_is_refused() -> None:
    same, still = np.array([0.1, 0.2, 0.1, 0.1], np.float32), np.zeros(5, np.float32)
    at = np.array([0.0, 100.0, 1.3, 0.1, 0.0], np.float32)
    turned = at + np.array([0.0, 1.1, 0.0, 0.0, 0.0], np.float32)
    for limits, expected in (({"max_turn_rad": 1.0}, CauseKind.ACTION_REPEATED), ({}, None)):
        guard = wheeled(**limits)
        guard.commit(guard.check(same, at, still), at)
        cause = guard.check(same, turned, still).cause
        assert (cause and cause.kind) == expected
        if cause is not None:
            assert (cause.joint, cause.bound) == (1, 1.0)
            assert cause.number == pytest.approx(1.1, abs=1e-4)


def test_a_turn_limit_that_means_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"max_turn_rad: expected more than 0, got -1"):
        wheeled(max_turn_rad=-1.0)
    with pytest.raises(InputError, match=r"max_turn_rad: this policy has no continuous_joints"):
        make(repetition={"max_turn_rad": 1.0})
