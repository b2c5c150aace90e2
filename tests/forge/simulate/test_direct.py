"""Policies called directly in the simulator."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import InputError
from gaitforge.simulate.direct import PATIENCE_PERIODS, Step, onnx_backend, run_bundle, run_direct
from gaitforge.simulate.measure import Outcome
from gaitforge.simulate.script import CommandScript, Push
from support.reference import EXAMPLE_BUNDLE, reference_bundle

FORWARD = CommandScript.constant(1.0)


@pytest.fixture(scope="module")
def example() -> Bundle:
    return open_bundle(EXAMPLE_BUNDLE)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_example_policy_walks_through_pushes(example, seed):
    pushes = [Push(3.0, 0.0, 0.8), Push(6.0, -0.8, 0.0)]
    run = run_bundle(example, script=FORWARD, seconds=10.0, seed=seed, pushes=pushes)
    assert run.falls == 0
    assert run.measures.outcome is Outcome.KEPT_UP
    assert 7.0 < run.distance_m < 9.0
    assert run.rejected == 0
    assert run.clamped == {}, "healthy walking meets no limit"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reference_policy_walks(tmp_path, seed):
    bundle = open_bundle(reference_bundle(tmp_path / "reference.gaitd"))
    run = run_bundle(bundle, script=FORWARD, seconds=10.0, seed=seed)
    assert run.falls == 0
    assert run.distance_m > 6.0
    assert run.clamped == {}


def test_it_turns_side_steps_and_stands(example):
    turn = run_bundle(example, script=CommandScript.constant(0.0, 0.0, 1.0), seconds=5.0)
    assert turn.trace.base_angular_velocity[-500:, 2].mean() > 0.5
    left = run_bundle(example, script=CommandScript.constant(0.0, 1.0, 0.0), seconds=5.0)
    assert left.trace.base_position[-1, 1] - left.trace.base_position[0, 1] > 2.5
    stand = run_bundle(example, script=CommandScript.constant(0.0), seconds=5.0)
    assert stand.measures.displacement_m < 0.2
    assert turn.falls == left.falls == stand.falls == 0


def test_a_seed_is_one_run(example):
    first, again, other = (
        run_bundle(example, script=FORWARD, seconds=2.0, seed=seed).trace.base_position for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


def test_joints_are_mapped_by_name(example):
    """The same policy, its joints named in another order, walks the same walk."""
    manifest, backend = example.manifest, onnx_backend(example)
    order = np.random.default_rng(0).permutation(12)
    back = np.argsort(order)

    def shuffled(observation: np.ndarray) -> np.ndarray:
        plain = observation.copy()
        for start in (9, 21, 33):
            plain[start : start + 12] = observation[start : start + 12][back]
        return backend.infer(plain)[order]

    def reorder(values: list[float]) -> list[float]:
        return [values[index] for index in order]

    plain = msgspec.to_builtins(manifest)
    plain["joints"] = reorder(plain["joints"])
    plain["default_joint_position_rad"] = reorder(plain["default_joint_position_rad"])
    plain["action"]["scale"] = reorder(plain["action"]["scale"])
    limits = plain["limits"]
    for limit, key in (
        ("position", "min_rad"),
        ("position", "max_rad"),
        ("slew", "max_rad_per_step"),
        ("torque", "max_nm"),
    ):
        limits[limit][key] = reorder(limits[limit][key])
    other = msgspec.convert(plain, type(manifest))
    expected = run_direct(manifest, backend.infer, script=FORWARD, seconds=2.0)
    shuffled_run = run_direct(other, shuffled, script=FORWARD, seconds=2.0)
    np.testing.assert_allclose(shuffled_run.trace.base_position, expected.trace.base_position, atol=1e-5)


def test_every_step_is_shown(example):
    steps: list[Step] = []
    run = run_bundle(example, script=CommandScript.constant(0.5), seconds=1.2, on_step=steps.append)
    assert len(steps) == run.steps == 100
    assert [step.time_s for step in steps[:3]] == pytest.approx([0.0, 0.012, 0.024])
    backend = onnx_backend(example)
    for before, step in pairwise(steps):
        np.testing.assert_allclose(backend.infer(step.observation), step.action, atol=1e-5)
        np.testing.assert_array_equal(step.observation[33:45], before.action)
        np.testing.assert_allclose(step.observation[6:9], (0.4, 0.0, 0.0), atol=1e-6)


def test_one_rejected_action_leaves_the_last_command_in_force(example):
    backend, calls = onnx_backend(example), 0

    def sometimes_nan(observation: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return backend.infer(observation) if calls % 100 else np.full(12, np.nan, np.float32)

    run = run_direct(example.manifest, sometimes_nan, script=FORWARD, seconds=5.0)
    assert run.rejected == 4
    assert run.falls == 0
    assert run.distance_m > 3.0


def test_a_policy_that_stays_broken_is_damped_for_good(example):
    backend, steps = onnx_backend(example), list[Step]()

    def breaks(observation: np.ndarray) -> np.ndarray:
        broken = 100 <= len(steps) < 100 + PATIENCE_PERIODS
        return np.full(12, np.nan, np.float32) if broken else backend.infer(observation)

    run = run_direct(example.manifest, breaks, script=FORWARD, seconds=4.0, on_step=steps.append)
    assert run.measures.outcome is Outcome.LAID_DOWN
    assert run.measures.descents[0].damped
    assert not run.trace.stiffness[-1].any()


class CountingBackend:
    """A stand-still policy with a hidden state to keep."""

    def __init__(self) -> None:
        self.resets = self.accepts = self.calls = 0

    def infer(self, observation: np.ndarray) -> np.ndarray:
        self.calls += 1
        return np.full(12, np.nan if self.calls == 3 else 0.0, np.float32)

    def commit(self) -> None:
        self.accepts += 1

    def reset(self) -> None:
        self.resets += 1

    def versions(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass


def test_a_backend_commits_its_state_only_with_an_accepted_action(example):
    backend = CountingBackend()
    run = run_direct(example.manifest, backend, script=FORWARD, seconds=0.12)
    assert (backend.resets, backend.calls, backend.accepts, run.rejected) == (1, 10, 9, 1)


def test_a_policy_for_another_robot_is_refused(example):
    joints = ["FL_HipX_joint", *example.manifest.joints[1:-1], "tail_joint"]
    other = msgspec.structs.replace(example.manifest, joints=joints)
    with pytest.raises(InputError, match="HR_Knee_joint"):
        run_direct(other, lambda observation: observation[:12], script=FORWARD, seconds=1.0)


def test_a_period_between_ticks_is_refused(example):
    other = msgspec.structs.replace(example.manifest, control_period_s=0.0125)
    with pytest.raises(InputError, match=r"control_period_s: 0\.0125"):
        run_direct(other, lambda observation: observation[:12], script=FORWARD, seconds=1.0)
