"""The C++ policy library on the stand-in for the NPU's runtime, on this machine."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from npu_bundle import write_npu_bundle
from standin import models

from gaitd.bundle.compiled import compile_policy
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import InputError
from gaitd.wire.causes import NO_CAUSE
from support.bundles import contract, lite3_manifest, mlp, mlp_weights, npz, observation_dim, small_manifest
from support.policy_library import PolicyLibrary, build
from support.states import random_state

DEFAULT = np.array([0.0, -0.65, 1.3], np.float32)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("policy_library"))


def test_its_targets_are_those_of_gaitds_own_pipeline(
    library: ctypes.CDLL, standin_library: Path, tmp_path: Path
) -> None:
    manifest = small_manifest()
    bundle = open_bundle(write_npu_bundle(tmp_path / "npu.gaitd", manifest))
    subject = PolicyLibrary(library, compile_policy(bundle), standin_library, npu=True)
    weights, pipeline = mlp_weights(observation_dim(manifest), 3), bundle.pipeline()
    rng = np.random.default_rng(0)
    for index in range(1, 101):
        now_ns = index * bundle.manifest.period_ns
        state = dataclasses.replace(random_state(rng, 3, joint_position=DEFAULT), stamp_ns=now_ns)
        assert subject.take(state, now_ns) is NO_CAUSE
        pipeline.observe(state)
        decision = pipeline.decide(mlp(weights, pipeline.observation()).astype(np.float32))
        answer = subject.answer(None, 3, now_ns)
        assert answer.cause is NO_CAUSE
        np.testing.assert_allclose(answer.target, decision.target, atol=1e-5)
        subject.commit()
        pipeline.commit(decision)


def test_a_model_that_is_not_the_recorded_one_is_refused(
    library: ctypes.CDLL, standin_library: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(write_npu_bundle(tmp_path / "npu.gaitd", small_manifest(), golden_offset=0.2))
    with pytest.raises(InputError, match="golden vector 0, joint hip: the model answers "):
        PolicyLibrary(library, compile_policy(bundle), standin_library, npu=True)


def test_a_hidden_state_moves_on_with_what_was_applied(library: ctypes.CDLL, standin_library: Path) -> None:
    file, model, network = models.recurrent_policy()
    (hidden,) = model.recurrent
    manifest = contract(lite3_manifest(model={"recurrent": [msgspec.to_builtins(hidden)]}))
    state = np.zeros(models.HIDDEN_DIM, np.float32)

    def answer(observation: np.ndarray) -> np.ndarray:
        nonlocal state
        both = models.forward(network, np.concatenate([observation, state]))
        state = both[models.ACTION_DIM :]
        return both[: models.ACTION_DIM]

    observations = np.stack([models.observation(seed) for seed in range(8)])
    golden = npz(observation=observations, action=np.stack([answer(each) for each in observations]))
    bundle = Bundle(Path("policy"), "0" * 64, manifest, {"golden.npz": golden, "model.rknn": file})
    # It proves itself on them one behind the other.
    subject = PolicyLibrary(library, compile_policy(bundle), standin_library, npu=True)
    pipeline, joints = bundle.pipeline(), len(manifest.joints)
    state, rng = np.zeros_like(state), np.random.default_rng(0)
    for index in range(1, 21):
        now_ns = index * manifest.period_ns
        robot = random_state(rng, joints, joint_position=np.tile(DEFAULT, 4))
        assert subject.take(dataclasses.replace(robot, stamp_ns=now_ns), now_ns) is NO_CAUSE
        pipeline.observe(robot)
        first, again = (subject.answer(None, joints, now_ns) for _ in range(2))
        np.testing.assert_array_equal(again.target, first.target)  # not applied yet: no trace
        decision = pipeline.decide(answer(pipeline.observation()))
        np.testing.assert_allclose(first.target, decision.target, atol=1e-5)
        subject.commit()
        pipeline.commit(decision)
