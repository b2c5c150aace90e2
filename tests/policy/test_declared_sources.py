"""Held joints, named inputs, phases, motions and parts of an observation, computed in another way as well."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.generated import CauseKind
from gaitd.wire.messages import RawObservation, RobotState
from gaitforge.common.manifest import checked_manifest
from support.bundles import small_manifest
from support.states import random_state

JOINTS = ["hip", "thigh", "knee"]
DEFAULT = np.array([0.0, -0.65, 1.3])


def make(reference: dict[str, np.ndarray] | None = None, /, **changes: Any) -> PolicyPipeline:
    manifest = small_manifest(format=2, **changes)
    return PolicyPipeline(checked_manifest(manifest, "manifest"), None, reference)


def states(count: int, joints: int = 3) -> list[RobotState]:
    rng = np.random.default_rng(11)
    return [random_state(rng, joints) for _ in range(count)]


def observed(pipeline: PolicyPipeline, given: list[RobotState]) -> np.ndarray:
    rows = []
    for each in given:
        pipeline.observe(each)
        rows.append(pipeline.raw_observation().copy())
    return np.array(rows)


# ---- joints that the policy does not move ----

HELD = {"joints": ["thigh"], "stiffness_nm_per_rad": 90.0, "damping_nms_per_rad": 4.0}


def with_held(**changes: Any) -> PolicyPipeline:
    action = {"scale": [0.5, 0.25], "stiffness_nm_per_rad": 30.0, "damping_nms_per_rad": 1.0}
    return make(**{"held_joints": HELD, "action": action, **changes})


def test_a_held_joint_stays_in_its_pose_and_is_not_in_the_action() -> None:
    pipeline = with_held()
    now = states(1)[0]
    pipeline.observe(now)
    before = pipeline.raw_observation().copy()
    np.testing.assert_allclose(before[9:11], (now.joint_position - DEFAULT)[[0, 2]], atol=1e-6)
    decision = pipeline.decide(np.array([0.4, -0.8], np.float32))
    np.testing.assert_allclose(decision.target, [0.2, -0.65, 1.1], rtol=1e-6)
    pipeline.commit(decision)
    pipeline.observe(now)
    assert len(before) == 3 + 3 + 3 + 2 + 2 + 2
    np.testing.assert_allclose(pipeline.raw_observation()[-2:], [0.4, -0.8])
    assert pipeline.mapper.stiffness.tolist() == [30.0, 90.0, 30.0]
    assert pipeline.mapper.damping.tolist() == [1.0, 4.0, 1.0]


def test_an_action_for_all_joints_is_of_the_wrong_shape() -> None:
    pipeline = with_held()
    pipeline.observe(states(1)[0])
    cause = pipeline.decide(np.zeros(3, np.float32)).cause
    assert cause is not None
    assert (cause.kind, cause.number, cause.bound) == (CauseKind.ACTION_SHAPE, 3, 2)
    cause = pipeline.decide(np.array([0, math.nan], np.float32)).cause
    assert cause is not None
    assert (cause.kind, cause.joint) == (CauseKind.ACTION_NOT_FINITE, 2)


def test_a_term_shows_the_joints_it_names_in_their_order() -> None:
    terms = [
        {"term": "joint_position_relative", "joints": ["knee", "thigh"], "scale": [1.0, 2.0]},
        {"term": "joint_velocity", "joints": ["thigh"]},
    ]
    now = states(1)[0]
    row = observed(with_held(observation={"terms": terms}), [now])[0]
    position = now.joint_position - DEFAULT
    np.testing.assert_allclose(row, [position[2], 2 * position[1], now.joint_velocity[1]], rtol=1e-5)


# ---- named inputs ----

INPUTS = [
    {"name": "height", "unit": "m", "min": 0.1, "max": 0.4},
    {"name": "mode", "size": 3, "min": 0.0, "max": 1.0},
    {"name": "frequency", "unit": "turns/s", "min": 0.0, "max": 4.0},
]


def told(now: RobotState, height: float, mode: list[float], frequency: float) -> RobotState:
    now.inputs = tuple(np.array(each, np.float32) for each in ([height], mode, [frequency]))
    return now


def test_named_inputs_are_clipped_scaled_and_delayed() -> None:
    terms = [
        {"term": "input", "name": "mode"},
        {"term": "input", "name": "height", "scale": 10.0, "delay_steps": 1},
    ]
    pipeline = make(inputs=INPUTS, observation={"terms": terms})
    first, second = states(2)
    rows = observed(pipeline, [told(first, 0.3, [0, 1, 7], 0), told(second, 0.9, [-1, 0, 1], 0)])
    np.testing.assert_allclose(rows, [[0, 1, 1, 3], [0, 0, 1, 3]], rtol=1e-6)


# ---- phases ----


def phase_rows(commands: list[float], frequencies: list[float], **phase: Any) -> np.ndarray:
    pipeline = make(
        inputs=INPUTS, phases={"gait": phase}, observation={"terms": [{"term": "phase", "name": "gait"}]}
    )
    given = []
    for now, command, frequency in zip(states(len(commands)), commands, frequencies, strict=True):
        now.velocity_command = np.array([command, 0.5, 0.0], np.float32)
        given.append(told(now, 0.2, [0, 0, 0], frequency))
    return observed(pipeline, given)


def test_a_phase_has_its_order_offsets_and_start() -> None:
    rows = phase_rows(
        [1.0] * 4,
        [0.0] * 4,
        period_s=0.6,
        start_turns=0.02,
        offsets_turns=[0.0, 0.5],
        functions=["cos", "sin"],
    )
    for step, row in enumerate(rows):
        turns = 0.02 + step * 0.012 / 0.6
        wanted = [
            function(2 * math.pi * (turns + offset))
            for offset in (0.0, 0.5)
            for function in (math.cos, math.sin)
        ]
        np.testing.assert_allclose(row, wanted, atol=1e-6)


def test_an_input_drives_a_phase() -> None:
    frequencies = [2.0, 3.0, 0.0, 4.0]
    rows = phase_rows([1.0] * 4, frequencies, frequency_input="frequency", functions=["sin"])
    turns = np.cumsum([0.0, *frequencies[1:]]) * 0.012
    np.testing.assert_allclose(rows[:, 0], np.sin(2 * np.pi * turns), atol=1e-6)


@pytest.mark.parametrize(
    ("gate", "turns", "shown"),
    [
        ({}, [0, 1, 2, 3, 4], [1, 1, 1, 1, 1]),
        ({"clock": "freezes"}, [0, 1, 1, 1, 2], [1, 1, 1, 1, 1]),
        ({"clock": "freezes", "values": "zero"}, [0, 1, 1, 1, 2], [1, 1, 0, 0, 1]),
        ({"clock": "restarts"}, [0, 1, 0, 0, 1], [1, 1, 1, 1, 1]),
        ({"values": "zero"}, [0, 1, 2, 3, 4], [1, 1, 0, 0, 1]),
    ],
)
def test_a_small_command_gates_a_phase(gate: dict[str, Any], turns: list[int], shown: list[int]) -> None:
    """The command to the left does not count: the axes are named."""
    commands = [1.0, 1.0, 0.05, -0.05, 1.0]
    gated = {"below": 0.1, "axes": ["forward", "turn"], **gate}
    rows = phase_rows(commands, [0.0] * 5, period_s=0.6, gate=gated)
    angle = 2 * np.pi * np.array(turns) * 0.012 / 0.6
    wanted = np.stack([np.sin(angle), np.cos(angle)], axis=1) * np.array(shown)[:, None]
    np.testing.assert_allclose(rows, wanted, atol=1e-6)


def test_a_small_command_puts_all_legs_at_one_place_of_the_clock() -> None:
    gate = {"below": 0.1, "axes": ["forward", "turn"], "turns": 0.5}
    rows = phase_rows([1.0, 1.0, 0.05, 1.0], [0.0] * 4, period_s=0.6, offsets_turns=[0.0, 0.5], gate=gate)
    for step, row in enumerate(rows):
        turns = [0.5, 0.5] if step == 2 else [step * 0.02, step * 0.02 + 0.5]
        angles = 2 * np.pi * np.array(turns)
        np.testing.assert_allclose(row, np.stack([np.sin(angles), np.cos(angles)], axis=1).ravel(), atol=1e-6)


def test_a_term_of_some_of_the_velocity_command() -> None:
    terms = [
        {"term": "velocity_command", "axes": ["turn", "forward"], "scale": [1.0, 2.0]},
        {"term": "velocity_command", "axes": ["left"]},
    ]
    given = states(3)
    rows = observed(make(observation={"terms": terms}), given)
    for row, each in zip(rows, given, strict=True):
        forward, left, turn = np.clip(each.velocity_command, -1.0, 1.0)
        np.testing.assert_allclose(row, [turn, 2 * forward, left], rtol=1e-6)


def test_an_observation_that_the_controller_makes() -> None:
    pipeline = make(observation={"raw_size": 7})
    assert pipeline.builder.dim == 7
    seen = np.arange(7, dtype=np.float32)
    pipeline.observe_raw(RawObservation(1, 1, 1, seen, np.zeros(3, np.float32), np.zeros(3, np.float32)))
    np.testing.assert_array_equal(pipeline.raw_observation(), seen)
    assert pipeline.decide(np.zeros(3, np.float32)).accepted


def test_a_session_begins_with_the_phase_where_it_starts() -> None:
    pipeline = make(
        phases={"gait": {"period_s": 0.6}}, observation={"terms": [{"term": "phase", "name": "gait"}]}
    )
    first = observed(pipeline, states(3))
    pipeline.reset()
    np.testing.assert_array_equal(observed(pipeline, states(3)), first)


# ---- a motion reference ----


@pytest.mark.parametrize(("at_end", "frames"), [("hold", [0, 1, 2, 2, 2]), ("repeat", [0, 1, 2, 0, 1])])
def test_a_motion_advances_with_the_states_and_ends_as_said(at_end: str, frames: list[int]) -> None:
    rng = np.random.default_rng(1)
    motion = {"position": rng.normal(size=(3, 3)), "body": rng.normal(size=(3, 2))}
    motion = {name: array.astype(np.float32) for name, array in motion.items()}
    terms = [
        {"term": "motion", "name": "body"},
        {"term": "motion_step"},
        {"term": "motion", "name": "position", "scale": 2.0},
    ]
    declared = {"arrays": {"position": 3, "body": 2}, "at_end": at_end}
    rows = observed(make(motion, motion=declared, observation={"terms": terms}), states(5))
    wanted = [[*motion["body"][i], i, *(2 * motion["position"][i])] for i in frames]
    np.testing.assert_allclose(rows, wanted, rtol=1e-6)


def test_a_motion_of_another_size_is_refused() -> None:
    declared = {"arrays": {"position": 3}, "at_end": "hold"}
    terms = {"terms": [{"term": "motion", "name": "position"}]}
    for array in (np.zeros((4, 2)), np.zeros(3), np.full((4, 3), np.nan), np.zeros((0, 3))):
        with pytest.raises(InputError, match=r"motion\.npz: position"):
            make({"position": array.astype(np.float32)}, motion=declared, observation=terms)


TERM = {"term": "joint_velocity"}


# ---- parts of the observation ----


def test_the_present_frame_and_a_history_of_another_layout() -> None:
    """The present frame of two terms, then four older frames of one of them, newest first, zeros before."""
    observation = {
        "parts": [
            {"name": "now"},
            {"name": "past", "history": {"length": 4, "order": "newest_first", "fill": "zeros"}},
        ],
        "terms": [
            {"term": "joint_velocity", "part": "now"},
            {"term": "joint_position", "part": "past", "delay_steps": 1},
            {"term": "base_angular_velocity", "part": "now", "scale": 0.5},
        ],
    }
    given = states(6)
    pipeline = make(observation=observation)
    rows = observed(pipeline, given)
    assert {name: (place.start, place.stop) for name, place in pipeline.builder.parts.items()} == {
        "now": (0, 6),
        "past": (6, 18),
    }
    for step, row in enumerate(rows):
        past = [given[step - age].joint_position if step >= age else np.zeros(3) for age in (1, 2, 3, 4)]
        now = given[step]
        wanted = np.concatenate([now.joint_velocity, 0.5 * now.angular_velocity, *past])
        np.testing.assert_allclose(row, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observation": {"terms": [{"term": "input", "name": "map"}]}}, "'map' is not declared under"),
        ({"observation": {"terms": [{"term": "phase"}]}}, "phase, motion need it"),
        ({"observation": {"terms": [{"term": "motion_step"}]}}, "'motion' is not declared under motion"),
        ({"observation": {"terms": [{"term": "last_action", "name": "a"}]}}, "and no other term has it"),
        ({"observation": {"terms": [{"term": "projected_gravity", "joints": []}]}}, "its values are not of"),
        ({"observation": {"terms": [{**TERM, "joints": ["toe"]}]}}, "joint 'toe' is unknown"),
        ({"observation": {"terms": [{**TERM, "part": "now"}]}}, ".part: expected one of observation"),
        (
            {"observation": {"terms": [{**TERM, "part": "a"}], "parts": [{"name": "a"}, {"name": "b"}]}},
            "observation.parts: no term is of the part 'b'",
        ),
        ({"observation": {"terms": [TERM], "raw_size": 4}}, "observation.raw_size: stands instead"),
        ({"phases": {"gait": {}}}, "phases.gait: expected either period_s or frequency_input"),
        ({"phases": {"gait": {"frequency_input": "beat"}}}, "'beat' is not declared under inputs"),
        ({"phases": {"gait": {"period_s": 1.0, "gate": {"below": 0}}}}, "phases.gait.gate"),
        ({"phases": {"gait": {"period_s": 1.0, "gate": {"below": 1, "turns": 0.5, "values": "zero"}}}},
         "phases.gait.gate.turns"),
        ({"observation": {"terms": [{**TERM, "axes": ["turn"]}]}}, ".axes: only a velocity_command has axes"),
        ({"observation": {"terms": [{"term": "velocity_command", "axes": ["left"] * 4}]}}, "terms[0].axes"),
        ({"observation": {"raw_size": 0}}, "raw_size"),
        ({"observation": {"raw_size": 10**9}}, "observation.raw_size"),
        ({"inputs": [INPUTS[0], INPUTS[0]]}, "inputs: 'height' is there twice"),
        ({"inputs": [{"name": "height", "min": 1.0, "max": 0.0}]}, "inputs[0] (height): expected finite"),
        ({"inputs": [{"name": "map", "size": 257, "min": 0.0, "max": 1.0}]}, "inputs: values in all"),
        ({"held_joints": {**HELD, "joints": ["toe"]}}, "held_joints.joints: joint 'toe' is unknown"),
        ({"held_joints": {**HELD, "joints": JOINTS}}, "held_joints.joints: all joints are held"),
        ({"motion": {"arrays": {}, "at_end": "hold"}}, "motion.arrays: expected at least one array"),
        ({"drift_baseline": "x"}, "unknown field `drift_baseline`"),
    ],
)  # fmt: skip
def test_a_contradiction_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        make(**changes)
    assert words in str(caught.value)
