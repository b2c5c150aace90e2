"""Published policies through importers and pipeline, against what their deploy code computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.bundle.importers import formats
from gaitforge.bundle.importers.draft import Source
from gaitforge.common.manifest import checked_manifest
from support.deploy import (
    G1_ACTION,
    G1_DEFAULT,
    G1_TERMS,
    GO1_ACTION,
    GO1_DEFAULT,
    GO1_TERMS,
    POLICIES,
    Reference,
    by_hand,
    g1_reference,
    go1_reference,
    rl_sar_go2w,
    unitree_rl_lab,
)
from support.states import random_state

CASES = POLICIES.parent / "cases"
TOLERANCE = 1e-5

pytestmark = pytest.mark.skipif(
    not POLICIES.is_dir(), reason="the published policies are not here (../shared)"
)


def compare(manifest: dict[str, Any], reference: Reference, reach: float, steps: int = 60) -> None:
    """Random states and actions; what the policy would see and what the motors would get."""
    pipeline = PolicyPipeline(checked_manifest(manifest, "manifest"), None)
    joints = len(manifest["joints"])
    rng = np.random.default_rng(7)
    last, frames = np.zeros(joints, np.float32), []
    for step in range(steps):
        linear = rng.normal(size=3).astype(np.float32)
        state = random_state(rng, joints, linear_velocity=linear)
        pipeline.observe(state)
        frames.append(reference.frame(state, last, step))
        np.testing.assert_allclose(
            pipeline.observation(), reference.observe(frames), atol=TOLERANCE, rtol=1e-6
        )
        action = (rng.normal(size=joints) * reach).astype(np.float32)
        decision = pipeline.decide(action)
        assert decision.accepted
        np.testing.assert_allclose(decision.target, reference.target(action), atol=TOLERANCE)
        pipeline.commit(decision)
        np.testing.assert_array_equal(pipeline.last_action, action)
        last = action


@pytest.mark.parametrize(
    "path",
    [
        POLICIES / "g1_deploy_yaml/deploy.yaml",
        POLICIES / "g1_external_data/deploy.yaml",
        CASES / "target_clip_feedback/deploy.yaml",
        CASES / "unitree_slice/deploy.yaml",
    ],
    ids=lambda path: path.parent.name,
)
def test_unitree_deploy_yaml(path: Path) -> None:
    # Actions of 10 go far beyond a clip of the target, which must not reach the feedback.
    compare(*unitree_rl_lab(path), reach=10.0)


def test_a_wheeled_policy() -> None:
    """rl_sar's Go2W: the wheels' positions are shown as 0, and their actions are velocities."""
    compare(*rl_sar_go2w(), reach=3.0)


def test_a_wheeled_policy_says_what_it_still_needs() -> None:
    folder = POLICIES / "go2w"
    source = Source([folder / "config.yaml", folder / "base.yaml"], None)
    imported = formats.read("rl_sar", source, {}, "go2w", "manifest")
    assert {"brake", "limits", "robot", "velocity_command"} <= set(imported.missing)


def test_g1_lstm() -> None:
    compare(by_hand(G1_DEFAULT, G1_TERMS, G1_ACTION), g1_reference(), reach=3.0)


def test_go1() -> None:
    compare(by_hand(GO1_DEFAULT, GO1_TERMS, GO1_ACTION), go1_reference(), reach=3.0)
