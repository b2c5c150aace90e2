"""The C++ policy library on the stand-in for the NPU's runtime, on this machine."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from npu_bundle import write_npu_bundle

from gaitd.bundle.compiled import compile_policy
from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitd.wire.causes import NO_CAUSE
from support.bundles import mlp, mlp_weights, observation_dim, small_manifest
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
