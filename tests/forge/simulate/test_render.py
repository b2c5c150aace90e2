"""Pictures of a run."""

import numpy as np
import pytest
from PIL import Image

from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitforge.simulate.direct import run_bundle
from gaitforge.simulate.render import FILMSTRIP_SIZE, Camera, save_filmstrip
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.script import CommandScript
from gaitforge.simulate.trace import Recorder
from support.reference import EXAMPLE_BUNDLE


@pytest.fixture(scope="module", autouse=True)
def drawing():
    try:
        Camera((64, 64)).close()
    except InputError as error:
        pytest.skip(str(error))


def test_a_filmstrip_shows_the_moments_side_by_side(tmp_path):
    run = run_bundle(open_bundle(EXAMPLE_BUNDLE), script=CommandScript.constant(1.0), seconds=1.0)
    path = tmp_path / "walk.png"
    save_filmstrip(run.trace, path, times_s=[0.0, 0.5])
    width, height = FILMSTRIP_SIZE
    picture = np.asarray(Image.open(path)).astype(float)
    assert picture.shape == (height, 2 * width + 4, 3)
    first, second = picture[:, :width], picture[:, -width:]
    assert np.abs(first - second).mean() > 1.0, "two moments of a walk differ"
    robot_ink = (first.max(axis=2) < 80).mean()
    assert 0.01 < robot_ink < 0.3, "the robot is in the picture"


def test_an_empty_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to draw"):
        save_filmstrip(Recorder(Robot()).trace(), tmp_path / "none.png")
