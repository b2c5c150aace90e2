"""What many robots see and do at once is what gaitd gives each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitd.policy.joints import default_position
from gaitd.policy.manifest import Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.messages import RobotState
from gaitforge.common.manifest import checked_manifest, load_manifest
from gaitforge.example.demo_policy import manifest as example_manifest
from gaitforge.train.observe import Limiter, Observer

WHEELS = Path(__file__).parents[3] / "examples" / "wheels"
ROBOTS, STEPS = 5, 12
ALL_TERMS = [
    {"term": "base_angular_velocity", "scale": 0.25, "clip": [-0.3, 0.4]},
    {"term": "clock_phase", "period_s": 0.5},
    {"term": "roll_pitch_yaw", "delay_steps": 1},
    {"term": "projected_gravity"},
    {"term": "velocity_command", "scale": [2.0, 1.0, 0.5]},
    {"term": "base_linear_velocity"},
    {"term": "joint_position_relative"},
    {"term": "joint_velocity", "scale": 0.05},
    {"term": "joint_torque", "scale": 0.1},
    {"term": "last_action"},
]


def contract(observation: dict[str, Any], **changes: Any) -> Manifest:
    raw = example_manifest() | {"observation": observation} | changes
    raw.pop("normalization")
    raw["velocity_command"] = {"unit": "si", "min": [-0.5, -0.4, -0.3], "max": [0.5, 0.4, 0.3]}
    return checked_manifest(raw, "test")


def states(rng: np.random.Generator) -> list[RobotState]:
    def draw(size: int) -> np.ndarray:
        return rng.uniform(-1, 1, size).astype(np.float32)

    made = []
    for _ in range(ROBOTS):
        orientation = draw(4)
        made.append(
            RobotState(
                session=1,
                seq=1,
                stamp_ns=0,
                angular_velocity=draw(3),
                orientation=orientation / np.linalg.norm(orientation),
                linear_acceleration=draw(3),
                linear_velocity=draw(3),
                velocity_command=draw(3),
                joint_position=draw(12),
                joint_velocity=20 * draw(12),
                joint_torque=draw(12),
            )
        )
    return made


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"length": 3, "layout": "frame_major", "order": "newest_first"},
        {"length": 2, "layout": "term_major", "order": "oldest_first", "fill": "zeros"},
    ],
)
def test_observations_actions_and_targets_are_those_of_the_pipeline(history: dict[str, Any]) -> None:
    limits = example_manifest()["limits"] | {"slew": {"max_rad_per_step": 0.1}}
    action = example_manifest()["action"] | {"scale": 0.1, "clip": [-2.0, 2.0]}
    manifest = contract({"terms": ALL_TERMS, "history": history, "clip": 5.0}, limits=limits, action=action)
    hold_equal(manifest, asked=3.0)


def test_wheels_phases_and_low_passes_are_those_of_the_pipeline() -> None:
    hold_equal(load_manifest(WHEELS / "manifest.yaml"), asked=9.0)


def hold_equal(manifest: Manifest, asked: float) -> None:
    """Robots of a training, and as many pipelines: states and actions up to ``asked`` are drawn."""
    rng = np.random.default_rng(0)
    pipelines = [PolicyPipeline(manifest, None) for _ in range(ROBOTS)]
    observer, limiter = Observer(manifest, ROBOTS), Limiter(manifest)
    start = np.where(limiter.mapper.follow("position"), default_position(manifest), np.float32(0))
    target, last_action = np.tile(start, (ROBOTS, 1)), np.zeros((ROBOTS, 12), np.float32)
    low, high = np.array(manifest.velocity_command.min), np.array(manifest.velocity_command.max)
    held = 0
    for step in range(STEPS):
        if step == 7:  # one robot starts anew
            pipelines[2].reset()
            observer.reset(np.arange(ROBOTS) == 2)
            target[2], last_action[2] = start, 0
        now = states(rng)
        values = {
            name: np.array([getattr(state, name) for state in now])
            for name in ("angular_velocity", "orientation", "linear_velocity", "joint_position",
                         "joint_velocity", "joint_torque")
        }  # fmt: skip
        values["velocity_command"] = np.clip([state.velocity_command for state in now], low, high)
        values["last_action"] = last_action
        got = observer.observe(values)
        action = rng.uniform(-asked, asked, (ROBOTS, 12)).astype(np.float32)
        target, last_action = limiter(action, target, values["joint_position"], values["joint_velocity"])
        for index, (pipeline, state) in enumerate(zip(pipelines, now, strict=True)):
            pipeline.observe(state)
            np.testing.assert_allclose(got[index], pipeline.raw_observation(), atol=1e-6)
            decision = pipeline.decide(action[index])
            held += sum(decision.clamped.values())
            pipeline.commit(decision)
            np.testing.assert_allclose(target[index], decision.target, atol=1e-6)
            np.testing.assert_allclose(last_action[index], pipeline.last_action, atol=1e-5)
    assert held > 0


@pytest.mark.parametrize(
    "gate", [None, {"below": 0.4, "values": "zero"}, {"below": 0.4, "axes": ["left", "turn"], "turns": 0.25}]
)
def test_a_phase_is_that_of_the_pipeline(gate: dict[str, Any] | None) -> None:
    phase = {"period_s": 0.5, "start_turns": 0.1, "offsets_turns": [0.0, 0.5], "gate": gate}
    manifest = contract({"terms": [{"term": "phase", "name": "trot"}]}, format=2, phases={"trot": phase})
    pipeline, observer = PolicyPipeline(manifest, None), Observer(manifest, 1)
    low, high = np.array(manifest.velocity_command.min), np.array(manifest.velocity_command.max)
    rng, shown = np.random.default_rng(0), []
    for _ in range(40):
        state = states(rng)[0]
        asked = np.clip(state.velocity_command, low, high)[None]
        pipeline.observe(state)
        shown.append(pipeline.raw_observation().copy())
        np.testing.assert_allclose(observer.observe({"velocity_command": asked})[0], shown[-1], atol=1e-6)
        assert observer.standing(asked)[0] == (
            gate is not None and np.linalg.norm(asked[0, -2 if "axes" in gate else 0 :]) < 0.4
        )
    assert len(np.unique(np.round(shown, 5), axis=0)) > 5


def test_a_normalization_that_has_to_be_learned_is_refused() -> None:
    manifest = checked_manifest(example_manifest(), "test")
    with pytest.raises(InputError, match="normalization"):
        Observer(manifest, 1)


def test_a_term_that_is_not_simulated_is_refused() -> None:
    observer = Observer(contract({"terms": [{"term": "linear_acceleration"}]}), 1)
    with pytest.raises(InputError, match="linear_acceleration"):
        observer.observe({})


@pytest.mark.parametrize(
    "changes",
    [
        {"observation": {"raw_size": 40}},
        {
            "observation": {"terms": [{"term": "last_action"}]},
            "models": [{"name": "policy", "inputs": {"obs": ["observation"]}}],
        },
    ],
)
def test_what_training_does_not_make_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="training makes one model"):
        Observer(contract(format=2, **changes), 1)
