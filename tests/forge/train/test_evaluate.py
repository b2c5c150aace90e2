"""Episodes that judge a policy ask for what its training asked for. These are too short to judge one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")

from forge.train.conftest import EXAMPLE, changed
from gaitforge.common.manifest import load_manifest
from gaitforge.train.config import Commands, Config, read_config, read_robot
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


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_a_policy_that_sees_nothing_walks_the_episodes_of_one_that_does() -> None:
    folder = EXAMPLE.parent / "lite3_steps"
    config = changed(read_config(folder / "train.yaml"), terrain="flat")
    judge = Evaluation(config, read_robot(folder / config.robot), None, 1, seconds=0.1)
    for example, values in ((EXAMPLE, 59), (folder, 59 + 79)):
        seen = []

        def policy(observations: np.ndarray, seen: list[int] = seen) -> np.ndarray:
            seen.append(observations.shape[1])
            return np.zeros((len(observations), 12), np.float32)

        judge.feet(policy, load_manifest(example / "manifest.yaml"), (0.3, 0.0, 0.0))
        assert set(seen) == {values}
