"""Episodes that judge a policy ask for what its training asked for; here too short ones to say how it walks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")

from forge.train.conftest import EXAMPLE, changed
from gaitforge.common.manifest import load_manifest
from gaitforge.train.config import Commands, Config, read_robot
from gaitforge.train.evaluate import LEFT, Evaluation

COMMAND = slice(6, 9)
"""Where the example's observation has it."""


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("left", [(0.0, 0.0), (-1.0, 1.0)])
def test_nothing_is_asked_for_that_the_training_did_not(config: Config, left: tuple[float, float]) -> None:
    asked = Commands(forward=(-0.1, 0.3), left=left, turn=(-0.8, 0.8))
    judge = Evaluation(
        changed(config, commands=asked), read_robot(EXAMPLE / config.robot), None, 1, seconds=0.1
    )
    seen = []

    def policy(observations: np.ndarray) -> np.ndarray:
        seen.append(observations[:, COMMAND])
        return np.zeros((len(observations), 12), np.float32)

    judge.judge(policy, load_manifest(EXAMPLE / config.manifest), episodes=20)
    commands = np.concatenate(seen)
    assert commands[:, 0].max() == pytest.approx(0.3), "the full speed, too"
    assert commands[:, 0].min() >= -0.1 - 1e-6
    assert np.abs(commands[:, 1]).max() <= min(left[1], LEFT[1]) + 1e-6
    assert (np.ptp(commands[:, 1]) > 0.0) == (left[1] > 0.0)
