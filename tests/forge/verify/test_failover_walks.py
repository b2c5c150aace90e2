"""The worker fails in mid-stride and the standby goes on: walked in lockstep, and judged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gaitd.bundle.failovers import failovers_walked
from gaitd.bundle.read import open_bundle
from gaitd.policy.manifest import Float32Array
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.simulate.body import lite3
from gaitforge.simulate.direct import onnx_backend
from gaitforge.simulate.failing_over import FailoverPipeline
from gaitforge.verify.failover import (
    FailoverWalk,
    failover_failures,
    failovers_summary,
    walk_failovers,
)
from support.reference import EXAMPLE_BUNDLE
from support.states import random_state

STEPS, FAIL_AT = 12, 6


class Remembering:
    """A model whose answer follows from all that was committed."""

    def __init__(self) -> None:
        self._hidden = self._next = np.zeros(12, np.float32)

    def infer(self, observation: Float32Array) -> Float32Array:
        self._next = (0.5 * self._hidden + 0.1 * observation[:12]).astype(np.float32)
        return self._next

    def commit(self) -> None:
        self._hidden = self._next

    def reset(self) -> None:
        self._hidden = np.zeros(12, np.float32)


def targets(pipeline: Any, infer: Any, commit: Any) -> list[bytes]:
    """What the joints are asked for, step by step; empty for a step that nobody answers."""
    manifest = open_bundle(EXAMPLE_BUNDLE).manifest
    rest = np.array(list(manifest.default_joint_position_rad), np.float32)
    rng = np.random.default_rng(0)
    made = []
    for seq in range(1, STEPS + 1):
        pipeline.observe(replace(random_state(rng, 12, joint_position=rest), seq=seq))
        decision = pipeline.decide(infer(pipeline.normalize(pipeline.raw_observation().copy())))
        if decision.accepted:
            pipeline.commit(decision)
            commit()
        made.append(decision.target.tobytes() if decision.accepted else b"")
    return made


def failing_over(lost: int) -> list[bytes]:
    manifest = open_bundle(EXAMPLE_BUNDLE).manifest
    pipeline = FailoverPipeline(manifest, None, Remembering(), Remembering(), FAIL_AT, lost)
    return targets(pipeline, pipeline.infer, lambda: None)


def test_history_last_action_and_hidden_state_are_those_of_the_worker() -> None:
    model = Remembering()
    alone = targets(PolicyPipeline(open_bundle(EXAMPLE_BUNDLE).manifest, None), model.infer, model.commit)
    assert failing_over(0) == alone


def test_nobody_answers_the_states_that_are_lost() -> None:
    walked = failing_over(3)
    silent = range(FAIL_AT - 1, FAIL_AT + 2)
    assert [step for step, target in enumerate(walked) if not target] == list(silent)
    assert walked[: FAIL_AT - 1] == failing_over(0)[: FAIL_AT - 1]


def test_the_example_walks_on() -> None:
    bundle = open_bundle(EXAMPLE_BUNDLE)
    worker, standby = onnx_backend(bundle), onnx_backend(bundle)
    walks = walk_failovers(bundle.manifest, worker, standby, bundle.obs_stats(), lite3(), phases=2)
    assert [(walk.kind, walk.seed) for walk in walks] == [
        ("death", 0),
        ("hang", 0),
        ("death", 1),
        ("hang", 1),
    ]
    assert len({walk.at_s for walk in walks}) == 2
    assert failover_failures(walks, 1.25) == []
    told = json.dumps({"failovers": {"fp16": failovers_summary(walks, 1.25)}}).encode()
    walked = failovers_walked(replace(bundle, files={**bundle.files, "report.json": told}))
    assert walked == (True, "the gate walked 4 failovers (fp16), and the robot walked on each time")


def test_a_standby_that_does_something_else_is_found_out() -> None:
    bundle = open_bundle(EXAMPLE_BUNDLE)
    wrong = onnx_backend(bundle)
    wrong.infer = lambda observation: observation[:12] * -20.0  # type: ignore[method-assign]
    walks = walk_failovers(bundle.manifest, onnx_backend(bundle), wrong, None, lite3(), phases=1)
    (failure,) = failover_failures(walks, 1.1)
    assert failure.startswith("failover: 2 of 2 times the robot went down, the first time after a death at 2")
    assert failovers_summary(walks, 1.1)["passed"] is False


@pytest.mark.parametrize(("ratio", "passes"), [(1.1, True), (1.1001, False), (float("nan"), False)])
def test_it_must_also_keep_its_velocity(ratio: float, passes: bool) -> None:
    failures = failover_failures([FailoverWalk("hang", 0, 2.1, True, ratio)], 1.1)
    assert (failures == []) is passes
    assert all("in the second after a hang the velocity error is" in failure for failure in failures)
