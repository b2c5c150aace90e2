"""The observation against references written here, in another way than the code's."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitd.errors import InputError
from gaitd.policy.joints import order_from
from gaitd.policy.observation import ObservationBuilder, required_fields
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.messages import RobotState
from support.bundles import contract, lite3_manifest, small_manifest
from support.manifests import observations
from support.states import random_quaternion, random_state


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Base to world, from the axis and angle of the quaternion (Rodrigues)."""
    w, axis = float(quaternion[0]), quaternion[1:].astype(np.float64)
    length = float(np.linalg.norm(axis))
    if length == 0.0:
        return np.eye(3)
    angle, (x, y, z) = 2.0 * math.atan2(length, w), axis / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross


def reference_45(state: RobotState, last_action: np.ndarray) -> np.ndarray:
    """The Lite3 policies' observation, straight from its description, in double precision."""
    default = np.array([0.0, -0.65, 1.3] * 4)
    command = np.clip(state.velocity_command.astype(np.float64), -1.0, 1.0)
    return np.concatenate(
        (
            state.angular_velocity.astype(np.float64) * 0.25,
            rotation(state.orientation).T @ np.array([0.0, 0.0, -1.0]),
            command * 0.8,
            state.joint_position.astype(np.float64) - default,
            state.joint_velocity.astype(np.float64) * 0.05,
            last_action.astype(np.float64),
        )
    )


@given(st.integers(0, 2**32))
def test_the_45_vector_is_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pipeline = PolicyPipeline(contract(lite3_manifest()), None)
    last_action = np.zeros(12, np.float32)
    for _ in range(5):
        state = random_state(rng, 12)
        pipeline.observe(state)
        vector = pipeline.raw_observation()
        assert vector.dtype == np.float32
        assert vector.shape == (45,)
        np.testing.assert_allclose(vector, reference_45(state, last_action), rtol=1e-6, atol=2e-6)
        decision = pipeline.decide(rng.normal(size=12).astype(np.float32))
        assert decision.accepted
        pipeline.commit(decision)
        last_action = decision.action


@given(st.permutations(range(12)), st.integers(0, 2**32))
def test_joint_order_is_mapped_by_name(permutation: list[int], seed: int) -> None:
    """A controller with its joints in any order gives the same observation, named value by named value."""
    manifest = lite3_manifest()
    policy_joints = manifest["joints"]
    controller_joints = [policy_joints[index] for index in permutation]
    state = random_state(np.random.default_rng(seed), 12)
    by_name = dict(zip(policy_joints, state.joint_position, strict=True))
    theirs = np.array([by_name[joint] for joint in controller_joints], np.float32)
    order = order_from(controller_joints, policy_joints)
    np.testing.assert_array_equal(theirs[order], state.joint_position)
    back = order_from(policy_joints, controller_joints)
    np.testing.assert_array_equal(theirs[order][back], theirs)


def one_term(name: str, orientation: np.ndarray) -> np.ndarray:
    """The observation of a policy that sees nothing but that term."""
    pipeline = PolicyPipeline(contract(small_manifest(observation={"terms": [{"term": name}]})), None)
    pipeline.observe(random_state(np.random.default_rng(0), 3, orientation=orientation))
    return pipeline.raw_observation().copy()


def test_projected_gravity_of_known_attitudes() -> None:
    half = math.sqrt(0.5)
    for quaternion, expected in (
        ((1, 0, 0, 0), (0, 0, -1)),
        ((half, half, 0, 0), (0, -1, 0)),  # rolled a quarter to the right: gravity pulls to the right
        ((half, 0, half, 0), (1, 0, 0)),  # nose down: gravity pulls forward
        ((half, 0, 0, half), (0, 0, -1)),  # yaw does not show
        ((0, 1, 0, 0), (0, 0, 1)),  # on its back
    ):
        got = one_term("projected_gravity", np.array(quaternion, np.float32))
        np.testing.assert_allclose(got, expected, atol=1e-6)


