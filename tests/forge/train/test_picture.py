"""When the feet stand, as numbers and as a picture."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from forge.train.conftest import EXAMPLE
from gaitforge.common.manifest import load_manifest
from gaitforge.train.config import Config, read_robot
from gaitforge.train.picture import save_gait

FEET = ("front", "hind")


def drawn(contact: list[list[bool]], path: Path) -> int:
    """Pixels of the bars' colour."""
    save_gait({"walk": np.array(contact)}, FEET, 0.02, path)
    return int(np.count_nonzero((imageio.imread(path)[..., :3] == (0x0B, 0x72, 0x85)).all(axis=-1)))


def test_a_bar_is_as_long_as_the_foot_stands(tmp_path: Path) -> None:
    always = drawn([[True, True]] * 40, tmp_path / "always.png")
    half = drawn([[True, False]] * 20 + [[False, True]] * 20, tmp_path / "half.png")
    assert half == pytest.approx(0.5 * always, rel=0.05)
    assert drawn([[False, False]] * 40, tmp_path / "never.png") == 0


def test_a_robot_that_holds_its_pose_has_its_feet_on_the_floor(config: Config) -> None:
    pytest.importorskip("mujoco.batch", reason="MuJoCo's batch is absent: it needs Python 3.11 or newer")
    from gaitforge.train.evaluate import Evaluation

    manifest = load_manifest(EXAMPLE / config.manifest)
    judge = Evaluation(config, read_robot(EXAMPLE / config.robot), None, threads=1, seconds=1.0)
    contact = judge.feet(lambda observed: np.zeros((len(observed), 12), np.float32), manifest, (0, 0, 0))
    assert contact.shape == (50, 4)
    assert contact[25:].mean() > 0.9
