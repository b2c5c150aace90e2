"""A window that shows the running simulation."""

from __future__ import annotations

import os
import sys
import threading

from gaitd.errors import InputError
from gaitforge.simulate.physics import mujoco
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.stature import LITE3

_SYNC_TICKS = 16
_CLOSE_S = 60.0
_DISTANCE_M, _AZIMUTH_DEG, _ELEVATION_DEG = 1.8, 130.0, -18.0


class Viewer:
    """MuJoCo's own passive viewer, refreshed from the simulation's ticks. Its camera follows the trunk."""

    def __init__(self, robot: Robot, option: str = "--view", instead: str = "--png or --video") -> None:
        """``option``: what asked for it; ``instead``: what to do where there is no display.

        Raises InputError there.
        """
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise InputError(f"{option}: there is no display (DISPLAY is not set); use {instead} instead")
        import glfw
        import mujoco.viewer as passive

        if not glfw.init():  # else the viewer's thread would die of it, and its caller wait for ever
            raise InputError(f"{option}: the display cannot be opened; use {instead} instead")
        before = threading.enumerate()
        self._handle = passive.launch_passive(
            robot.model, robot.data, show_left_ui=False, show_right_ui=False
        )
        self._threads = [thread for thread in threading.enumerate() if thread not in before]
        with self._handle.lock():
            camera = self._handle.cam
            camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
            camera.trackbodyid = robot.body.base
            large = robot.body.stature.standing_m / LITE3.standing_m
            camera.distance = _DISTANCE_M * large
            camera.azimuth, camera.elevation = _AZIMUTH_DEG, _ELEVATION_DEG

    def refresh(self, robot: Robot) -> None:
        """Show the present state; call it every tick."""
        if robot.ticks % _SYNC_TICKS == 0:
            self.draw()

    def draw(self) -> bool:
        """Show the present state; False when somebody has closed the window."""
        running = bool(self._handle.is_running())
        if running:
            self._handle.sync()
        return running

    def close(self) -> None:
        """Close the window, and wait for its thread: drawing while the interpreter ends is a segfault."""
        self._handle.close()
        for thread in self._threads:
            thread.join(_CLOSE_S)