@given(st.integers(0, 2**32))
def test_roll_pitch_yaw_rebuild_the_rotation(seed: int) -> None:
    quaternion = random_quaternion(np.random.default_rng(seed))
    roll, pitch, yaw = (float(angle) for angle in one_term("roll_pitch_yaw", quaternion))

    def about(axis: int, angle: float) -> np.ndarray:
        other = np.zeros(4)
        other[0], other[1 + axis] = math.cos(angle / 2), math.sin(angle / 2)
        return rotation(other)

    rebuilt = about(2, yaw) @ about(1, pitch) @ about(0, roll)
    np.testing.assert_allclose(rebuilt, rotation(quaternion), atol=2e-3 if abs(pitch) > 1.55 else 1e-5)


def test_pitch_straight_up_is_finite() -> None:
    half = np.float32(math.sqrt(0.5)) * np.float32(1.0001)
    assert np.isfinite(one_term("roll_pitch_yaw", np.array([half, 0, half, 0], np.float32))).all()


# A naive reference of terms and history: every frame is kept, everything is looked up by index.


def naive_term(
    name: str, state: RobotState, action: np.ndarray, step: int, manifest: dict[str, Any], period_s: float
) -> np.ndarray:
    if name == "clock_phase":
        angle = 2.0 * math.pi * step * manifest["control_period_s"] / period_s
        return np.array([math.sin(angle), math.cos(angle)])
    if name == "projected_gravity":
        return rotation(state.orientation).T @ np.array([0.0, 0.0, -1.0])
    if name == "roll_pitch_yaw":
        r = rotation(state.orientation)
        return np.array(
            [
                math.atan2(r[2, 1], r[2, 2]),
                math.asin(max(-1.0, min(1.0, -r[2, 0]))),
                math.atan2(r[1, 0], r[0, 0]),
            ]
        )
    if name == "joint_position_relative":
        return state.joint_position - np.array(manifest["default_joint_position_rad"])
    if name == "last_action":
        return action
    if name == "velocity_command":
        return np.clip(state.velocity_command, -1.0, 1.0)
    plain = {"base_angular_velocity": "angular_velocity", "base_linear_velocity": "linear_velocity"}
    values = getattr(state, plain.get(name, name))
    assert isinstance(values, np.ndarray)
    return values


def naive_observation(
    manifest: dict[str, Any], states: list[RobotState], actions: list[np.ndarray]
) -> np.ndarray:
    observation = manifest["observation"]
    history = observation["history"]

    def value(term: dict[str, Any], step: int) -> np.ndarray:
        """The term as it was at that step; before step 0, what the fill says."""
        if step < 0:
            return np.zeros_like(value(term, 0)) if history["fill"] == "zeros" else value(term, 0)
        raw = naive_term(term["term"], states[step], actions[step], step, manifest, term.get("period_s", 1.0))
        scaled = np.asarray(raw, np.float64) * np.asarray(term.get("scale", 1.0))
        return np.clip(scaled, *term["clip"]) if "clip" in term else scaled

    now = len(states) - 1

    def steps(term: dict[str, Any]) -> list[int]:
        length = term.get("history_length", history["length"])
        ages = range(length) if history["order"] == "newest_first" else reversed(range(length))
        return [now - age - term.get("delay_steps", 0) for age in ages]

    terms = observation["terms"]
    if history["layout"] == "term_major":
        parts = [value(term, step) for term in terms for step in steps(term)]
    else:
        by_term = [[value(term, step) for step in steps(term)] for term in terms]
        parts = [by_term[term][frame] for frame in range(history["length"]) for term in range(len(terms))]
    vector = np.concatenate(parts)
    clip = observation.get("clip")
    return vector if clip is None else np.clip(vector, -clip, clip)


@given(observations(), st.integers(1, 7), st.integers(0, 2**32))
@settings(max_examples=200)
def test_any_terms_and_history_are_the_naive_reference(
    observation: dict[str, Any], steps: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    manifest = small_manifest(observation=observation)
    pipeline = PolicyPipeline(contract(manifest), None)
    for _ in range(2):  # a second session after a reset knows nothing of the first
        pipeline.reset()
        states, actions = [], []
        for _ in range(steps):
            states.append(dataclasses.replace(random_state(rng, 3), linear_velocity=_vector(rng)))
            actions.append(pipeline.last_action.copy())
            pipeline.observe(states[-1])
            expected = naive_observation(manifest, states, actions)
            got = pipeline.raw_observation()
            assert pipeline.builder.dim == len(got)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)
            pipeline.commit(pipeline.decide(_vector(rng)))


