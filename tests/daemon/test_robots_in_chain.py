"""Published policies of other robots than the Lite3, through C++ client, ZeroMQ and gaitd's processes.

The distances are those that the same policies walk when they are called directly, with nothing of gaitd.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.wire.generated import Mode
from gaitforge.bundle.write import write_bundle
from gaitforge.common.manifest import checked_manifest
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy
from gaitforge.verify.verification import replace_model
from support.bundles import npz
from support.chain import Walk, build_client, walk
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

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not ROBOTS.is_dir(), reason="the robots' models are not here (../shared)"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_client(tmp_path_factory.mktemp("client"))


def pack(path: Path, manifest: dict[str, Any], policy: PolicyOnnx) -> Path:
    """A bundle with what the model itself answers as its golden vectors."""
    made = replace_model(checked_manifest({**manifest, "model": {}}, "manifest"), policy)
    backend = policy.backend()
    seen = np.random.default_rng(0).normal(size=(8, policy.observation_dim)).astype(np.float32) * 0.3
    answers = []
    backend.reset()
    for row in seen:
        answers.append(backend.infer(row).copy())
        backend.commit()
    model = {
        "input": made.model.input,
        "output": made.model.output,
        "recurrent": [
            {"input": each.input, "output": each.output, "shape": each.shape} for each in made.model.recurrent
        ],
    }
    files = {"model.onnx": policy.content, "golden.npz": npz(observation=seen, action=np.array(answers))}
    return write_bundle(path, {**manifest, "model": model}, files)


def assert_walked(found: Walk, distance_m: float, lowest_m: float) -> None:
    assert set(found.modes[5:]) == {Mode.ACTIVE}, found.log
    assert found.lowest_m > lowest_m
    assert found.displacement_m == pytest.approx(distance_m, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("command", "distance_m"), [((1.0, 0.0, 0.0), 11.26), ((0.0, 1.0, 0.0), 9.08)])
def test_the_m20(
    library: ctypes.CDLL, tmp_path: Path, command: tuple[float, float, float], distance_m: float, seed: int
) -> None:
    bundle = pack(tmp_path / "m20.gaitd", m20_manifest(), read_policy(M20_POLICY))
    assert_walked(walk(library, bundle, M20_MODEL, command, 10.0, seed), distance_m, 0.3)


@pytest.mark.parametrize("seed", range(3))
def test_the_g1_with_its_lstm(library: ctypes.CDLL, tmp_path: Path, seed: int) -> None:
    from gaitforge.cli import main

    model = tmp_path / "g1.onnx"
    assert main(["export", str(POLICIES / "g1_lstm/motion.pt"), "--output", str(model)]) == 0
    bundle = pack(tmp_path / "g1.gaitd", legs("g1", G1, G1_DEFAULT, G1_TERMS, G1_ACTION), read_policy(model))
    found = walk(library, bundle, ROBOTS / "g1/g1_12dof.xml", (0.5, 0.0, 0.0), 10.0, seed)
    assert_walked(found, 4.58, 0.6)


@pytest.mark.parametrize("seed", range(3))
def test_the_go1(library: ctypes.CDLL, tmp_path: Path, seed: int) -> None:
    action = {**GO1_ACTION, "allow_zero_damping": GO1}
    manifest = legs("go1", GO1, GO1_DEFAULT, GO1_TERMS, action)
    policy = read_policy(POLICIES / "go1_tf2onnx/go1_policy.onnx")
    bundle = pack(tmp_path / "go1.gaitd", manifest, policy)
    found = walk(library, bundle, ROBOTS / "go1/go1.xml", (1.0, 0.0, 0.0), 10.0, seed)
    assert_walked(found, 10.03, 0.15)
