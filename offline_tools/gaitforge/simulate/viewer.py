"""A window that shows the running simulation."""

from __future__ import annotations

import os
import sys

from gaitd.errors import InputError
from gaitforge.simulate.robot import Robot

_SYNC_TICKS = 16


class Viewer:
    """MuJoCo's own passive viewer, refreshed from the simulation's ticks."""

    def __init__(self, robot: Robot) -> None:
        """Raises InputError when there is no display."""
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise InputError("--view: there is no display (DISPLAY is not set); use --png or --video instead")
        import mujoco.viewer

        self._handle = mujoco.viewer.launch_passive(
            robot.model, robot.data, show_left_ui=False, show_right_ui=False
        )

    def refresh(self, robot: Robot) -> None:
        """Show the present state; call it every tick."""
        if robot.ticks % _SYNC_TICKS == 0 and self._handle.is_running():
            self._handle.sync()

    def close(self) -> None:
        """Close the window."""
        self._handle.close()