def _vector(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=3).astype(np.float32)


def test_the_clock_starts_at_activate_and_keeps_its_period() -> None:
    terms = [{"term": "clock_phase", "period_s": 0.48}]  # 40 steps of 12 ms
    pipeline = PolicyPipeline(contract(small_manifest(observation={"terms": terms})), None)
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(81):
        pipeline.observe(random_state(rng, 3))
        seen.append(pipeline.raw_observation().copy())
    np.testing.assert_allclose(seen[0], (0, 1), atol=1e-6)
    np.testing.assert_allclose(seen[10], (1, 0), atol=1e-6)
    np.testing.assert_allclose(seen[20], (0, -1), atol=1e-6)
    np.testing.assert_allclose(seen[40], seen[0], atol=1e-5)
    np.testing.assert_allclose(seen[80], seen[0], atol=1e-5)
    pipeline.reset()
    pipeline.observe(random_state(rng, 3))
    np.testing.assert_allclose(pipeline.raw_observation(), (0, 1), atol=1e-6)


def test_an_absent_linear_velocity_reads_as_zero() -> None:
    terms = [{"term": "base_linear_velocity"}]
    pipeline = PolicyPipeline(contract(small_manifest(observation={"terms": terms})), None)
    pipeline.observe(random_state(np.random.default_rng(0), 3))
    np.testing.assert_array_equal(pipeline.raw_observation(), np.zeros(3))


def test_the_fields_that_a_policy_needs() -> None:
    assert required_fields(contract(small_manifest())) == [
        "angular_velocity",
        "joint_position",
        "joint_velocity",
        "orientation",
        "velocity_command",
    ]
    only_clock = {"terms": [{"term": "clock_phase", "period_s": 1.0}, {"term": "last_action"}]}
    assert required_fields(contract(small_manifest(observation=only_clock))) == []


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (
            {"terms": [{"term": "clock_phase", "period_s": 0.5}, {"term": "clock_phase", "period_s": 1.0}]},
            r"observation\.terms: all clock_phase terms must have the same period_s",
        ),
        ({"terms": []}, r"observation\.terms: expected at least one"),
        ({"terms": [{"term": "last_action"}], "clip": -1.0}, r"observation\.clip: expected above 0, got -1"),
        (
            {"terms": [{"term": "last_action"}], "clip": math.nan},
            r"observation\.clip: expected above 0, got nan",
        ),
        ({"terms": [{"term": "last_action"}], "history": {"length": 0}}, r"observation\.history\.length"),
        (
            {"terms": [{"term": "last_action", "scale": [1.0, 2.0]}]},
            r"terms\[0\] \(last_action\)\.scale: .* 3, got 2",
        ),
        (
            {"terms": [{"term": "last_action", "scale": math.inf}]},
            r"terms\[0\] \(last_action\)\.scale: .*finite",
        ),
        ({"terms": [{"term": "last_action", "clip": [1.0, 1.0]}]}, r"terms\[0\] \(last_action\)\.clip"),
        (
            {"terms": [{"term": "last_action", "delay_steps": -1}]},
            r"terms\[0\] \(last_action\): .*delay_steps",
        ),
        (
            {"terms": [{"term": "last_action", "history_length": 2}]},
            r"terms\[0\] .*history_length.*term_major",
        ),
        ({"terms": [{"term": "last_action", "period_s": 1.0}]}, r"terms\[0\] .*period_s"),
        ({"terms": [{"term": "clock_phase"}]}, r"terms\[0\] \(clock_phase\)\.period_s: clock_phase needs it"),
        ({"terms": [{"term": "clock_phase", "period_s": 0.0}]}, r"period_s: expected above 0, got 0"),
        ({"terms": [{"term": "clock_phase", "period_s": -1.0}]}, r"period_s: expected above 0, got -1"),
    ],
)
def test_a_contradiction_is_refused_by_its_key(observation: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ObservationBuilder(contract(small_manifest(observation=observation)))
