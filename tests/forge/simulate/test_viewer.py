"""The window, on a display of its own."""

import os
import shutil
import subprocess
import sys

import pytest

from gaitd.errors import InputError
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.viewer import Viewer

SHOW = """
import mujoco.viewer
launch, handles = mujoco.viewer.launch_passive, []
def keep(*args, **options):
    handles.append(launch(*args, **options))
    return handles[-1]
mujoco.viewer.launch_passive = keep
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.viewer import Viewer
robot = Robot()
viewer = Viewer(robot)
for _ in range(20):
    robot.step()
    viewer.refresh(robot)
camera = handles[0].cam
print(camera.type == mujoco.mjtCamera.mjCAMERA_TRACKING, robot.model.body(camera.trackbodyid).name)
viewer.close()
"""

needs_xvfb = pytest.mark.skipif(
    shutil.which("xvfb-run") is None, reason="xvfb is missing: sudo apt-get install xvfb"
)


@needs_xvfb
@pytest.mark.parametrize("time", range(2))
def test_it_follows_the_robot_and_ends_cleanly(time):
    done = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-c", SHOW], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "True trunk\n"), done.stderr


@pytest.mark.parametrize("display", ["", ":12345"])
def test_without_a_display_it_says_so(monkeypatch, display):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setitem(os.environ, "DISPLAY", display)
    with pytest.raises(InputError, match=r"--view: .* use --png or --video"):
        Viewer(Robot())
